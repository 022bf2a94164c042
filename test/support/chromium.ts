/** Debian's Chromium through playwright-core, without the browser's own traffic to the outside. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { binary } from './binaries.ts'

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/**
 * Starts Chromium without the browser around it: the same engine, with WebAuthn, at a third of the price of a page. Close it
 * after use; Playwright also ends it with this process.
 */
export function startHeadlessShell(flags: readonly string[] = []): Promise<Browser> {
  return chromium.launch({ executablePath: binary('chromium-headless-shell'), args: [...FLAGS, ...flags] })
}

/** A Chromium that takes no cookies, by its own setting. Close it after use. */
export function startWithoutCookies(): Promise<BrowserContext> {
  const folder = mkdtempSync(join(tmpdir(), 'genkan-chromium-'))
  mkdirSync(join(folder, 'Default'))
  const preferences = { profile: { default_content_setting_values: { cookies: 2 } } }
  writeFileSync(join(folder, 'Default', 'Preferences'), JSON.stringify(preferences))
  return chromium.launchPersistentContext(folder, {
    executablePath: binary('chromium'),
    args: FLAGS,
    ignoreHTTPSErrors: true,
    locale: 'en-US',
  })
}

/** A fresh profile. `ignoreHTTPSErrors` because the TLS proxy's certificate is made for the run. */
export function newProfile(browser: Browser, options: BrowserContextOptions = {}): Promise<BrowserContext> {
  return browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-US', ...options })
}

/** What a page says on its console and what breaks in it, from now on; `passes` takes what a page may say. */
export function listenTo(page: Page, passes: (text: string, url: string) => boolean = () => false): string[] {
  const said: string[] = []
  page.on('console', (message) => {
    const text = message.text()
    // On a slow machine the person is in a field before the page has put them there; Chromium says so, and nothing is wrong.
    const isAutofocus = text.startsWith('Autofocus processing was blocked')
    if (!isAutofocus && !passes(text, message.location().url)) said.push(text)
  })
  page.on('pageerror', (error) => said.push(error.message))
  return said
}
