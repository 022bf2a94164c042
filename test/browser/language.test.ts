/** The chooser of languages in a real Chromium: without JavaScript, by keyboard, in both directions, on narrow screens. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { newProfile, startHeadlessShell } from '../support/chromium.ts'
import { SETTINGS } from '../support/journeys.ts'
import { type Server, startServer } from '../support/server.ts'

let browser: Browser
let server: Server

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  browser = await startHeadlessShell()
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
})

async function open(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await newProfile(browser, options)
  const page = await context.newPage()
  await page.goto(`${server.issuer}/account`)
  return page
}

const summary = (page: Page) => page.locator('.language summary')
const isOpen = async (page: Page) => (await page.locator('.language').getAttribute('open')) !== null

it('works without JavaScript, keeps the conversation and what is asked next', async () => {
  const page = await open({ javaScriptEnabled: false })
  await page.locator('input[name=identifier]').fill('ada@example.com')
  await page.getByRole('button', { name: 'Continue' }).click()
  const { pathname } = new URL(page.url())
  await summary(page).click()
  await page.locator('.language').getByRole('button', { name: '日本語' }).click()
  expect(new URL(page.url()).pathname).toBe(pathname)
  expect(await page.locator('html').getAttribute('lang')).toBe('ja')
  expect(await page.locator('main').textContent()).toContain('ada@example.com')
  await page.getByRole('button', { name: 'サインイン', exact: true }).waitFor()
  await page.context().close()
})

it('is used by keyboard, and Escape or a look elsewhere closes it', async () => {
  const page = await open()
  await summary(page).focus()
  await page.keyboard.press('Enter')
  expect(await isOpen(page)).toBe(true)
  await page.keyboard.press('Tab')
  await page.keyboard.press('Escape')
  expect(await isOpen(page)).toBe(false)
  expect(await summary(page).evaluate((element) => element === element.ownerDocument.activeElement)).toBe(true)
  await page.keyboard.press('Enter')
  await page.locator('h1').click()
  expect(await isOpen(page)).toBe(false)
  await summary(page).focus()
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.waitForSelector('html[lang=fi]')
  await page.context().close()
})

describe.each([
  [320, 'en', 'ltr'],
  [320, 'ar', 'rtl'],
  [1280, 'ar', 'rtl'],
  [390, 'th', 'ltr'],
] as const)('%d px wide in %s', (width, locale, direction) => {
  it('opens upwards, moves nothing, fits the screen, and is easy to hit', async () => {
    const page = await open({ viewport: { width, height: 700 }, locale })
    expect(await page.locator('html').getAttribute('dir')).toBe(direction)
    const boxes = () => Promise.all([page.locator('.card').boundingBox(), summary(page).boundingBox()])
    const before = await boxes()
    await summary(page).click()
    expect(await boxes()).toEqual(before)
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true)
    const buttons = await page.locator('.language button').all()
    expect(buttons).toHaveLength(6)
    for (const button of buttons) {
      const box = await button.boundingBox()
      expect(box?.height).toBeGreaterThanOrEqual(44)
      expect((box?.y ?? 0) + (box?.height ?? 0)).toBeLessThan((before[1]?.y ?? 0) + 1)
      expect(box?.y).toBeGreaterThan(0)
    }
    expect(before[1]?.height).toBeGreaterThanOrEqual(44)
    await page.context().close()
  })
})

it('in Arabic addresses and passwords run left to right, and the button in the field covers no letter', async () => {
  const page = await open({ locale: 'ar' })
  const identifier = page.locator('input[name=identifier]')
  expect(await identifier.getAttribute('dir')).toBe('ltr')
  await identifier.fill('ada@example.com')
  await page.locator('main form').first().getByRole('button').click()
  const password = page.locator('input[name=password]')
  const style = await password.evaluate((input) => {
    const { direction, textAlign, paddingLeft } = input.ownerDocument.defaultView?.getComputedStyle(input) ?? {}
    return { direction, textAlign, paddingLeft: Number.parseFloat(paddingLeft ?? '') }
  })
  const [field, reveal] = await Promise.all([password.boundingBox(), page.locator('.reveal').boundingBox()])
  expect(style).toMatchObject({ direction: 'ltr', textAlign: 'end' })
  expect((field?.x ?? 0) + style.paddingLeft).toBeGreaterThanOrEqual((reveal?.x ?? 0) + (reveal?.width ?? 999))
  await page.context().close()
})
