/** oidc-client-ts (npm), unmodified, in Chromium: the program is examples/spa, its registration examples/clients/oidc_client_ts. */
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, BrowserContext, Page, Route } from 'playwright-core'
import { newProfile, startHeadlessShell } from '../support/chromium.ts'
import { type ExampleClient, startExampleClient } from '../support/example_client.ts'
import { PASSWORD } from '../support/journeys.ts'
import { codeFrom } from '../support/mailbox.ts'
import { DEEP } from '../support/sample.ts'

const EMAIL = 'ada@example.com'
const SERVER = fileURLToPath(new URL('../../examples/spa/server.ts', import.meta.url))

let example: ExampleClient
let browser: Browser
let profile: BrowserContext
let page: Page

beforeAll(async () => {
  const started = startHeadlessShell()
  example = await startExampleClient('oidc_client_ts', () => [process.execPath, SERVER])
  browser = await started
  profile = await newProfile(browser)
  profile.setDefaultTimeout(15_000)
  page = await profile.newPage()
}, 60_000)

afterAll(async () => {
  await browser?.close()
  await example?.close()
})

describe('oidc-client-ts', () => {
  it('says who the new customer is', async () => {
    await page.goto(example.origin)
    await page.locator('#sign-in').click()
    await page.getByRole('button', { name: /create/i }).click()
    await page.locator('input[name=email]').fill(EMAIL)
    await page.locator('input[name=password]').fill(PASSWORD)
    await page.locator('input[name=password]').press('Enter')
    await page.locator('input[name=code]').first().waitFor()
    await page
      .locator('input[name=code]')
      .first()
      .fill(codeFrom(await example.mailbox.to(EMAIL)))
    await page.locator('input[name=code]').first().press('Enter')
    await page.locator('button[value=allow]').click()
    await page.waitForURL(`${example.origin}/`)
    expect(await page.locator('#claims').textContent()).toContain(await subject())
    expect(await userinfo()).toMatchObject({ email: EMAIL, sub: await subject() })
  })

  // It sends no nonce: PKCE is what binds the code to this browser (OAuth 2.1 §7.5.2).
  it('refuses an answer to another code challenge', () =>
    expectRefused('code_challenge', 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'))

  if (DEEP) describeMore()
})

function describeMore(): void {
  it('refuses an answer with another state', () => expectRefused('state', 'of-somebody-else'))

  it('renews by its refresh token, without offline_access', async () => {
    await page.locator('#renew').click()
    await page.locator('#renewals', { hasText: '1' }).waitFor()
    expect(await userinfo()).toMatchObject({ email: EMAIL })
  })

  it('signs out everywhere', async () => {
    await page.locator('#sign-out').click()
    await page.locator('button[name=logout]').click()
    await page.locator('#sign-in').waitFor()
    await page.locator('#sign-in').click()
    await page.locator('input[name=identifier]').waitFor()
  })
}

async function userinfo(): Promise<unknown> {
  await page.locator('#call-userinfo').click()
  await page.locator('#userinfo:not([hidden])').waitFor()
  return JSON.parse(String(await page.locator('#userinfo').textContent()))
}

/** Another tab, signed in at Genkan: the same journey succeeds unless a parameter of its request is changed. */
async function expectRefused(parameter: string, value: string): Promise<void> {
  const tab = await profile.newPage()
  const signIn = async (): Promise<void> => {
    await tab.goto(example.origin)
    await tab.locator('#sign-in').click()
  }
  const change = async (route: Route): Promise<void> => {
    const url = new URL(route.request().url())
    expect(url.searchParams.has(parameter)).toBe(true)
    url.searchParams.set(parameter, value)
    await route.fulfill({ status: 302, headers: { location: url.href } })
  }
  await tab.route(`${example.server.issuer}/auth?*`, change, { times: 1 })
  await signIn()
  await tab.locator('#problem:not([hidden])').waitFor()
  expect(await tab.locator('#problem').textContent()).toMatch(/^You are not signed in: ./)
  await signIn()
  await tab.locator('#claims', { hasText: await subject() }).waitFor()
  await tab.close()
}

async function subject(): Promise<string> {
  const { stdout } = await example.server.run('accounts', 'show', EMAIL, '--json')
  return (JSON.parse(stdout) as { account: string }).account
}
