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
  server = await startServer({ settings: SETTINGS, process: 'own' })
  const browser = createBrowser({ stopAt: [SPA] })
  await register(browser, await atSignIn(browser, { prompt: 'create' }), mailFolder(server.dataDir), EMAIL)
})
afterAll(() => server?.close())

async function atSignIn(browser: Browser, more: { readonly [name: string]: string }): Promise<Page> {
  const spa = await discover(server.issuer, 'spa')
  return browser.get((await authorization(spa, `${SPA}/callback`, more)).url)
}

/** The process that hashes now. */
const hashing = () => childrenOf(server.pid())[0] ?? 0
const isThere = (pid: number) => {
  try {
    // A zombie has ended.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/**
 * Halts the process that hashes, or whichever there are: one that has begun. Before that it is a copy of its server, which waits
 * until it is another program, and would wait for ever.
 */
function halt(): void {
  for (const pid of childrenOf(server.pid())) {
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('hashing_process')) process.kill(pid, 'SIGSTOP')
    } catch {
      // It has ended.
    }
  }
}

/** Sends the right password once something is wrong with the process that hashes. */
async function signIn(trouble: () => void): Promise<{ page: Page; milliseconds: number; again(): Promise<Page> }> {
  const browser = createBrowser({ stopAt: [SPA] })
  const form = await atSignIn(browser, { login_hint: EMAIL })
  const send = () => browser.submit(form, { password: PASSWORD }, { form: '/password' })
  trouble()
  const start = performance.now()
  return { page: await send(), milliseconds: performance.now() - start, again: send }
}

/** Once a password is with the process: before that, another one would be there for it; and halted, it would soon be late. */
async function killAtWork(): Promise<void> {
  const metrics = async () => (await fetch(`${server.managementOrigin}/metrics`)).text()
  while (!/^genkan_hash_queue_running 1$/m.test(await metrics())) await sleep(2)
  process.kill(hashing(), 'SIGKILL')
}

const logged = (text: string) => server.logs().some((line) => line.includes(text))

it.each([
  ['it dies', () => void killAtWork()],
  ['it hangs, and those that follow,', () => setInterval(halt, 10)],
])(
  'when %s the page says so in five seconds, and the same form signs in afterwards',
  async (_, trouble) => {
    const pid = hashing()
    let timer: ReturnType<typeof trouble>
    const {
      page: busy,
      milliseconds,
      again,
    } = await signIn(() => {
      halt()
      timer = trouble()
    })
    clearTimeout(timer)
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
  await until(() => !isThere(pid), 10_000)
})
