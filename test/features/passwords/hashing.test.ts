/** Somebody signs in while the process that hashes hangs or dies: told to come again soon, and nothing is lost. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { type Browser, createBrowser, type Page } from '../../support/browser.ts'
import { authorization, discover, PASSWORD, register, SETTINGS, SPA } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { childrenOf, until } from '../../support/processes.ts'
import { type Server, startServer } from '../../support/server.ts'

const EMAIL = 'ada@example.com'
let server: Server

beforeAll(async () => {
  server = await startServer({ settings: { ...SETTINGS, passwords: { queue_ms: 800 } }, process: 'own' })
  const browser = createBrowser({ stopAt: [SPA] })
  await register(browser, await atSignIn(browser, { prompt: 'create' }), mailFolder(server.dataDir), EMAIL)
})
afterAll(() => server?.close())

async function atSignIn(browser: Browser, more: { readonly [name: string]: string }): Promise<Page> {
  const spa = await discover(server.issuer, 'spa')
  return browser.get((await authorization(spa, `${SPA}/callback`, more)).url)
}

/** The process that hashes now: one that was killed may be there for a while, if others want the processor. */
const hashing = () => childrenOf(server.pid()).at(-1) ?? 0
const isThere = (pid: number) => {
  try {
    // A zombie has ended.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/**
 * Sends a signal to the process that hashes, or to whichever there are: one that has begun. Before that it is a copy of its server,
 * which waits until it is another program, and halted would wait for ever.
 */
function toHashing(signal: 'SIGSTOP' | 'SIGKILL'): void {
  for (const pid of childrenOf(server.pid())) {
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('hashing_process')) process.kill(pid, signal)
    } catch {
      // It has ended.
    }
  }
}

/** Sends the right password. */
async function signIn(): Promise<{ page: Page; milliseconds: number; again(): Promise<Page> }> {
  const browser = createBrowser({ stopAt: [SPA] })
  const form = await atSignIn(browser, { login_hint: EMAIL })
  const send = () => browser.submit(form, { password: PASSWORD }, { form: '/password' })
  const start = performance.now()
  return { page: await send(), milliseconds: performance.now() - start, again: send }
}

/** Resolves once a password is with the process that hashes. */
async function atWork(): Promise<void> {
  const metrics = async () => (await fetch(`${server.managementOrigin}/metrics`)).text()
  while (!/^genkan_hash_queue_running 1$/m.test(await metrics())) await sleep(2)
}

const logged = (text: string) => server.logs().some((line) => line.includes(text))

// What follows a process that hangs or dies does so, too: halted, a process is soon late, and another would be there for it.
it.each(['it dies', 'it hangs'])(
  'when %s the page says so in five seconds, and the same form signs in afterwards',
  async (what) => {
    const pid = hashing()
    let signal: 'SIGSTOP' | 'SIGKILL' = 'SIGSTOP'
    toHashing(signal)
    const trouble = setInterval(() => toHashing(signal), 10)
    const dies = what === 'it dies' && atWork().then(() => (signal = 'SIGKILL'))
    const { page: busy, milliseconds, again } = await signIn()
    clearInterval(trouble)
    await dies
    expect(milliseconds).toBeLessThan(5000)
    expect([busy.status, busy.headers['retry-after']]).toEqual([503, '1'])
    await sleep(1000)
    const page = await again()
    expect(page.url).toContain('code=')
    expect(hashing()).not.toBe(pid)
    expect(logged('the process that hashes passwords ended')).toBe(true)
  },
  60_000,
)

it('ends with its server, however that ends', async () => {
  const pid = hashing()
  expect(isThere(pid)).toBe(true)
  await server.kill()
  await until(() => !isThere(pid), 30_000)
}, 60_000)
