/** A brand in a real Chromium: its stylesheet and logo pass the page's policy, in light and dark. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser } from 'playwright-core'
import { listenTo, newProfile, startHeadlessShell } from '../support/chromium.ts'
import { png } from '../support/png.ts'
import { type Server, startServer } from '../support/server.ts'

const folder = mkdtempSync(join(tmpdir(), 'genkan-brand-'))
let browser: Browser
let server: Server

beforeAll(async () => {
  const logo =
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 10"><style>.a{fill:red}</style><path class="a" d="M0 0h40v10H0z"/></svg>'
  writeFileSync(join(folder, 'logo.svg'), logo)
  writeFileSync(join(folder, 'dark.png'), png())
  writeFileSync(join(folder, 'own.css'), 'h1 { letter-spacing: 3px }')
  const brand = { id: 'default', name: 'Acme', colours: { accent: '#0b6e4f', accent_dark: '#7fd8b4' }, radius: 2 }
  const files = { logo: join(folder, 'logo.svg'), logo_dark: join(folder, 'dark.png'), css: join(folder, 'own.css') }
  server = await startServer({ settings: { brands: [{ ...brand, ...files }] } })
  browser = await startHeadlessShell()
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
  rmSync(folder, { recursive: true, force: true })
})

describe.each([
  ['light', 'rgb(11, 110, 79)', 'svg', 1024],
  ['dark', 'rgb(127, 216, 180)', 'png', 4],
] as const)('in %s', (colorScheme, accent, extension, width) => {
  it('the page has the accent, corners, logo and own CSS of its brand, and nothing is blocked', async () => {
    const context = await newProfile(browser, { colorScheme })
    const page = await context.newPage()
    const said = listenTo(page)
    await page.goto(`${server.issuer}/account`)
    const style = (selector: string, property: string) =>
      page.evaluate(`getComputedStyle(document.querySelector('${selector}')).${property}`)
    expect(await style('.button.primary', 'backgroundColor')).toBe(accent)
    expect(await style('.button.primary', 'borderRadius')).toBe('2px')
    expect(await style('h1', 'letterSpacing')).toBe('3px')
    expect(await page.getByRole('img', { name: 'Acme' }).count()).toBe(1)
    const shown = await page.evaluate(`(async () => {
      const logo = document.querySelector('img.logo')
      await logo.decode()
      return { source: logo.currentSrc, width: logo.naturalWidth, height: logo.getBoundingClientRect().height }
    })()`)
    expect(shown).toEqual({ source: expect.stringMatching(new RegExp(`\\.${extension}$`)), width, height: 32 })
    expect(said).toEqual([])
    await context.close()
  })
})
