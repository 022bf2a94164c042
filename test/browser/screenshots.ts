/**
 * `npm run screenshots [locale …]`: every page of the gallery in every theme and width as a picture under .data/screenshots, to be
 * looked at by people. Without locales: English. Needs fonts of their scripts (Debian: fonts-noto-core, fonts-noto-cjk).
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Fixtures } from '../../src/platform/views.ts'
import { startHeadlessShell } from '../support/chromium.ts'
import { startServer } from '../support/server.ts'

const WIDTHS = [
  ['phone', { width: 390, height: 844 }],
  ['desktop', { width: 1280, height: 800 }],
] as const
const THEMES = ['light', 'dark'] as const

const folder = join('.data', 'screenshots')
const { pages, mails } = JSON.parse(readFileSync(join('views', 'fixtures.json'), 'utf8')) as Fixtures
const locales = process.argv.length > 2 ? process.argv.slice(2) : ['en']

for (const locale of locales) {
  if (execFileSync('fc-list', [`:lang=${locale}`], { encoding: 'utf8' }).trim() === '')
    process.stderr.write(`No font here has the letters of ${locale}: install fonts-noto-core and fonts-noto-cjk.\n`)
}
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
const server = await startServer({ env: { GENKAN_DEV_PAGES: '1' } })
const browser = await startHeadlessShell()
try {
  let count = 0
  for (const locale of locales)
    for (const colorScheme of THEMES)
      for (const [screen, viewport] of WIDTHS) {
        const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' })
        const page = await context.newPage()
        for (const [kind, list] of [
          ['page', pages],
          ['mail', mails],
        ] as const)
          for (const { template, state } of list) {
            await page.goto(`${server.issuer}/dev/pages/${kind}?${new URLSearchParams({ template, state, locale })}`)
            const name = [kind === 'mail' ? `mail ${template}` : template, state, locale, colorScheme, screen].join(' ')
            await page.screenshot({ path: join(folder, `${name.replace(/[^\w]+/g, '_')}.png`), fullPage: true })
            count++
          }
        await context.close()
      }
  process.stdout.write(`${count} pictures in ${folder}\n`)
} finally {
  await browser.close()
  await server.close()
}
