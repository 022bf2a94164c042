/** Stores that go away and come back (F01, F02, F03, F14, F15): nothing fails open, nothing is lost, nobody restarts anything. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import * as oidc from 'openid-client'
import { type Browser, createBrowser } from '../support/browser.ts'
import {
  API,
  authorization,
  discover,
  PASSWORD,
  redeem,
  register,
  SECRET,
  SETTINGS,
  SPA,
  signIn,
} from '../support/journeys.ts'
import { mailFolder } from '../support/mailbox.ts'
import { type Server, startServer } from '../support/server.ts'
import {
  type BreakableServer,
  freshDatabaseUrl,
  startBreakable,
  startPostgres,
  startRedis,
} from '../support/services.ts'

const health = async (server: Server, path: string) => {
  const answer = await fetch(`${server.managementOrigin}${path}`)
  return { status: answer.status, body: (await answer.json()) as { missing?: string[] } }
}

async function until(what: () => Promise<boolean>, milliseconds = 10_000): Promise<void> {
  const end = Date.now() + milliseconds
  while (!(await what().catch(() => false))) {
    if (Date.now() > end) throw new Error(`not within ${milliseconds} ms`)
    await sleep(100)
  }
}

const ready = (server: Server) => until(async () => (await health(server, '/readyz')).status === 200)
const notReady = (server: Server) => until(async () => (await health(server, '/readyz')).status === 503)

/** A person with a session and a browser app's refresh token. */
async function signedIn(
  server: Server,
  email: string,
): Promise<{ browser: Browser; refreshToken: string; sub: string }> {
  const browser = createBrowser({ stopAt: [SPA] })
  const spa = await discover(server.issuer, 'spa')
  const request = await authorization(spa, `${SPA}/callback`)
  const end = await register(browser, await browser.get(request.url), mailFolder(server.dataDir), email)
  const tokens = await redeem(spa, request, end)
  return { browser, refreshToken: tokens.refresh_token ?? '', sub: tokens.claims()?.sub ?? '' }
}

const basic = `Basic ${Buffer.from(`machine:${SECRET}`).toString('base64')}`
const token = (server: Server, body: Record<string, string>, headers: Record<string, string> = {}) =>
  fetch(`${server.origin}/token`, { method: 'POST', headers, body: new URLSearchParams(body) })

describe('Redis', () => {
  let server: Server
  let redis: BreakableServer
  beforeAll(async () => {
    redis = await startBreakable('redis')
    server = await startServer({
      settings: SETTINGS,
      stores: { databaseUrl: await freshDatabaseUrl(), redisUrl: redis.url },
    })
  })
  afterAll(async () => {
    await server.close()
    await redis.stop()
  })

  it('F02: killed and back: 503 with Retry-After meanwhile, JWTs and documents go on, people sign in again at the most', async () => {
    const person = await signedIn(server, 'f02@example.com')
    await redis.kill()
    await notReady(server)
    expect((await health(server, '/livez')).status).toBe(200)
    expect((await health(server, '/readyz')).body.missing).toEqual(['redis'])

    const spa = await discover(server.issuer, 'spa')
    const request = await authorization(spa, `${SPA}/callback`)
    const page = await createBrowser({ stopAt: [SPA] }).get(request.url)
    if (page.status === 0) expect(page.params.get('error')).toBe('temporarily_unavailable')
    else expect([page.status, page.headers['retry-after']]).toEqual([503, expect.any(String)])
    const refused = await token(
      server,
      { grant_type: 'refresh_token', client_id: 'spa', refresh_token: person.refreshToken },
      { origin: SPA },
    )
    expect(refused.status).toBe(503)
    expect(refused.headers.get('access-control-allow-origin')).toBe(SPA)
    expect(await refused.json()).toMatchObject({ error: 'temporarily_unavailable' })

    const machine = await token(server, { grant_type: 'client_credentials', resource: API }, { authorization: basic })
    expect(machine.status).toBe(200)
    for (const path of ['/.well-known/openid-configuration', '/jwks']) {
      expect((await fetch(server.origin + path)).status).toBe(200)
    }

    await redis.start()
    await ready(server)
    // The account is in PostgreSQL; the session is as old as the last thing Redis has on disk.
    const again = await authorization(spa, `${SPA}/callback`, { prompt: 'none' })
    const { params } = await person.browser.get(again.url)
    expect(params.has('code') || params.get('error') === 'login_required').toBe(true)
    const anew = await authorization(spa, `${SPA}/callback`, { prompt: 'login', login_hint: 'f02@example.com' })
    const end = await signIn(person.browser, await person.browser.get(anew.url), 'f02@example.com')
    expect((await redeem(spa, anew, end)).claims()?.sub).toBe(person.sub)
  })

  it('F02: what goes on without Redis goes on under limits of this process, a quarter of the usual, never none', async () => {
    const { browser } = await signedIn(server, 'f02-limits@example.com')
    const page = await browser.get(`${server.issuer}/account/password`)
    const tryOnce = async (current: string) => {
      const values = { current, password: 'nine quiet geese 33' }
      return (await browser.submit(page, values, { form: '/account/password' })).status
    }
    await redis.kill()
    await notReady(server)
    try {
      const statuses: number[] = []
      for (let i = 0; i < 4; i++) statuses.push(await tryOnce('not the right one 12'))
      expect(statuses).toEqual([400, 400, 429, 429])
      // The right one is held like any other.
      expect(await tryOnce(PASSWORD)).toBe(429)
    } finally {
      await redis.start()
      await ready(server)
    }
    expect(await tryOnce('not the right one 12')).toBe(400)
  })

  it('F03: hung: no request waits longer than 5 s, and all of them hear 503', async () => {
    const browser = createBrowser({ stopAt: [SPA] })
    const page = await browser.get((await authorization(await discover(server.issuer, 'spa'), `${SPA}/callback`)).url)
    await redis.pause()
    const started = Date.now()
    const [answer, shown, sent] = await Promise.all([
      token(server, { grant_type: 'refresh_token', client_id: 'spa', refresh_token: 'x'.repeat(43) }),
      browser.get(page.url),
      browser.submit(page, { identifier: 'f03@example.com' }, { form: '/identifier' }),
    ])
    expect(answer.status).toBe(503)
    for (const { status, headers } of [shown, sent])
      expect([status, headers['retry-after']]).toEqual([503, expect.any(String)])
    expect(Date.now() - started).toBeLessThan(5000)
    await redis.resume()
    await ready(server)
    expect((await browser.submit(page, { identifier: 'f03@example.com' }, { form: '/identifier' })).status).toBe(200)
  })
})

describe('PostgreSQL', () => {
  it('F14, F15: away at start and again in mid-run: comes up by itself, sessions refresh meanwhile, nothing is half-made', async () => {
    const postgres = await startBreakable('postgres')
    await postgres.stop()
    const redisUrl = (await startRedis()).url
    const server = await startServer({
      settings: SETTINGS,
      stores: { databaseUrl: postgres.url, redisUrl },
      wait: false,
    })
    try {
      await until(async () => (await health(server, '/livez')).status === 200)
      expect((await health(server, '/readyz')).status).toBe(503)
      await postgres.start()
      await server.ready()
      const person = await signedIn(server, 'f15@example.com')

      await postgres.kill()
      await notReady(server)
      expect((await health(server, '/livez')).status).toBe(200)
      // Refresh needs no SQL: browser apps stay signed in.
      const spa = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: person.refreshToken }
      expect((await token(server, spa)).status).toBe(200)
      const page = await createBrowser().get(`${server.issuer}/account`)
      expect([200, 503]).toContain(page.status)

      await postgres.start()
      await ready(server)
      const config = await discover(server.issuer, 'spa')
      const request = await authorization(config, `${SPA}/callback`, { prompt: 'none' })
      const tokens = await redeem(config, request, await person.browser.get(request.url))
      expect(tokens.claims()?.sub).toBe(person.sub)
      expect(await oidc.fetchUserInfo(config, tokens.access_token, person.sub)).toMatchObject({ sub: person.sub })
    } finally {
      await server.close()
      await postgres.stop()
    }
  })

  it('F23: three instances on an empty database: one migrates, all become ready, one set of keys', async () => {
    const { createDatabase } = await startPostgres()
    const stores = { databaseUrl: await createDatabase(), redisUrl: (await startRedis()).url }
    const servers = await Promise.all([1, 2, 3].map(() => startServer({ settings: SETTINGS, stores })))
    const sets = await Promise.all(servers.map(async ({ origin }) => (await fetch(`${origin}/jwks`)).text()))
    expect(new Set(sets).size).toBe(1)
    await Promise.all(servers.map((server) => server.close()))
  })
})

describe('the embedded database', () => {
  it('kill -9 loses nothing that was acknowledged, and keeps keys, sessions and grants', async () => {
    const server = await startServer({ settings: SETTINGS, process: 'own' })
    try {
      const person = await signedIn(server, 'killed@example.com')
      const keys = await (await fetch(`${server.origin}/jwks`)).text()
      await server.kill()
      await server.restart()
      expect(await (await fetch(`${server.origin}/jwks`)).text()).toBe(keys)
      const spa = await discover(server.issuer, 'spa')
      const request = await authorization(spa, `${SPA}/callback`, { prompt: 'none' })
      const tokens = await redeem(spa, request, await person.browser.get(request.url))
      expect(tokens.claims()?.sub).toBe(person.sub)
      const renewed = await oidc.refreshTokenGrant(spa, person.refreshToken)
      expect(renewed.refresh_token).toBeDefined()
    } finally {
      await server.close()
    }
  })
})
