/**
 * Pages that close after a time say so before, in a live region, and stay open for whoever asks (WCAG 2.2.1): real Chromium,
 * whose clock is moved, on the real product, whose clock is moved too.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Browser, Page } from 'playwright-core'
import { createBrowser } from '../support/browser.ts'
import { newProfile, startHeadlessShell } from '../support/chromium.ts'
import { authorization, discover, PASSWORD, SETTINGS } from '../support/journeys.ts'
import { codeFrom, type Mailbox, mailFolder } from '../support/mailbox.ts'
import { stepOf } from '../support/people.ts'
import { type Server, startServer } from '../support/server.ts'

const CALLBACK = 'https://own.test.example/callback'
const HOUR = 3600
let server: Server
let browser: Browser
let mailbox: Mailbox

beforeAll(async () => {
  // Redis has a clock of its own, which nobody moves.
  server = await startServer({ settings: SETTINGS, stores: 'embedded' })
  mailbox = mailFolder(server.dataDir)
  browser = await startHeadlessShell()
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
})
beforeEach(() => server.shiftDate(0))

async function openTab(locale = 'en-US'): Promise<Page> {
  const page = await (await newProfile(browser, { locale })).newPage()
  await page.clock.install()
  return page
}
const signInPage = async () => (await authorization(await discover(server.issuer, 'own'), CALLBACK)).url
const region = (page: Page) => page.getByRole('status').filter({ has: page.locator('template') })
/** Lets so many seconds pass, for the page and for the server. */
async function pass(page: Page, seconds: number, inAll = seconds): Promise<void> {
  await server.shiftDate(inAll)
  await page.clock.fastForward(seconds * 1000)
}

describe('a page of the conversation', () => {
  it('says two minutes before its hour is over that it closes, and stays with what was typed', async () => {
    const page = await openTab()
    await page.goto(await signInPage())
    await page.getByLabel('E-mail').fill('half.typed@example.com')
    await pass(page, HOUR - 150)
    expect(await region(page).textContent()).toMatch(/^\s*$/)
    await pass(page, 60, HOUR - 90)
    expect(await region(page).textContent()).toContain('This page is about to close')
    await page.getByRole('button', { name: 'Stay on this page' }).click()
    await page.getByRole('button', { name: 'Stay on this page' }).waitFor({ state: 'detached' })
    // Longer than the page was good for at first.
    await pass(page, HOUR - 300, 2 * HOUR - 390)
    expect(await region(page).textContent()).toMatch(/^\s*$/)
    expect(await page.getByLabel('E-mail').inputValue()).toBe('half.typed@example.com')
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.locator('input[name=password]').waitFor()
  })

  it('says that it has closed, in the language of the page, and leads back', async () => {
    const page = await openTab('fi-FI')
    await page.goto(await signInPage())
    await pass(page, HOUR + 1)
    expect(await region(page).textContent()).toContain('Tämä sivu on suljettu')
    await region(page).getByRole('link', { name: 'Avaa se uudelleen' }).click()
    // The server has closed it too: its page says so and leads to the client.
    await page.locator('.time-limit').waitFor({ state: 'detached' })
    expect(await page.locator('input[name=identifier]').count()).toBe(0)
  })

  it('does not stay where the server has closed it meanwhile', async () => {
    const page = await openTab()
    await page.goto(await signInPage())
    await pass(page, HOUR - 60)
    await server.shiftDate(HOUR + 60)
    await page.getByRole('button', { name: 'Stay on this page' }).click()
    await region(page).getByText('This page has closed').waitFor()
  })

  it('stays for twelve hours at the most, by renewed cookies, and only for its own form', async () => {
    const person = createBrowser({ stopAt: [CALLBACK] })
    const start = await person.get(await signInPage())
    expect(stepOf(start)).toBe('identifier')
    const csrf = start.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
    const stay = (token: string) =>
      person.send(`${start.url}/stay`, {
        method: 'POST',
        from: start.url,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ csrf: token }).toString(),
      })
    expect((await stay('')).status).toBe(403)
    let hours = 0
    for (; hours < 24; hours++) {
      await server.shiftDate(hours * (HOUR - 60))
      const answer = await stay(csrf)
      if (answer.status !== 200) {
        expect(answer.status).toBe(403)
        break
      }
      // Whole seconds that remain, less those that the request itself took.
      const { seconds } = JSON.parse(answer.body) as { seconds: number }
      expect(seconds).toBeLessThanOrEqual(HOUR)
      expect(seconds).toBeGreaterThan(HOUR - 10)
      const cookies = answer.headers['set-cookie'] ?? []
      expect(cookies.map((cookie) => /^\w+/.exec(cookie)?.[0]).toSorted()).toEqual([
        'genkan_interaction',
        'genkan_resume',
      ])
      for (const cookie of cookies)
        expect(cookie).toMatch(/path=\/(interaction|auth)\/[^;]+; expires=.*samesite=lax; httponly$/)
    }
    // Each of the twelve hours but the last could be had (WCAG asks for ten).
    expect(hours).toBeGreaterThanOrEqual(10)
    expect(hours).toBeLessThanOrEqual(12)
  })
})

describe('an account page', () => {
  it('says before its session ends from silence that it does, and keeps it for whoever stays', async () => {
    const page = await openTab()
    await page.goto(`${server.issuer}/account`)
    await page.getByRole('button', { name: 'Create an account' }).click()
    await page.getByLabel('E-mail').fill('silent@example.com')
    await page.locator('input[name=password]').fill(PASSWORD)
    await page.getByRole('button', { name: 'Create account' }).click()
    await page.locator('input[name=code]').fill(codeFrom(await mailbox.to('silent@example.com')))
    await page.getByRole('button', { name: 'Confirm' }).click()
    await page.waitForURL(`${server.issuer}/account`)
    await pass(page, 8 * HOUR - 100)
    expect(await region(page).textContent()).toContain('This page is about to close')
    await page.getByRole('button', { name: 'Stay on this page' }).click()
    await page.getByRole('button', { name: 'Stay on this page' }).waitFor({ state: 'detached' })
    await pass(page, 8 * HOUR - 200, 16 * HOUR - 300)
    await page.goto(`${server.issuer}/account/profile`)
    expect(new URL(page.url()).pathname).toBe('/account/profile')
  })
})
