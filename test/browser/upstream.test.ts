/** Signing in by a provider in a real Chromium: another site, its pages, and its POST that brings none of our cookies. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { newProfile } from '../support/chromium.ts'
import { type BrowserOfClients, startBrowserOfClients } from '../support/client_site.ts'
import { authorization } from '../support/journeys.ts'
import { CALLBACK } from '../support/target.ts'
import { startUpstreamRoom, type UpstreamRoom } from '../support/upstreams.ts'

let room: UpstreamRoom
let clients: BrowserOfClients
beforeAll(async () => {
  room = await startUpstreamRoom({
    upstream: { trusted_domains: ['acme.example'] },
    others: [{ name: 'posting', title: 'Posting', response_mode: 'form_post', trusted_domains: ['acme.example'] }],
  })
  clients = await startBrowserOfClients()
})
afterAll(async () => {
  await clients?.close()
  await room?.close()
})
beforeEach(() => room.fake.tell({ reset: true }))

const profile = () => newProfile(clients.browser)

async function open(page: Page): Promise<void> {
  await page.goto((await authorization(room.target.client, CALLBACK)).url)
}

describe.each([
  ['that answers by a redirect', 'Acme'],
  ['that answers by a POST of its own page', 'Posting'],
])('a provider %s', (_, title) => {
  it('signs somebody new in, and marks its button for the next time', async () => {
    const account = `in-${title}`
    await room.fake.tell({
      account,
      claims: { email: `${account}@acme.example`, email_verified: true, name: 'Ida Acme' },
    })
    const context = await profile()
    const page = await context.newPage()
    const said: string[] = []
    page.on('console', (message) => said.push(message.text()))
    await open(page)
    await page.getByRole('button', { name: `Continue with ${title}` }).click()
    await page.getByRole('heading', { name: 'Sign in at the fake provider' }).waitFor()
    await page.getByRole('button', { name: 'continue', exact: true }).click()
    await page.getByRole('heading', { name: 'Create an account' }).waitFor()
    expect(await page.getByText('Ida Acme').isVisible()).toBe(true)
    await page.getByRole('button', { name: 'Create account' }).click()
    await page.getByText('the client').waitFor()
    expect(new URL(page.url()).searchParams.has('code')).toBe(true)
    await context.clearCookies({ name: /session|_interaction/ })
    await open(page)
    expect(await page.getByRole('button', { name: `Continue with ${title}` }).textContent()).toContain('Last used')
    expect(said.filter((text) => /Content Security Policy|Refused/.test(text))).toEqual([])
    await context.close()
  })

  it('leads back to the first page from its own way back', async () => {
    const context = await profile()
    const page = await context.newPage()
    await open(page)
    await page.getByRole('button', { name: `Continue with ${title}` }).click()
    await page.getByRole('button', { name: 'access_denied' }).click()
    await page.getByRole('alert').waitFor()
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Sign in')
    expect(await page.getByRole('button', { name: `Continue with ${title}` }).isVisible()).toBe(true)
    await context.close()
  })
})
