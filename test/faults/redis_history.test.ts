/**
 * Redis that has lost its last writes (F10: a replica that lags takes over, or a restart with what was on the disk) or everything
 * (F11): what was consumed, ended or revoked in what was lost stays so, and people sign in again at the most.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Redis } from 'ioredis'
import { createRedisOidcStore } from '../../src/oidc/adapter/redis_store.ts'
import { hashId, textOf } from '../../src/oidc/adapter/store.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createRedisKeyValue } from '../../src/platform/key_value_redis.ts'
import { createRedisOnce } from '../../src/platform/once.ts'
import type { Browser, Page } from '../support/browser.ts'
import { assertionClaims, createKey } from '../support/client_keys.ts'
import { API, choose, SETTINGS } from '../support/journeys.ts'
import { codeFrom } from '../support/mailbox.ts'
import { readyRedis } from '../support/one_redis.ts'
import { authorizationRequest, clientBrowser, newPerson, OFFLINE, type Person } from '../support/people.ts'
import { copyRedis } from '../support/redis_copies.ts'
import { clockOf, firstFactor, type Protected, signUpWithApp } from '../support/second_factors.ts'
import { type BreakableServer, freshDatabaseUrl, startBreakable } from '../support/services.ts'
import { startTarget, type Target } from '../support/target.ts'
import { basic, type ClientRequests, type Code, clientRequests, postForm, tokensOf } from '../support/token_requests.ts'

const key = createKey('k1')
const KEYED = {
  ...{ client_id: 'keyed', token_endpoint_auth_method: 'private_key_jwt', grant_types: ['client_credentials'] },
  ...{ jwks: { keys: [{ ...key.jwk, alg: 'ES256' }] }, scope: 'orders:read', resources: [API] },
}
const INVALID_GRANT = { status: 400, body: { error: 'invalid_grant' } }
const MARGIN = 15

let redis: BreakableServer
let target: Target
let client: ClientRequests
let ann: Person
let bob: Person
let ahead = 0

beforeAll(async () => {
  redis = await startBreakable('redis')
  target = await startTarget({
    settings: { ...SETTINGS, clients: [...SETTINGS.clients, KEYED] },
    stores: { databaseUrl: await freshDatabaseUrl(), redisUrl: redis.url },
  })
  client = clientRequests(target.issuer)
  ann = await newPerson(target.issuer, target.mailbox, 'ann@example.com')
  bob = await newPerson(target.issuer, target.mailbox, 'bob@example.com')
}, 60_000)
afterAll(async () => {
  await target?.close()
  await redis?.stop()
})

const assertion = () => {
  const claims = assertionClaims(target.issuer, 'keyed')
  const later = (name: string) => Number(claims[name]) + ahead
  return key.sign({ ...claims, iat: later('iat'), nbf: later('nbf'), exp: later('exp') })
}
const show = (client_assertion: string) =>
  postForm(`${target.issuer}/token`, {
    ...{ grant_type: 'client_credentials', resource: API, client_id: 'keyed', client_assertion },
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  })

async function connected(): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if ((await fetch(`${target.server.managementOrigin}/readyz`)).status === 200) return
    await sleep(50)
  }
  throw new Error('not ready')
}

async function push(): Promise<string> {
  const { url } = authorizationRequest(target.issuer, 'own')
  const { body } = await postForm(
    `${target.issuer}/request`,
    Object.fromEntries(new URL(url).searchParams),
    basic('own'),
  )
  return `${target.issuer}/auth?${new URLSearchParams({ client_id: 'own', request_uri: String(body.request_uri) })}`
}
const mayChoose = ({ forms }: Page) => forms.some(({ action }) => action.endsWith('/new_password'))
const openedIn = async (person: Person, url: string) => (await person.browser.get(url)).params.has('code')

async function endOthers({ browser }: Person): Promise<void> {
  const others = await browser.get(`${target.issuer}/account/sessions/others`)
  await browser.submit(others, {}, { form: '/account/sessions/others' })
}

/** Whether the account's pages are shown, and not the way to sign in. */
async function seesAccount({ browser }: Person): Promise<boolean> {
  return new URL((await browser.get(`${target.issuer}/account/sessions`)).url).pathname === '/account/sessions'
}

describe('a Redis that comes back without its last writes (F10)', () => {
  let used: Code
  let unused: Code
  let pushed: readonly [used: string, unused: string]
  let shown: string
  let family: { readonly first: string; readonly second: string; readonly third: string }
  let granted: { readonly access: string; readonly refresh: string }
  let revokedToken: string
  let keptToken: string
  let person: Protected
  let appCode: string
  let elsewhere: Person
  let forgetful: Browser
  let asked: Page
  let mailCode: string

  beforeAll(async () => {
    const clock = clockOf(target)
    person = await signUpWithApp(target, clock, 'carol@example.com')
    ahead = Math.round((clock.now().getTime() - Date.now()) / 1000)
    used = await ann.code('own')
    unused = await ann.code('own')
    pushed = [await push(), await push()]
    const first = (await ann.tokens('own', OFFLINE)).refresh
    granted = await ann.tokens('web', OFFLINE)
    revokedToken = (await ann.tokens('other')).access
    keptToken = (await ann.tokens('other')).access
    shown = assertion()
    appCode = person.app.code(clock.now())
    elsewhere = await bob.elsewhere()
    forgetful = target.person()
    const recover = await choose(forgetful, await target.open(forgetful, { login_hint: ann.email }), 'recover')
    asked = await forgetful.submit(recover, { identifier: ann.email }, { form: '/recover' })
    await target.settled()
    mailCode = codeFrom(await target.mailbox.to(ann.email, { count: 2 }))
    const copy = await copyRedis(redis)

    // Each of these is good, once.
    expect((await client.redeem(used)).status).toBe(200)
    expect(await openedIn(ann, pushed[0])).toBe(true)
    expect((await show(shown)).status).toBe(200)
    const second = tokensOf(await client.refresh('own', first)).refresh
    family = { first, second, third: tokensOf(await client.refresh('own', second)).refresh }
    expect((await client.revoke('web', granted.refresh)).status).toBe(200)
    expect((await client.revoke('other', revokedToken)).status).toBe(200)
    const { browser, page } = await firstFactor(target, person)
    expect((await browser.submit(page, { code: appCode }, { form: '/totp' })).params.has('code')).toBe(true)
    expect(mayChoose(await forgetful.submit(asked, { code: mailCode }, { form: '/recover_code' }))).toBe(true)
    await endOthers(bob)
    expect([await bob.signedIn(), await elsewhere.signedIn()]).toEqual([true, false])

    // Facts repeat what they say to the store: that is done before the store forgets it.
    await target.settled()
    await copy.comeBack()
    await connected()
  }, 90_000)

  it('refuses codes from before, used or not', async () => {
    expect(await client.redeem(used)).toMatchObject(INVALID_GRANT)
    expect(await client.redeem(unused)).toMatchObject(INVALID_GRANT)
    expect((await client.redeem(await ann.code('own'))).status).toBe(200)
  })

  it('refuses pushed requests from before, used or not', async () => {
    for (const url of pushed) expect(await openedIn(ann, url)).toBe(false)
    expect(await openedIn(ann, await push())).toBe(true)
  })

  it('takes no assertion from before or from shortly after, says to come again, and takes the next', async () => {
    const replayed = await show(shown)
    expect([replayed.status, replayed.body.error]).toEqual([503, 'temporarily_unavailable'])
    expect((await show(assertion())).status).toBe(503)
    ahead += MARGIN + 2
    await target.server.shiftDate(ahead)
    expect((await show(shown)).status).toBe(503)
    const next = assertion()
    expect((await show(next)).status).toBe(200)
    expect(await show(next)).toMatchObject({ status: 401, body: { error: 'invalid_client' } })
  })

  it('leads a refresh token that was rotated in the gap to the same successor, and never to two families', async () => {
    expect(await client.refresh('own', family.third)).toMatchObject(INVALID_GRANT)
    const again = tokensOf(await client.refresh('own', family.first))
    expect(again.refresh).toBe(family.second)
    const onward = tokensOf(await client.refresh('own', again.refresh))
    expect(onward.refresh).toBe(family.third)
    // What was derived is rotated: shown again after its successor was used, it ends the one family there is.
    expect(await client.refresh('own', family.first)).toMatchObject(INVALID_GRANT)
    expect(await client.refresh('own', family.third)).toMatchObject(INVALID_GRANT)
  })

  it('keeps ended sessions ended, and the others', async () => {
    expect(await elsewhere.signedIn()).toBe(false)
    expect([await bob.signedIn(), await ann.signedIn()]).toEqual([true, true])
  })

  it('keeps revoked grants and tokens revoked, and the others', async () => {
    expect(await client.refresh('web', granted.refresh)).toMatchObject(INVALID_GRANT)
    expect((await client.userinfo(granted.access)).status).toBe(401)
    expect((await client.introspect('other', revokedToken)).body).toEqual({ active: false })
    expect((await client.introspect('other', keptToken)).body).toMatchObject({ active: true })
  })

  it('takes no code of a mail a second time: what it was kept with is of another history', async () => {
    expect(mayChoose(await forgetful.submit(asked, { code: mailCode }, { form: '/recover_code' }))).toBe(false)
  })

  it('takes no code of an app a second time: their steps are in SQL', async () => {
    const { browser, page } = await firstFactor(target, person)
    expect((await browser.submit(page, { code: appCode }, { form: '/totp' })).params.has('code')).toBe(false)
  })
})

describe('a session that a master has, of several, while another lost where it is', () => {
  let direct: Redis
  beforeAll(async () => {
    direct = await readyRedis(redis.url)
  })
  afterAll(() => direct.disconnect())

  /** Loses where the youngest session is. */
  const losses = {
    'that it is': async (pointer: string) => void (await direct.del(pointer)),
    'that it was moved': async (pointer: string) => void (await direct.set(pointer, 'of-nobody', 'KEEPTTL')),
    'that it was moved, with its old place': async (pointer: string) => {
      const record = String(await direct.get(`oidc:Session:${await direct.get(pointer)}`))
      const old = { ...JSON.parse(record.slice(record.indexOf('|') + 1)), authorizations: {}, revision: 'old' }
      await direct.set('oidc:Session:old', `0.0123456789ab|${textOf(old)}`)
      await direct.set(pointer, 'old', 'KEEPTTL')
    },
  }
  const names = Object.keys(losses) as (keyof typeof losses)[]
  async function lose(name: keyof typeof losses): Promise<void> {
    const [{ uid }] = (await target.sql<{ uid: string }>(
      'select uid from sessions order by created_at desc limit 1',
    )) as [{ uid: string }]
    await losses[name](`oidc:uid:${hashId(uid)}`)
  }

  it.each(names)('%s: it is found by its codes and its end', async (name) => {
    const person = await bob.elsewhere()
    await lose(name)
    expect((await client.redeem(await person.code('own'))).status).toBe(200)
    expect(await seesAccount(person)).toBe(true)
    await endOthers(bob)
    expect([await person.signedIn(), await bob.signedIn()]).toEqual([false, true])
  })

  it.each(names)('%s: it moves on', async (name) => {
    const person = await bob.elsewhere()
    await lose(name)
    const { refresh } = await person.tokens('own', OFFLINE)
    expect((await client.refresh('own', refresh)).status).toBe(200)
    expect((await client.redeem(await person.code('own'))).status).toBe(200)
    await endOthers(bob)
    expect(await person.signedIn()).toBe(false)
  })

  it.each(names)('%s: it does not outlive an end that could not find it', async (name) => {
    for (const moves of [false, true]) {
      const person = await bob.elsewhere()
      await lose(name)
      await endOthers(bob)
      expect(await seesAccount(person)).toBe(false)
      const late = await person.code('own', moves ? OFFLINE : { prompt: 'none' }).catch(() => undefined)
      if (late !== undefined) expect(await client.redeem(late)).toMatchObject(INVALID_GRANT)
      expect(await person.signedIn()).toBe(false)
    }
  })
})

describe('an emptied Redis (F11)', () => {
  it('asks people to sign in again at the most; what was used or revoked stays so', async () => {
    const person = await (await newPerson(target.issuer, target.mailbox, 'dora@example.com')).elsewhere()
    const tokens = await person.tokens('own', OFFLINE)
    const code = await person.code('own')
    expect((await client.redeem(code)).status).toBe(200)
    const shown = assertion()
    expect((await show(shown)).status).toBe(200)
    const failed = async () =>
      Number((await target.sql<{ n: string }>('select sum(failures) as n from password_failures'))[0]?.n)
    const wrong = clientBrowser()
    const typed = await wrong.get(authorizationRequest(target.issuer, 'own', { login_hint: person.email }).url)
    await wrong.submit(typed, { password: 'not the right one 12' }, { form: '/password' })
    const failures = await failed()
    expect(failures).toBeGreaterThan(0)

    const direct = await readyRedis(redis.url)
    await direct.flushall()
    direct.disconnect()

    expect(await failed()).toBe(failures)
    expect(await client.redeem(code)).toMatchObject(INVALID_GRANT)
    expect((await show(shown)).status).toBe(503)
    expect(await client.refresh('own', tokens.refresh)).toMatchObject(INVALID_GRANT)
    expect(await person.signedIn()).toBe(false)
    const again = await person.elsewhere()
    expect(await again.signedIn()).toBe(true)
    ahead += MARGIN + 2
    await target.server.shiftDate(ahead)
    expect((await show(shown)).status).toBe(503)
    expect((await show(assertion())).status).toBe(200)
  })
})

describe('records of another history', () => {
  it('are as good as gone where they are used once or are copies; counters and what SQL can vouch for stay', async () => {
    const server = await startBreakable('redis')
    let direct = await readyRedis(server.url)
    const kv = createRedisKeyValue(direct)
    const store = createRedisOidcStore(direct)
    const limit = { key: 'limit', limit: 5, windowSeconds: 60 }
    await kv.set('code', '123456', 60)
    await kv.hit([limit])
    for (const model of ['AuthorizationCode', 'Session', 'DeviceCode'])
      await store.save(model, 'id', { uid: 'u', userCode: `${model} X` }, 60)
    expect([await kv.get('code'), await store.find('Session', 'id')]).toMatchObject(['123456', { uid: 'u' }])
    await (await copyRedis(server)).comeBack()
    direct.disconnect()
    direct = await readyRedis(server.url)
    const [after, records] = [createRedisKeyValue(direct), createRedisOidcStore(direct)]
    expect([await after.get('code'), await after.read('code'), await after.take('code')]).toEqual(
      Array(3).fill(undefined),
    )
    expect(await after.get('limit')).toBe('1')
    expect(await after.add('code', 'new', 60)).toBe(true)
    expect(await records.consume('AuthorizationCode', 'id', 1)).toBe('missing')
    expect(await records.find('AuthorizationCode', 'id')).toBeUndefined()
    await records.saveByUserCode('DeviceCode X', { accountId: 'eve' })
    expect(await records.findByUserCode('DeviceCode X')).toBeUndefined()
    expect(await records.find('Session', 'id')).toMatchObject({ uid: 'u', doubtful: true })
    await records.adopt('Session', 'id')
    expect(await records.find('Session', 'id')).not.toHaveProperty('doubtful')
    direct.disconnect()
    await server.stop()
  })

  it('uses are known from the first start of an installation, and from its loss on otherwise', async () => {
    const direct = await readyRedis((await startBreakable('redis')).url)
    const once = createRedisOnce(direct, systemClock)
    const old = new Date(Date.now() - 60_000)
    await once.begin(true)
    expect([await once.use('first', old, 60), await once.use('first', old, 60)]).toEqual(['first', 'again'])
    await direct.flushall()
    await once.begin()
    expect(await once.use('first', old, 60)).toBe('unknown')
    expect(await once.use('second', new Date(Date.now() + 16_000), 60)).toBe('first')
    direct.disconnect()
  })
})
