/**
 * What an operator ends is over within a second, on both instances and for everything that is out there: cookies, refresh
 * tokens, access tokens, codes in flight (A53). And signing keys change under way.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { API, SETTINGS } from '../support/journeys.ts'
import { type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { newPerson, OFFLINE, type Person } from '../support/people.ts'
import { type Pair, startPair } from '../support/server.ts'
import {
  basic,
  type ClientRequests,
  type Code,
  clientRequests,
  headerOf,
  postForm,
  tokensOf,
} from '../support/token_requests.ts'

let pair: Pair
let mailbox: SmtpMailbox
let client: ClientRequests
/** One for each instance. */
let instances: readonly ClientRequests[]

beforeAll(async () => {
  mailbox = await startMailbox()
  pair = await startPair({ settings: SETTINGS, env: { SMTP_URL: mailbox.url } })
  client = clientRequests(pair.issuer)
  instances = pair.servers.map(({ origin }) => clientRequests(origin))
})
afterAll(async () => {
  await pair?.close()
  await mailbox?.stop()
})

const person = (name: string) => newPerson(pair.issuer, mailbox, `${name}@example.com`)
const invalidGrant = { status: 400, body: { error: 'invalid_grant' } }

async function genkan(...command: string[]): Promise<string> {
  const { code, stdout, stderr } = await pair.servers[0].run(...command)
  if (code !== 0) throw new Error(`genkan ${command.join(' ')}: ${stdout}${stderr}`)
  return stdout
}

/** Waits until `check` passes, a second at the most. */
async function withinASecond(check: () => Promise<boolean>): Promise<void> {
  const until = performance.now() + 1000
  while (!(await check())) {
    if (performance.now() > until) throw new Error('not within a second')
    await sleep(25)
  }
}

/** All that an account can have out there. */
async function holdings(who: Person) {
  const session = await who.tokens('spa')
  const offline = await who.tokens('own', OFFLINE)
  const agreed = await who.tokens('web', OFFLINE)
  const codes = [await who.code('own'), await who.code('spa')]
  expect((await who.browser.get(`${pair.issuer}/account`)).url).toBe(`${pair.issuer}/account`)
  return { session, offline, agreed, codes }
}

async function expectOver(who: Person, { session, offline, agreed, codes }: Awaited<ReturnType<typeof holdings>>) {
  for (const instance of instances) {
    for (const { access } of [session, offline, agreed]) {
      expect((await instance.userinfo(access)).status).toBe(401)
    }
    for (const [clientId, token] of [
      ['own', offline],
      ['web', agreed],
    ] as const) {
      expect((await instance.introspect(clientId, token.access)).body).toEqual({ active: false })
      expect((await instance.introspect(clientId, token.refresh)).body).toEqual({ active: false })
      expect(await instance.refresh(clientId, token.refresh)).toMatchObject(invalidGrant)
    }
    expect(await instance.refresh('spa', session.refresh)).toMatchObject(invalidGrant)
    for (const code of codes) expect(await instance.redeem(code)).toMatchObject(invalidGrant)
  }
  for (const which of [0, 1] as const) {
    pair.route(which)
    expect(await who.signedIn()).toBe(false)
    expect((await who.browser.get(`${pair.issuer}/account`)).url).toContain('/interaction/')
  }
  pair.route('both')
}

describe('an account', () => {
  it('disabled by command is refused at once, and stays out', async () => {
    const ann = await person('ann')
    const held = await holdings(ann)
    await genkan('accounts', 'disable', ann.email)
    await expectOver(ann, held)
    await expect(ann.elsewhere()).rejects.toThrow('could not sign in')
    await genkan('accounts', 'enable', ann.email)
    await expectOver(ann, held)
    const again = await ann.elsewhere()
    expect(await again.signedIn()).toBe(true)
  })

  it('whose sessions are all ended may sign in anew', async () => {
    const bob = await person('bob')
    const elsewhere = await bob.elsewhere()
    const held = await holdings(bob)
    await genkan('accounts', 'end-sessions', bob.email)
    await expectOver(bob, held)
    expect(await elsewhere.signedIn()).toBe(false)
    expect(await (await bob.elsewhere()).signedIn()).toBe(true)
  })

  it('deleted by command is gone', async () => {
    const cat = await person('cat')
    const held = await holdings(cat)
    await genkan('accounts', 'delete', cat.email, '--yes')
    await expectOver(cat, held)
  })

  it('is over for what is issued in the same moment, too', async () => {
    const dan = await person('dan')
    const issued = [await dan.tokens('own', OFFLINE), await dan.tokens('spa')]
    const clients = ['own', 'spa'] as const
    let done = false
    const storm = clients.map(async (clientId, index) => {
      let latest = issued[index] as (typeof issued)[number]
      while (!done) {
        const answer = await client.refresh(clientId, latest.refresh)
        if (answer.status !== 200) break
        latest = tokensOf(answer)
      }
      return latest
    })
    const codes = (async () => {
      const found: (Code | undefined)[] = []
      while (!done) found.push(await dan.code('own').catch(() => undefined))
      return found
    })()
    await genkan('accounts', 'end-sessions', dan.email)
    done = true
    const latest = await Promise.all(storm)
    for (const [index, { access, refresh }] of latest.entries()) {
      expect((await client.userinfo(access)).status).toBe(401)
      expect(await client.refresh(clients[index] ?? '', refresh)).toMatchObject(invalidGrant)
    }
    for (const code of await codes) {
      if (code !== undefined) expect(await client.redeem(code)).toMatchObject(invalidGrant)
    }
    expect(await dan.signedIn()).toBe(false)
  })
})

describe('a client', () => {
  it('disabled by command is refused within a second on both instances, and comes back', async () => {
    const eve = await person('eve')
    const made = await genkan(
      ...['clients', 'create', 'shop', '--name', 'Shop', '--redirect-uri', 'https://shop.test.example/callback'],
      ...['--first-party', '--scope', 'openid offline_access', '--json'],
    )
    const secret = (JSON.parse(made) as { client_secret: string }).client_secret
    const as = basic('shop', secret)
    const redeem = async (code: Code, origin = pair.issuer) =>
      postForm(
        `${origin}/token`,
        {
          grant_type: 'authorization_code',
          code: code.code,
          code_verifier: code.verifier,
          redirect_uri: code.redirectUri,
        },
        as,
      )
    const tokens = tokensOf(await redeem(await eve.code('shop', OFFLINE)))
    const code = await eve.code('shop')
    const refresh = (origin: string) =>
      postForm(`${origin}/token`, { grant_type: 'refresh_token', refresh_token: tokens.refresh }, as)
    expect((await client.userinfo(tokens.access)).status).toBe(200)

    await genkan('clients', 'disable', 'shop')
    for (const [index, { origin }] of pair.servers.entries()) {
      await withinASecond(async () => (await refresh(origin)).status === 401)
      expect((await refresh(origin)).body.error).toBe('invalid_client')
      expect((await redeem(code, origin)).body.error).toBe('invalid_client')
      expect((await instances[index]?.userinfo(tokens.access))?.status).toBe(401)
      const introspection = await postForm(`${origin}/token/introspection`, { token: tokens.access }, as)
      expect(introspection.status).toBe(401)
      pair.route(index as 0 | 1)
      const page = await eve.authorize('shop')
      expect(page.url.startsWith(pair.issuer)).toBe(true)
      expect(page.status).toBe(400)
    }
    pair.route('both')
    expect(await eve.signedIn()).toBe(true)

    await genkan('clients', 'enable', 'shop')
    for (const { origin } of pair.servers) await withinASecond(async () => (await refresh(origin)).status === 200)
  })
})

describe('signing keys', () => {
  const keySet = async (origin: string) => (await (await fetch(`${origin}/jwks`)).json()) as JSONWebKeySet
  const kids = async (origin: string) => (await keySet(origin)).keys.map(({ kid }) => kid)
  const newToken = async (origin: string) => {
    const fields = { grant_type: 'client_credentials', resource: API, scope: 'orders:read' }
    return tokensOf(await postForm(`${origin}/token`, fields, basic('machine'))).access
  }
  const verified = async (token: string, origin: string) => {
    const options = { issuer: pair.issuer, audience: API, typ: 'at+jwt' }
    return jwtVerify(token, createLocalJWKSet(await keySet(origin)), options)
  }
  const rotate = async (...flags: string[]) =>
    (JSON.parse(await genkan('keys', 'rotate', '--json', ...flags)) as { kid: string }).kid

  it('are published on both instances before they sign', async () => {
    const kid = await rotate('--alg', 'EdDSA')
    for (const { origin } of pair.servers) {
      await withinASecond(async () => (await kids(origin)).includes(kid))
      expect((await keySet(origin)).keys.every((key) => !('d' in key))).toBe(true)
    }
  })

  it('are taken up by both instances, while tokens of the old key stay good and nobody is refused', async () => {
    const fay = await person('fay')
    const before = await fay.tokens('own', OFFLINE)
    const old = await newToken(pair.issuer)
    const failures: string[] = []
    let done = false
    const work = [0, 1, 2].map(async (index) => {
      while (!done) {
        const at = pair.servers[index % 2]?.origin ?? ''
        try {
          // Verified with the key set of the instance that signed: never a kid that it does not publish.
          await verified(await newToken(at), at)
          if ((await clientRequests(at).userinfo(before.access)).status !== 200) failures.push('userinfo')
        } catch (error) {
          failures.push(String(error))
        }
      }
    })
    const kid = await rotate('--publish', '0s')
    for (const { origin } of pair.servers) {
      await withinASecond(async () => headerOf(await newToken(origin)).kid === kid)
      expect(await kids(origin)).toEqual(expect.arrayContaining([kid, headerOf(old).kid]))
      await verified(old, origin)
    }
    await sleep(300)
    done = true
    await Promise.all(work)
    expect(failures).toEqual([])
    const [first, second] = pair.servers
    await verified(await newToken(first.origin), second.origin)
    await verified(await newToken(second.origin), first.origin)
    // An ID token of the old key is still a hint, and refresh goes on.
    const hinted = await fay.authorize('own', { prompt: 'none', id_token_hint: before.id })
    expect(hinted.params.has('code')).toBe(true)
    const renewed = tokensOf(await client.refresh('own', before.refresh))
    expect(headerOf(renewed.id).kid).toBe(kid)
  })

  it('that are known to others leave both instances within a second, with what they signed', async () => {
    const gil = await person('gil')
    const before = await gil.tokens('own')
    const old = await newToken(pair.issuer)
    const kid = await rotate('--compromised')
    for (const { origin } of pair.servers) {
      await withinASecond(async () => !(await kids(origin)).includes(String(headerOf(old).kid)))
      expect(headerOf(await newToken(origin)).kid).toBe(kid)
      await expect(verified(old, origin)).rejects.toThrow()
    }
    for (const which of [0, 1] as const) {
      pair.route(which)
      const end = await gil.authorize('own', { prompt: 'none', id_token_hint: before.id })
      expect([end.params.has('code'), end.params.get('error')]).toEqual([false, 'invalid_request'])
    }
    pair.route('both')
    expect((await client.userinfo(before.access)).status).toBe(200)
    expect(await gil.signedIn()).toBe(true)
  })
})
