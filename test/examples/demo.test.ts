/** `npm run demo` as a newcomer meets it: real processes, a real browser, the examples from the first sign-in to a restart. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { portIsFree } from '../../examples/demo/processes.ts'
import { newProfile, startHeadlessShell } from '../support/chromium.ts'
import { entrust, freePorts } from '../support/services.ts'

const EMAIL = 'ada@example.com'
const PASSWORD = 'nine green slippers by the door'
/** Twice what README promises, for a machine that runs other suites beside this one. */
const READY_MS = 40_000

const root = new URL('../../', import.meta.url).pathname
const dataDir = mkdtempSync(join(tmpdir(), 'genkan-demo-'))
let base: number
let demo: Demo
let browser: Browser
let context: BrowserContext
let web: Page
let spa: Page

interface Demo {
  readonly child: ChildProcess
  output(): string
  /** Waits until the demo has printed it. */
  printed(text: RegExp): Promise<RegExpExecArray>
  /** Ctrl-C; resolves with the exit code. */
  interrupt(): Promise<number | null>
}

const url = (offset: number) => `http://localhost:${base + offset}`

async function startDemo(): Promise<Demo> {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, DEMO_PORT_BASE: String(base), DEMO_DATA_DIR: dataDir }
  const child = spawn(process.execPath, ['examples/demo.ts'], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  await entrust(child.pid ?? 0)
  const printed = async (text: RegExp) => {
    const until = Date.now() + READY_MS
    for (;;) {
      const found = text.exec(output)
      if (found !== null) return found
      if (child.exitCode !== null || Date.now() > until) throw new Error(`the demo never printed ${text}:\n${output}`)
      await sleep(50)
    }
  }
  await printed(/Ctrl-C stops everything/)
  return {
    child,
    output: () => output,
    printed,
    interrupt: () => {
      child.kill('SIGINT')
      return ended
    },
  }
}

beforeAll(async () => {
  base = await freePorts(6)
  demo = await startDemo()
  browser = await startHeadlessShell()
  context = await newProfile(browser)
  context.setDefaultTimeout(15_000)
  web = await context.newPage()
  spa = await context.newPage()
}, 120_000)

afterAll(async () => {
  await browser?.close()
  await demo?.interrupt()
  rmSync(dataDir, { recursive: true, force: true })
}, 60_000)

describe('the demo', () => {
  it('prints where everything is', () => {
    for (const text of [url(0), url(1), url(2), url(3), join(dataDir, 'mail')]) expect(demo.output()).toContain(text)
  })

  it('keeps its secrets to the user and out of the provider’s configuration', () => {
    expect(statSync(join(dataDir, 'demo.env')).mode & 0o077).toBe(0)
    expect(readFileSync(join(root, 'examples/demo.genkan.yaml'), 'utf8')).not.toMatch(/secret: (?!\$\{env:)/)
  })
})

describe('the web example', () => {
  it('registers a person, proves the address by mail, asks for consent and shows the ID token’s claims', async () => {
    await web.goto(url(1))
    await web.getByRole('link', { name: 'Sign in' }).click()
    await web.getByRole('button', { name: /create|register/i }).click()
    await web.locator('input[name=email]').fill(EMAIL)
    await web.locator('input[name=password]').fill(PASSWORD)
    await web.locator('input[name=password]').press('Enter')

    await web.locator('input[name=code]').first().waitFor()
    const [, code = ''] = await demo.printed(/Mail to ada@example\.com: .+\n\s+code (\d{6})/)
    await web.locator('input[name=code]').first().fill(code)
    await web.locator('input[name=code]').first().press('Enter')

    await web.locator('button[value=allow]').click()
    await web.waitForURL(`${url(1)}/`)
    const claims = await web.locator('#claims').textContent()
    for (const expected of [url(0), 'demo-web', 'nonce', 'sid']) expect(claims).toContain(expected)
  })

  it('calls userinfo', async () => {
    await web.getByRole('link', { name: 'Call userinfo' }).click()
    const userinfo = JSON.parse(String(await web.locator('#userinfo').textContent()))
    expect(userinfo).toMatchObject({ email: EMAIL, email_verified: true })
    await web.getByRole('link', { name: 'Back' }).click()
  })

  it('refuses an answer that this browser never asked for', async () => {
    const answer = await fetch(`${url(1)}/callback?code=stolen&state=forged`)
    expect(answer.status).toBe(400)
    expect(await answer.text()).toContain('was not started here')
  })

  it('refuses a sign-out sent by another site', async () => {
    const cookie = (await context.cookies(url(1))).find(({ name }) => name === 'demo_web_session')
    const answer = await fetch(`${url(1)}/logout`, {
      method: 'POST',
      headers: { cookie: `demo_web_session=${cookie?.value}`, origin: 'https://evil.example' },
    })
    expect(answer.status).toBe(403)
  })

  it('refuses a logout token that the issuer did not sign', async () => {
    const body = new URLSearchParams({ logout_token: 'e30.e30.e30' })
    const answer = await fetch(`${url(1)}/backchannel-logout`, { method: 'POST', body })
    expect(answer.status).toBe(400)
    expect(answer.headers.get('cache-control')).toBe('no-store')
  })
})

describe('the SPA example', () => {
  it('signs in without a second login', async () => {
    await spa.goto(url(2))
    await spa.locator('#sign-in').click()
    await spa.locator('button[value=allow]').click()
    await spa.waitForURL(`${url(2)}/`)
    const claims = await spa.locator('#claims').textContent()
    for (const expected of [url(0), 'demo-spa', 'sub']) expect(claims).toContain(expected)
  })

  it('renews by rotating refresh tokens, again and again', async () => {
    const seen = new Set([await refreshToken()])
    for (const renewals of ['1', '2', '3']) {
      await spa.locator('#renew').click()
      await spa.locator('#renewals', { hasText: renewals }).waitFor()
      seen.add(await refreshToken())
    }
    expect(seen.size).toBe(4)
  })

  it('calls userinfo with the renewed token', async () => {
    await spa.locator('#call-userinfo').click()
    await spa.locator('#userinfo:not([hidden])').waitFor()
    expect(JSON.parse(String(await spa.locator('#userinfo').textContent()))).toMatchObject({ email: EMAIL })
  })
})

describe('the partner example', () => {
  it('gets tokens by secret and by key; the resource server refuses wrong scope and audience', async () => {
    const { code, stdout } = await runPartner()
    expect(stdout).toContain('All as expected.')
    expect(stdout).toContain('error="insufficient_scope"')
    expect(stdout).toContain('error="invalid_token"')
    expect(code).toBe(0)
  })
})

describe('signing out', () => {
  it('at the SPA ends its tokens, and by the back channel the web example’s session', async () => {
    const token = await refreshToken()
    await spa.locator('#sign-out').click()
    await spa.locator('button[name=logout], button[value=yes]').first().click()
    await spa.waitForURL(`${url(2)}/`)
    await spa.locator('#sign-in').waitFor()

    const form = { grant_type: 'refresh_token', client_id: 'demo-spa', refresh_token: token }
    const answer = await fetch(`${url(0)}/token`, { method: 'POST', body: new URLSearchParams(form) })
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ error: 'invalid_grant' })

    await web.goto(url(1))
    for (let i = 0; i < 40 && (await web.locator('#claims').count()) > 0; i++) {
      await sleep(250)
      await web.reload()
    }
    expect(await web.locator('main').textContent()).toContain('You are not signed in here.')
  })
})

describe('starting again', () => {
  it('keeps accounts and consents; the web example signs out by itself', async () => {
    expect(await demo.interrupt()).toBe(0)
    expect(await portIsFree(base)).toBe(true)
    demo = await startDemo()

    await web.goto(url(1))
    await web.getByRole('link', { name: 'Sign in' }).click()
    await web.locator('input[name=identifier]').fill(EMAIL)
    await web.locator('input[name=identifier]').press('Enter')
    await web.locator('input[name=password]').fill(PASSWORD)
    await web.locator('input[name=password]').press('Enter')
    await web.waitForURL(`${url(1)}/`)

    await web.getByRole('button', { name: 'Sign out' }).click()
    await web.locator('button[name=logout], button[value=yes]').first().click()
    await web.waitForURL(`${url(1)}/`)
    expect(await web.locator('main').textContent()).toContain('You are not signed in here.')
  }, 120_000)
})

function refreshToken(): Promise<string> {
  return spa.evaluate(() => {
    const storage = (globalThis as unknown as { sessionStorage: { [key: string]: string } }).sessionStorage
    const user = Object.entries(storage).find(([key]) => key.startsWith('oidc.user:'))
    return JSON.parse(user?.[1] ?? '{}').refresh_token
  })
}

function runPartner(): Promise<{ code: number; stdout: string }> {
  const env = { PATH: process.env.PATH, DEMO_DATA_DIR: dataDir }
  return new Promise((resolve) => {
    execFile(process.execPath, ['examples/partner/partner.ts'], { cwd: root, env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout: stdout + stderr }),
    )
  })
}
