/** F38 to F41: mail servers, providers, clients that hear of logouts, and lists that are asked. */
import { createServer, type Server as HttpServer, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FakeUpstream, Fault as UpstreamFault } from '../../support/fake_upstream.ts'
import { PASSWORD, SECRET, SETTINGS } from '../../support/journeys.ts'
import { codeFrom } from '../../support/mailbox.ts'
import { authorizationRequest, redirectUri } from '../../support/people.ts'
import { freePort } from '../../support/services.ts'
import { PROVIDER, startProvider, travelTo } from '../../support/upstreams.ts'
import * as acts from '../acts.ts'
import type { Case, Stage } from '../case.ts'
import { until } from '../world.ts'
import { attempt, freshCode, reason } from './attempt.ts'

/** F38: whatever the mail server does, the page is the same at once, and the mail comes later, once. */
async function mailAway(stage: Stage, how: string, begin: () => void, end: () => void): Promise<void> {
  const { world } = stage
  const check = (ok: boolean, otherwise: string) => stage.check(ok, `${how}: ${otherwise}`)
  const [email, browser] = [acts.newEmail('mail'), world.person()]
  begin()
  const { url } = authorizationRequest(world.issuer, 'spa', { prompt: 'create', scope: 'openid email' })
  const page = await acts.open(browser, url)
  const began = Date.now()
  const sent = await acts.step(browser, page, '/register', { email, password: PASSWORD })
  check(Date.now() - began < 1500, `the page took ${Date.now() - began} ms`)
  check(sent.status === 200, `the page is ${sent.status}`)
  await sleep(stage.lasting(30_000, 1500))
  end()
  const came = await attempt(world.mailbox.to(email, { milliseconds: 45_000 }))
  if (came.value === undefined) return check(false, `the mail did not come: ${came.error?.split('\n')[0]}`)
  const verified = await acts.step(browser, sent, '/verify_email', { code: codeFrom(came.value) })
  check(verified.params.has('code'), `the code of a late mail: ${verified.status} ${verified.text.slice(0, 120)}`)
  const mails = (await world.mailbox.all()).filter(({ to }) => to.includes(email))
  const ids = new Set(mails.map(({ headers }) => headers['message-id']))
  check(ids.size === mails.length, 'a mail came twice')
}

async function mailServers(stage: Stage): Promise<void> {
  const { world } = stage
  const smtp = (kind: 'reset' | 'none' | 'blackhole') => () => world.all('smtp', (proxy) => proxy.set({ kind }))
  await mailAway(stage, 'down', smtp('reset'), smtp('none'))
  await mailAway(
    stage,
    'answers 451',
    () => world.mailbox.refuse(true),
    () => world.mailbox.refuse(false),
  )
  const hang = () => world.all('smtp', (proxy) => proxy.set({ kind: 'lose_answer', pattern: /^DATA/m }))
  await mailAway(stage, 'hangs after DATA', hang, smtp('none'))
}

let fake: FakeUpstream | undefined

const withProvider = async (issuer: string) => {
  const provider = await startProvider(issuer)
  fake = provider.fake
  return {
    settings: {
      ...SETTINGS,
      outbound_private_networks: ['127.0.0.0/8'],
      upstreams: [{ name: PROVIDER, title: 'Acme', ...provider.connection, trusted_domains: ['acme.example'] }],
    },
    stop: () => provider.fake.stop(),
  }
}

const FAULTS: readonly (readonly [what: string, at: UpstreamFault])[] = [
  ['slow', { delayMs: 8000 }],
  ['answers 500', { status: 500, body: 'no' }],
  ['answers garbage', { status: 200, body: '<html>' }],
]

/** F39: a provider that fails is said so within five seconds, with the other ways; nobody else waits. */
async function provider(stage: Stage): Promise<void> {
  const { world, check } = stage
  const idp = fake
  if (idp === undefined) throw new Error('no provider')
  const travel = travelTo(idp, world.issuer)
  const person = () => world.person({ stopAt: ['https://', idp.issuer] })
  const { url } = authorizationRequest(world.issuer, 'spa', { scope: 'openid email' })
  const claims = { email: 'vera@acme.example', email_verified: true, name: 'Vera' }
  const comes = async () => {
    const browser = person()
    return travel.through(browser, await browser.get(url))
  }
  await idp.tell({ account: 'vera', claims })
  check((await comes()).status < 500, 'the provider does not work when nothing is broken')
  for (const [what, at] of FAULTS) {
    for (const path of ['/token', '/jwks'] as const) {
      await idp.tell({ reset: true, automatic: 'continue', account: 'vera', claims, faults: { [path]: at } })
      const browser = person()
      const away = await travel.leave(browser, await browser.get(url))
      const began = Date.now()
      const page = away.url.startsWith(idp.issuer) ? await travel.comeBack(browser, away) : away
      const took = Date.now() - began
      check(took < 6000, `${what} at ${path}: ${took} ms`)
      check(page.status !== 500, `${what} at ${path}: a 500`)
      const others =
        page.status === 0 || page.forms.some(({ action }) => /identifier|switch|password|upstream_account/.test(action))
      check(others, `${what} at ${path}: no other way: ${page.status} ${page.url} ${page.text.slice(0, 150)}`)
      const began2 = Date.now()
      const other = await attempt(freshCode(stage))
      check(other.value !== undefined && Date.now() - began2 < 3000, `${what}: another sign-in: ${reason(other)}`)
    }
  }
  await idp.tell({ reset: true, automatic: 'continue', account: 'vera', claims, rotate: true })
  // Nobody waits for a breaker in a test: its pause is by the clock.
  for (const { server } of world.instances) await server.shiftDate(30)
  stage.later(async () => {
    for (const { server } of world.instances) await server.shiftDate(0)
  })
  const page = await comes()
  check(page.status === 0 || page.status === 200, `with new keys: ${page.status} ${page.text.slice(0, 150)}`)
}

/** Where a client hears of logouts, and what it makes of them. */
const sink = { how: 'well' as 'well' | 'slow' | 'hangs' | 'floods', heard: [] as string[], bytes: 0 }

/** More than the buffers of a connection hold. */
const FLOOD_BYTES = 40_000_000

function answerLogout(response: ServerResponse): void {
  if (sink.how === 'hangs') return
  if (sink.how === 'slow') return void setTimeout(() => response.end(), 4000)
  if (sink.how === 'well') return void response.end()
  const block = Buffer.alloc(64 * 1024, 1)
  response.writeHead(500)
  const more = () => {
    while (sink.bytes < FLOOD_BYTES && !response.destroyed) {
      sink.bytes += block.length
      if (!response.write(block)) return void response.once('drain', more)
    }
    response.end()
  }
  more()
}

const withSink = async () => {
  const port = await freePort()
  const server: HttpServer = createServer(async (request, response) => {
    let body = ''
    for await (const part of request) body += String(part)
    const token = new URLSearchParams(body).get('logout_token') ?? ''
    const { jti } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString() || '{}') as {
      jti?: string
    }
    if (sink.how === 'well') sink.heard.push(jti ?? '')
    answerLogout(response)
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const client = {
    ...{ client_id: 'hearing', client_secret: SECRET, first_party: true, redirect_uris: [redirectUri('hearing')] },
    ...{ scope: 'openid email', backchannel_logout_uri: `http://127.0.0.1:${port}/` },
  }
  return {
    settings: { ...SETTINGS, clients: [...SETTINGS.clients, client] },
    stop: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** F40: a client that does not listen keeps nobody waiting, and hears of it later. */
async function webhooks(stage: Stage): Promise<void> {
  const { world, check } = stage
  for (const how of ['slow', 'hangs', 'floods'] as const) {
    sink.how = how
    sink.bytes = 0
    const { account } = await acts.register(world, 'hearing', acts.newEmail('hook'))
    const before = sink.heard.length
    const page = await account.browser.get(`${world.issuer}/account`)
    const began = Date.now()
    const form = page.forms.findIndex(({ action }) => action.endsWith('/account/sign-out'))
    check(form >= 0, `${how}: no way to sign out: ${page.status} ${page.url}`)
    if (form >= 0) await account.browser.submit(page, {}, { form })
    const signedIn = await attempt(freshCode(stage))
    check(signedIn.value !== undefined, `${how}: a sign-in: ${reason(signedIn)}`)
    check(Date.now() - began < 4000, `${how}: signing out and in took ${Date.now() - began} ms`)
    await sleep(stage.lasting(15_000, 6500))
    check(sink.bytes < FLOOD_BYTES, `${how}: ${sink.bytes} bytes were read`)
    sink.how = 'well'
    const heard = await until(() => sink.heard.length > before, 40_000, 'heard').catch(() => undefined)
    check(heard !== undefined, `${how}: the client never heard of the logout`)
  }
}

const list = { how: 'well' as 'well' | 'hangs' | 'fails' }

const withList = async () => {
  const port = await freePort()
  const server = createServer((_, response) => {
    if (list.how === 'hangs') return
    response.statusCode = list.how === 'fails' ? 500 : 200
    response.end('')
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    settings: {
      ...SETTINGS,
      outbound_private_networks: ['127.0.0.0/8'],
      passwords: { breached_api: `http://127.0.0.1:${port}/range/` },
    },
    stop: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** F41: the list of breached passwords is away: registration goes on, and the dictionary is still asked. */
async function lists(stage: Stage): Promise<void> {
  const { world, check } = stage
  for (const how of ['hangs', 'fails'] as const) {
    list.how = how
    const began = Date.now()
    const { value, error } = await attempt(acts.register(world, 'spa', acts.newEmail('list')))
    check(value !== undefined, `${how}: a registration: ${error}`)
    check(Date.now() - began < 5000, `${how}: a registration took ${Date.now() - began} ms`)
    const browser = world.person()
    const { url } = authorizationRequest(world.issuer, 'spa', { prompt: 'create', scope: 'openid email' })
    const weak = { email: acts.newEmail('weak'), password: 'password123456789' }
    const refused = await acts.step(browser, await acts.open(browser, url), '/register', weak)
    check(refused.status === 400, `${how}: a password of the dictionary was answered ${refused.status}`)
  }
}

export const NEIGHBOURS: readonly Case[] = [
  {
    ...{ id: 'F38', title: 'mail server down, refusing, hanging', repeats: true },
    inject: mailServers,
    async heal({ world }) {
      world.mailbox.refuse(false)
      world.all('smtp', (proxy) => proxy.set({ kind: 'none' }))
    },
  },
  {
    ...{ id: 'F39', title: 'a provider slow, failing, talking nonsense, with new keys' },
    world: { neighbours: withProvider },
    inject: provider,
    heal: async () => void (await fake?.tell({ faults: {} })),
  },
  {
    ...{ id: 'F40', title: 'a client that does not hear of logouts' },
    world: { neighbours: withSink },
    inject: webhooks,
    async heal() {
      sink.how = 'well'
    },
  },
  {
    ...{ id: 'F41', title: 'the list of breached passwords away' },
    world: { neighbours: withList },
    inject: lists,
    async heal() {
      list.how = 'well'
    },
  },
]
