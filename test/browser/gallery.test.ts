/**
 * Every page in every state, theme and direction in a real Chromium: accessible by machine (axe), readable at 320 px, usable by
 * keyboard, silent on the console, and asking nobody else for anything. What is looked at is the gallery of the running server.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { AxeResults } from 'axe-core'
import type { Browser, Page } from 'playwright-core'
import type { Fixtures } from '../../src/platform/views.ts'
import { listenTo, startHeadlessShell } from '../support/chromium.ts'
import { sample, sampleTitle } from '../support/sample.ts'
import { type Server, startServer } from '../support/server.ts'

const { pages, mails } = JSON.parse(readFileSync(join(process.cwd(), 'views', 'fixtures.json'), 'utf8')) as Fixtures
const AXE = readFileSync(join(process.cwd(), 'node_modules', 'axe-core', 'axe.min.js'), 'utf8')
const AXE_TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
/** One of each direction. */
const LOCALES = ['en', 'ar'] as const

let server: Server
let browser: Browser
const windows = new Map<string, Window>()

beforeAll(async () => {
  server = await startServer({ env: { GENKAN_DEV_PAGES: '1' } })
  browser = await startHeadlessShell()
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
})

interface Look {
  readonly kind: 'page' | 'mail'
  readonly template: string
  readonly state: string
  readonly theme: 'light' | 'dark'
  readonly locale: string
}

/** The narrowest screen, at which everything is looked at, and wider ones, on which nothing may stick out either. */
const PHONE = 320
const WIDER = [768, 1280] as const
const HEIGHT = 800

/** A tab, and everything that its page said or asked for. */
interface Window {
  readonly page: Page
  readonly said: string[]
  readonly asked: string[]
}

const pathOf = (url: string) => (URL.canParse(url) ? new URL(url).pathname : '')

async function openWindow(colorScheme: Look['theme']): Promise<Window> {
  const viewport = { width: PHONE, height: HEIGHT }
  const context = await browser.newContext({ colorScheme, viewport, reducedMotion: 'reduce' })
  await context.addInitScript({ path: join(process.cwd(), 'test', 'browser', 'in_page.js') })
  const page = await context.newPage()
  const asked: string[] = []
  // A page of fixtures belongs to no conversation: of the challenge that a passkey page asks for, and only of that, it may
  // hear that it is refused.
  const isRefusal = (url: string) => /^\/interaction\/[^/]+\/passkey(_\w+)?\/challenge$/.test(pathOf(url))
  const said = listenTo(page, (text, url) => isRefusal(url) && text.includes('status of 409'))
  page.on('request', (request) => asked.push(request.url()))
  return { page, said, asked }
}

/** Opens one page of the gallery on a phone. One tab for each theme: a new one costs more than the page in it. */
async function open({ kind, template, state, theme, locale }: Look): Promise<Window> {
  const window = windows.get(theme) ?? (await openWindow(theme))
  windows.set(theme, window)
  await window.page.setViewportSize({ width: PHONE, height: HEIGHT })
  // What the page before still says is over with it. Of the same origin, or the browser starts a process for each page.
  await window.page.goto(`${server.issuer}/livez`)
  window.said.length = 0
  window.asked.length = 0
  const response = await window.page.goto(
    `${server.issuer}/dev/pages/${kind}?${new URLSearchParams({ template, state, locale })}`,
  )
  expect(response?.status()).toBe(200)
  return window
}

const LOOKS = [
  ...pages.map((each) => ({ ...each, kind: 'page' as const })),
  ...mails.map((each) => ({ ...each, kind: 'mail' as const })),
].flatMap(({ kind, template, state }) =>
  (['light', 'dark'] as const).flatMap((theme) =>
    LOCALES.map((locale): Look => ({ kind, template, state, theme, locale })),
  ),
)

describe(sampleTitle('every page'), () => {
  it.each(sample(LOOKS, { least: 30 }))('$kind $template ($state), $theme, $locale', async (look) => {
    const { page, said, asked } = await open(look)
    expect(await page.getAttribute('html', 'lang')).toBe(look.locale)
    expect(await page.getAttribute('html', 'dir')).toBe(look.locale === 'ar' ? 'rtl' : 'ltr')
    expect(await page.evaluate('checks.sideways()')).toEqual([])
    expect(await violations(page, look.kind)).toEqual([])
    if (look.kind === 'page') {
      expect(await page.evaluate('checks.smallTargets()')).toEqual([])
      await walkByKeyboard(page)
    }
    // Loading a page costs far more than making its window wider.
    for (const width of WIDER) {
      await page.setViewportSize({ width, height: HEIGHT })
      expect([width, await page.evaluate('checks.sideways()')]).toEqual([width, []])
    }
    expect(said).toEqual([])
    expect(asked.filter((url) => !url.startsWith(server.issuer) && !url.startsWith('data:'))).toEqual([])
  })
})

describe('the gallery', () => {
  it('shows each fixture in a frame, in the theme and locale that are asked for', async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
    const page = await context.newPage()
    await page.goto(`${server.issuer}/dev/pages?locale=fi&theme=dark`)
    expect(await page.locator('iframe').count()).toBe(pages.length + 2 * mails.length)
    const first = page.frameLocator('iframe').first()
    expect(await first.locator('html').getAttribute('lang')).toBe('fi')
    expect(await first.locator('html').getAttribute('class')).toBe('dark')
    await context.close()
  })

  it('is not there unless it is asked for, and never on an issuer that others reach', async () => {
    const plain = await startServer()
    try {
      for (const path of ['', '/page?template=error&state=not found', '/parts', '/mail'])
        expect((await fetch(`${plain.origin}/dev/pages${path}`)).status).toBe(404)
    } finally {
      await plain.close()
    }
    const exposed = await startServer({ issuer: 'https://id.example', env: { GENKAN_DEV_PAGES: '1' }, wait: false })
    try {
      expect(await exposed.exited()).toBe(1)
      expect(exposed.logs().join('\n')).toContain('GENKAN_DEV_PAGES: is for a loopback issuer only')
    } finally {
      await exposed.close()
    }
  })

  it('the pages are light: less than 30 kB of style and script, compressed', async () => {
    const { asked } = await open({
      ...LOOKS[0],
      template: 'consents/consent',
      state: 'first time',
    } as Look)
    const assets = asked.filter((url) => /\/assets\/|\/brands\//.test(url) && !url.endsWith('.svg'))
    let bytes = 0
    for (const url of assets) {
      const response = await fetch(url, { headers: { 'Accept-Encoding': 'br' } })
      expect(response.headers.get('content-encoding')).toBe('br')
      bytes += Number(response.headers.get('content-length'))
    }
    expect(assets.length).toBeGreaterThanOrEqual(2)
    expect(bytes).toBeGreaterThan(1000)
    expect(bytes).toBeLessThan(30_000)
  })
})

async function violations(page: Page, kind: string): Promise<string[]> {
  // The policy of the page forbids scripts that are not its own: this one comes by the browser's debugging port.
  await page.evaluate(AXE)
  // A mail has no landmarks: mail programs show it inside of their own page.
  const off = kind === 'mail' ? ['region', 'landmark-one-main', 'page-has-heading-one'] : []
  const rules = Object.fromEntries(off.map((id) => [id, { enabled: false }]))
  const options = { runOnly: { type: 'tag', values: AXE_TAGS }, rules, resultTypes: ['violations'] }
  const { violations: found } = await page.evaluate<AxeResults>(`axe.run(document, ${JSON.stringify(options)})`)
  return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`)
}

/** Tab from the top: the focus is always to be seen, in the order of the document, and reaches every control. */
async function walkByKeyboard(page: Page): Promise<void> {
  const total = await page.evaluate<number>('checks.startWalk()')
  if (total === 0) return
  const visited: string[] = []
  // The parts of a date are stops of their own within one field.
  while (visited.length < total || visited.at(-1) !== String(total - 1)) {
    await page.keyboard.press('Tab')
    const focused = await page.evaluate<{ walk: string }>('checks.focused()')
    expect(focused).toMatchObject({ outlined: true, inside: true })
    if (visited.at(-1) !== focused.walk) visited.push(focused.walk)
    expect(visited.length).toBeLessThanOrEqual(total)
  }
  expect(visited).toEqual(Array.from({ length: total }, (_, index) => String(index)))
}
