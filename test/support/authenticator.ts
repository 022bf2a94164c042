/** An authenticator app by another hand than the product's: Debian's oathtool makes the codes. */
import { execFileSync } from 'node:child_process'
import { binary } from './binaries.ts'
import type { Page } from './browser.ts'

export interface Authenticator {
  /** As the page shows it to be typed. */
  readonly seed: string
  /** The code that the app shows at a time; `steps` moves it by so many times 30 seconds. */
  code(at: Date, steps?: number): string
}

export function authenticator(seed: string): Authenticator {
  return {
    seed,
    code(at, steps = 0) {
      const then = new Date(at.getTime() + steps * 30_000)
      const now = then.toISOString().replace('T', ' ').replace(/\..*$/, ' UTC')
      const args = [
        '--totp=sha1',
        '--digits=6',
        '--time-step-size=30s',
        `--now=${now}`,
        '--base32',
        seed.replace(/ /g, ''),
      ]
      return execFileSync(binary('oathtool'), args, { encoding: 'utf8' }).trim()
    },
  }
}

/** Reads the seed off a page that sets an app up. */
export function appOf(page: Page): Authenticator {
  const seed = /<code class="seed"[^>]*>([A-Z2-7 ]+)<\/code>/.exec(page.html)?.[1]
  if (seed === undefined) throw new Error(`no seed on ${page.title}: ${page.text.slice(0, 300)}`)
  return authenticator(seed)
}

/** The recovery codes that a page shows. */
export function codesOf(page: Page): string[] {
  return [...page.html.matchAll(/<li><code>([0-9A-Z-]+)<\/code><\/li>/g)].map(([, code = '']) => code)
}
