/**
 * The runner against a small stand-in of the suite, and the profile as it is served: the rules for the suite's browser lead
 * through our real pages in a browser without JavaScript.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import { newProfile } from '../support/chromium.ts'
import { type BrowserOfClients, startBrowserOfClients } from '../support/client_site.ts'
import { entrust, freePorts } from '../support/services.ts'
import type { BrowserCommand, BrowserRule } from './browser_rules.ts'
import { loadCredentials } from './credentials.ts'
import { type FakeSuite, type Played, startFakeSuite } from './fake_suite.ts'
import { createPlans, type PlanConfig } from './plans.ts'
import type { Module } from './suite.ts'

const TOKEN = 'a-token-for-the-suite'
/** Where the suite's clients are. */
const CLIENTS = 'https://suite.test.example'
const READY_MS = 60_000
const dataDir = mkdtempSync(join(tmpdir(), 'genkan-conformance-'))
const root = new URL('../../', import.meta.url).pathname

let suite: FakeSuite
let clients: BrowserOfClients
let served: Awaited<ReturnType<typeof start>>
let issuer: string

/** What each module of the stand-in does. */
const MODULES: { readonly [name: string]: (config: PlanConfig) => Promise<Played> } = {
  'oidcc-server': async (config) => ({ result: (await signsIn(config)) ? 'PASSED' : 'FAILED' }),
  'oidcc-prompt-login': async (config) => ({ result: (await signsIn(config)) ? 'REVIEW' : 'FAILED' }),
  'oidcc-server-rotate-keys': async () => ({ result: 'PASSED', waits: true }),
  'oidcc-discovery-endpoint-verification': async () => ({ result: 'WARNING' }),
  'oidcc-codereuse': async () => ({
    result: 'FAILED',
    log: [
      { src: 'CallTokenEndpoint', msg: 'called it', result: 'SUCCESS' },
      { src: 'CheckReuse', msg: 'the code was taken twice', result: 'FAILURE' },
    ],
  }),
}

const PLANS: { readonly [plan: string]: readonly Module[] } = {
  'oidcc-config-certification-test-plan': [{ testModule: 'oidcc-discovery-endpoint-verification' }],
  'oidcc-basic-certification-test-plan': [
    { testModule: 'oidcc-server', variant: { client_auth_type: 'client_secret_basic' } },
    { testModule: 'oidcc-server-rotate-keys' },
  ],
  'oidcc-hybrid-certification-test-plan': [{ testModule: 'oidcc-codereuse' }, { testModule: 'oidcc-prompt-login' }],
}

beforeAll(async () => {
  suite = await startFakeSuite({
    token: TOKEN,
    modulesOf: (name) => PLANS[name] ?? [],
    play: ({ testModule }, config) => MODULES[testModule]?.(config) ?? Promise.resolve({ result: 'UNKNOWN' }),
  })
  const port = await freePorts(2)
  const front = port + 1
  issuer = `https://localhost:${front}`
  const environment = { CONFORMANCE_ISSUER: issuer, CONFORMANCE_SUITE: CLIENTS, CONFORMANCE_DATA_DIR: dataDir }
  served = await start('serve.ts', { ...environment, PORT: String(port) }, / is ready; /)
  clients = await startBrowserOfClients()
})
afterAll(async () => {
  await clients?.close()
  served?.child.kill('SIGTERM')
  await served?.ended
  await suite?.stop()
  rmSync(dataDir, { recursive: true, force: true })
})

/** Starts a program of this folder and waits for its words, if any. */
async function start(program: string, env: { [name: string]: string }, words?: RegExp, values: string[] = []) {
  const child: ChildProcess = spawn(process.execPath, [join('test/conformance', program), ...values], {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  await entrust(child.pid ?? 0)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (part) => (output += part))
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const until = Date.now() + READY_MS
  while (words !== undefined && !words.test(output)) {
    if (child.exitCode !== null || Date.now() > until) throw new Error(`${program} never said ${words}:\n${output}`)
    await sleep(100)
  }
  return { child, ended, output: () => output }
}

/** `npm run conformance`. */
async function conformance(...plans: string[]) {
  const environment = { CONFORMANCE_ISSUER: issuer, CONFORMANCE_SUITE: suite.url, CONFORMANCE_DATA_DIR: dataDir }
  const run = await start(
    'run.ts',
    { ...environment, CONFORMANCE_TOKEN: TOKEN, CONFORMANCE_POLL_MS: '50' },
    undefined,
    plans,
  )
  return { code: await run.ended, lines: run.output().trim().split('\n') }
}

/** Whether the rules of the plan lead the suite's first client to its callback with a code, by a code request. */
async function signsIn({ browser: rules, client, override }: PlanConfig): Promise<boolean> {
  const profile = await newProfile(clients.browser, { javaScriptEnabled: false })
  try {
    profile.setDefaultTimeout(10_000)
    const page = await profile.newPage()
    const { client_id: clientId } = client as { client_id: string }
    const parameters = { client_id: clientId, response_type: 'code', scope: 'openid email', state: 's', nonce: 'n' }
    const redirect = { redirect_uri: `${CLIENTS}/test/a/genkan/callback` }
    await page.goto(`${issuer}/auth?${new URLSearchParams({ ...parameters, ...redirect })}`)
    expect(override).toHaveProperty('oidcc-prompt-login')
    await follow(page, rules)
    const { pathname, searchParams } = new URL(page.url())
    return pathname === '/test/a/genkan/callback' && searchParams.has('code')
  } finally {
    await profile.close()
  }
}

/** As the suite does: tasks in their order, one that does not fit is passed over when it is optional. */
async function follow(page: Page, [rule]: readonly BrowserRule[]): Promise<void> {
  expect(rule?.match).toBe(`${issuer}/auth*`)
  for (const { match, optional, commands = [], task } of rule?.tasks ?? []) {
    if (!fits(page.url(), match)) {
      if (optional !== true) throw new Error(`${task}: ${page.url()} is not ${match}`)
      continue
    }
    for (const command of commands) await obey(page, command)
  }
}

function fits(url: string, match: string): boolean {
  const pattern = match.split('*').map((part) => part.replace(/[.?+^$()[\]{}|\\]/g, '\\$&'))
  return new RegExp(`^${pattern.join('.*')}$`).test(url)
}

async function obey(page: Page, [action, by, target, ...more]: BrowserCommand): Promise<void> {
  // The site of the clients has nothing to wait for.
  if (action === 'wait') return
  const element = page.locator(by === 'xpath' ? `xpath=${target}` : `[id="${target}"]`).first()
  if ((await element.count()) === 0 && more.includes('optional')) return
  if (action === 'text') return element.fill(String(more[0]))
  // Every button leads to another page.
  await Promise.all([page.waitForEvent('load'), element.click()])
}

describe('npm run conformance', () => {
  it('makes each plan as the suite wants it, runs its modules to their end and prints how they went', async () => {
    const { code, lines } = await conformance('config', 'basic')
    expect(lines).toEqual([
      'config  oidcc-discovery-endpoint-verification  WARNING',
      'basic  oidcc-server (client_secret_basic)  PASSED',
      'basic  oidcc-server-rotate-keys  PASSED',
      '',
      '1 WARNING, 2 PASSED',
    ])
    expect(code).toBe(0)
    expect(suite.plans.map(({ name, variant }) => ({ name, variant }))).toEqual([
      { name: 'oidcc-config-certification-test-plan', variant: {} },
      {
        name: 'oidcc-basic-certification-test-plan',
        variant: { server_metadata: 'discovery', client_registration: 'static_client' },
      },
    ])
    const { config } = suite.plans[1] ?? {}
    expect(config).toMatchObject({
      alias: 'genkan',
      server: { discoveryUrl: `${issuer}/.well-known/openid-configuration` },
      client: { client_id: 'oidc-first', client_secret: expect.stringMatching(/^.{32,}$/) },
      client2: { client_id: 'oidc-second' },
      client_secret_post: { client_id: 'oidc-post' },
    })
  })

  it('shows the failures of a module, and ends with 1', async () => {
    const { code, lines } = await conformance('hybrid')
    expect(lines).toEqual([
      'hybrid  oidcc-codereuse  FAILED',
      '    CheckReuse: the code was taken twice',
      'hybrid  oidcc-prompt-login  REVIEW',
      '',
      '1 FAILED, 1 REVIEW',
    ])
    expect(code).toBe(1)
  })

  it('names the plans when one is unknown', async () => {
    const { code, lines } = await conformance('bassic')
    expect(code).toBe(2)
    expect(lines.join()).toMatch(/no plan bassic; there are config, basic, implicit, hybrid, .*fapi2-signing/)
  })
})

describe('genkan serve --config test/conformance/genkan.yaml', () => {
  it('has every client of the plans, with what it is set up for', async () => {
    const metadata = JSON.parse(await text(`${issuer}/.well-known/openid-configuration`))
    expect(metadata.issuer).toBe(issuer)
    expect(metadata.response_types_supported).toContain('code id_token token')
    expect(metadata.token_endpoint_auth_methods_supported).toContain('tls_client_auth')
    const plans = suite.plans.map(({ config }) => (config.client as { client_id: string }).client_id)
    for (const clientId of new Set([
      ...plans,
      'fapi-dpop-first',
      'fapi-certified-mtls-second',
      'fapi-signing-second',
      'ciba-poll-first',
      'ciba-certified-ping-second',
    ])) {
      const parameters = { client_id: clientId, response_type: 'code', scope: 'openid' }
      const page = await text(`${issuer}/auth?${new URLSearchParams(parameters)}`)
      // Told apart from a client that there is not.
      expect(page).not.toContain('invalid_client')
    }
    expect(await text(`${issuer}/auth?client_id=nobody&response_type=code&scope=openid`)).toContain('invalid_client')
  })

  it('answers for people where the plans say, and declares every client that they name', async () => {
    const [account, credentials] = [{ email: 'a@example.com', password: 'x' }, loadCredentials(dataDir)]
    const plans = createPlans({ issuer, credentials, account }).filter(({ id }) => id.startsWith('ciba-'))
    expect(plans.map(({ id }) => id)).toEqual([
      'ciba-poll-private-key',
      'ciba-poll-mtls',
      'ciba-ping-private-key',
      'ciba-ping-mtls',
    ])
    const profile = readFileSync(join(root, 'test/conformance/genkan.yaml'), 'utf8')
    for (const { config } of plans) {
      for (const client of [config.client, config.client2] as { client_id: string; hint_value: string }[]) {
        expect(profile).toContain(`client_id: ${client.client_id}\n`)
        expect(client.hint_value).toBe(account.email)
      }
      const url = String(config.automated_ciba_approval_url).replace('{auth_req_id}', 'unknown')
      expect(await text(url.replace('{action}', 'allow'))).toContain('not_found')
      expect(await text(url.replace('{action}', 'perhaps'))).toContain('invalid_request')
    }
  })
})

async function text(url: string): Promise<string> {
  const profile = await newProfile(clients.browser)
  try {
    return await (await profile.request.get(url, { maxRedirects: 0 })).text()
  } finally {
    await profile.close()
  }
}
