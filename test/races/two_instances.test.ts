/** Two instances on one PostgreSQL and one Redis: what may happen once happens once, wherever the requests arrive. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { type Database, openDatabase } from '../../src/platform/postgres.ts'
import { JWT_BEARER, PLATFORM } from '../support/assertion_room.ts'
import type { Page } from '../support/browser.ts'
import { choose, PASSWORD, register, SECRET, SETTINGS } from '../support/journeys.ts'
import { type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, OFFLINE, type Person } from '../support/people.ts'
import { type Pair, startPair } from '../support/server.ts'
import {
  type ClientRequests,
  clientRequests,
  payloadOf,
  postForm,
  type TokenAnswer,
  tokensOf,
} from '../support/token_requests.ts'

let pair: Pair
let mailbox: SmtpMailbox
let database: Database
let client: ClientRequests
let ann: Person
let bob: Person
let clock = 0
const keys = generateKeyPair('ES256')

beforeAll(async () => {
  mailbox = await startMailbox()
  const keyed = {
    client_id: 'keyed',
    token_endpoint_auth_method: 'private_key_jwt',
    grant_types: ['client_credentials'],
    jwks: { keys: [{ ...(await exportJWK((await keys).publicKey)), kid: 'k1', alg: 'ES256' }] },
    scope: 'orders:read',
    resources: [SETTINGS.resources[0].identifier],
  }
  // The storm below must meet the race and not the limit of wrong passwords.
  const limits = { sign_in_per_identifier: 10_000, sign_in_per_address: 10_000 }
  const job = {
    ...{ client_id: 'job', client_secret: SECRET, scope: 'orders:read', grant_types: [JWT_BEARER] },
    assertion_issuers: [
      { issuer: PLATFORM, resource: SETTINGS.resources[0].identifier, scopes: ['orders:read'], subjects: ['job'] },
    ],
  }
  const settings = {
    ...{ ...SETTINGS, limits, clients: [...SETTINGS.clients, keyed, job] },
    assertion_issuers: [{ issuer: PLATFORM, jwks: keyed.jwks, algorithms: ['ES256'] }],
  }
  pair = await startPair({ settings, env: { SMTP_URL: mailbox.url } })
  database = await openDatabase({ databaseUrl: pair.stores.databaseUrl })
  client = clientRequests(pair.issuer)
  ann = await newPerson(pair.issuer, mailbox, 'ann@example.com')
  bob = await newPerson(pair.issuer, mailbox, 'bob@example.com')
})
afterAll(async () => {
  await database?.close()
  await pair?.close()
  await mailbox?.stop()
})

const invalidGrant = { status: 400, body: { error: 'invalid_grant' } }
const times = <T>(count: number, work: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)))
const succeeded = (answers: readonly TokenAnswer[]) => answers.filter(({ status }) => status === 200)

async function later(seconds: number): Promise<void> {
  clock += seconds
  await Promise.all(pair.servers.map((server) => server.shiftDate(clock)))
}

/** Reasons of the account's revoked grants, oldest first. */
async function reasons(idToken: string): Promise<string[]> {
  const { rows } = await database.db.raw(
    "select data->>'reason' as reason from outbox where type = 'grant.revoked' and account_id = ? order by occurred_at",
    [String(payloadOf(idToken).sub)],
  )
  return rows.map(({ reason }: { reason: string }) => reason)
}

async function expectDead(clientId: string, { access, refresh }: { access: string; refresh: string }): Promise<void> {
  for (const { origin } of pair.servers) {
    const instance = clientRequests(origin)
    expect((await instance.userinfo(access)).status).toBe(401)
    expect((await instance.introspect(clientId, access)).body).toEqual({ active: false })
    expect(await instance.refresh(clientId, refresh)).toMatchObject(invalidGrant)
  }
}

describe('a code (A65)', () => {
  it('of 50 parallel redemptions exactly one succeeds, and its tokens die', async () => {
    for (const clientId of ['own', 'web']) {
      const code = await ann.code(clientId, OFFLINE)
      const answers = await times(50, () => client.redeem(code))
      const good = succeeded(answers)
      expect(good).toHaveLength(1)
      for (const answer of answers) if (answer !== good[0]) expect(answer).toMatchObject(invalidGrant)
      const tokens = tokensOf(good[0] as TokenAnswer)
      await expectDead(clientId, tokens)
      expect((await reasons(tokens.id)).at(-1)).toBe('code_reused')
    }
  })

  it('redeemed on one instance is used on the other', async () => {
    const code = await ann.code('own', OFFLINE)
    const [here, there] = pair.servers.map(({ origin }) => clientRequests(origin)) as [ClientRequests, ClientRequests]
    const tokens = tokensOf(await here.redeem(code))
    expect((await there.userinfo(tokens.access)).status).toBe(200)
    expect(await there.redeem(code)).toMatchObject(invalidGrant)
    await expectDead('own', tokens)
  })

  it('that a thief redeems at the same time leaves nothing alive (A62)', async () => {
    const code = await ann.code('own', OFFLINE)
    const answers = await times(20, (index) => client.redeem(code, {}, index % 2 === 0 ? 'other' : 'own'))
    for (const [index, answer] of answers.entries()) if (index % 2 === 0) expect(answer).toMatchObject(invalidGrant)
    expect(succeeded(answers).length).toBeLessThanOrEqual(1)
    for (const answer of succeeded(answers)) await expectDead('own', tokensOf(answer))
  })
})

describe('a refresh token (A67)', () => {
  it('of 50 parallel refreshes exactly one successor and one family come', async () => {
    for (const [clientId, parameters] of [
      ['spa', {}],
      ['own', OFFLINE],
      ['web', OFFLINE],
    ] as const) {
      const { refresh } = await ann.tokens(clientId, parameters)
      const answers = await times(50, () => client.refresh(clientId, refresh))
      expect(succeeded(answers)).toHaveLength(50)
      const successors = [...new Set(answers.map((answer) => tokensOf(answer).refresh))]
      expect(successors).toHaveLength(1)
      expect(successors[0]).not.toBe(refresh)
      expect((await client.refresh(clientId, successors[0] ?? '')).status).toBe(200)
    }
  })

  it('of eight tabs: all stay signed in over several rounds', async () => {
    let tabs = Array<string>(8).fill((await ann.tokens('spa')).refresh)
    for (let round = 0; round < 4; round++) {
      const answers = await times(8, async (index) => {
        await sleep(index * 10)
        return client.refresh('spa', tabs[index] ?? '')
      })
      tabs = answers.map((answer) => tokensOf(answer).refresh)
      expect(new Set(tabs).size).toBe(1)
      for (const answer of answers) expect((await client.userinfo(tokensOf(answer).access)).status).toBe(200)
      await later(20)
    }
  })

  it('used again after the window ends the family and says so', async () => {
    const first = await ann.tokens('own', OFFLINE)
    const second = tokensOf(await client.refresh('own', first.refresh))
    await later(11)
    expect(tokensOf(await client.refresh('own', first.refresh)).refresh).toBe(second.refresh)
    await later(5)
    expect(await client.refresh('own', first.refresh)).toMatchObject(invalidGrant)
    await expectDead('own', second)
    expect((await reasons(first.id)).at(-1)).toBe('refresh_token_reused')
  })

  it('retried after its successor was used ends the family and says so', async () => {
    const first = await bob.tokens('own', OFFLINE)
    const second = tokensOf(await client.refresh('own', first.refresh))
    const third = tokensOf(await client.refresh('own', second.refresh))
    const answers = await times(10, () => client.refresh('own', first.refresh))
    for (const answer of answers) expect(answer).toMatchObject(invalidGrant)
    await expectDead('own', third)
    expect(await reasons(first.id)).toEqual(['refresh_token_reused'])
    expect(await bob.signedIn()).toBe(true)
  })

  it('that a thief and its owner use in turns dies for both', async () => {
    const stolen = await bob.tokens('own', OFFLINE)
    const [owner, thief] = await times(2, () => client.refresh('own', stolen.refresh))
    const next = tokensOf(owner as TokenAnswer).refresh
    expect(tokensOf(thief as TokenAnswer).refresh).toBe(next)
    const further = tokensOf(await client.refresh('own', next))
    await later(16)
    expect(await client.refresh('own', next)).toMatchObject(invalidGrant)
    await expectDead('own', further)
  })
})

describe('a client assertion (A64)', () => {
  it('of 20 parallel uses over both instances exactly one succeeds', async () => {
    for (let round = 0; round < 3; round++) {
      const assertion = await new SignJWT({ jti: `round-${round}` })
        .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
        .setIssuer('keyed')
        .setSubject('keyed')
        .setAudience(pair.issuer)
        .setExpirationTime(Math.floor(Date.now() / 1000) + clock + 60)
        .sign((await keys).privateKey)
      const type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
      const resource = SETTINGS.resources[0].identifier
      const fields = {
        grant_type: 'client_credentials',
        resource,
        client_assertion_type: type,
        client_assertion: assertion,
      }
      const answers = await times(20, () => postForm(`${pair.issuer}/token`, fields))
      expect(succeeded(answers)).toHaveLength(1)
      for (const answer of answers) {
        if (answer.status !== 200) expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client'])
      }
    }
  })
})

describe('an assertion as a grant (A64)', () => {
  it('of 20 parallel uses over both instances exactly one succeeds', async () => {
    const assertion = await new SignJWT({ jti: 'once' })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setIssuer(PLATFORM)
      .setSubject('job')
      .setAudience(pair.issuer)
      .setExpirationTime(Math.floor(Date.now() / 1000) + clock + 60)
      .sign((await keys).privateKey)
    const answers = await times(20, () => client.token('job', { grant_type: JWT_BEARER, assertion }))
    expect(succeeded(answers)).toHaveLength(1)
    for (const answer of answers) if (answer.status !== 200) expect(answer).toMatchObject(invalidGrant)
  })
})

describe('a DPoP proof (A64)', () => {
  it('of 20 parallel uses over both instances exactly one succeeds', async () => {
    const { publicKey, privateKey } = await keys
    const proof = await new SignJWT({ jti: 'proof', htm: 'POST', htu: `${pair.issuer}/token` })
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: await exportJWK(publicKey) })
      .setIssuedAt(Math.floor(Date.now() / 1000) + clock)
      .sign(privateKey)
    const fields = { grant_type: 'client_credentials', resource: SETTINGS.resources[0].identifier }
    const answers = await times(20, () => client.token('machine', fields, { dpop: proof }))
    expect(succeeded(answers).map(({ body }) => body.token_type)).toEqual(['DPoP'])
  })
})

describe('a login', () => {
  it('begins on one instance and ends on the other', async () => {
    const browser = clientBrowser()
    const { url, verifier } = authorizationRequest(pair.issuer, 'own')
    pair.route(0)
    const start = await browser.get(url)
    pair.route(1)
    const asked = await browser.submit(start, { identifier: ann.email }, { form: '/identifier' })
    pair.route(0)
    const end = await browser.submit(asked, { password: PASSWORD }, { form: '/password' })
    pair.route(1)
    const code = {
      clientId: 'own',
      code: end.params.get('code') ?? '',
      verifier,
      redirectUri: 'https://own.test.example/callback',
    }
    expect((await client.redeem(code)).status).toBe(200)
    pair.route('both')
  })

  it('goes on after a restart in its middle; rotated tokens stay refused over it (A63)', async () => {
    const first = await ann.tokens('own', OFFLINE)
    const second = tokensOf(await client.refresh('own', first.refresh))
    const third = tokensOf(await client.refresh('own', second.refresh))
    const browser = clientBrowser()
    const start = await browser.get(authorizationRequest(pair.issuer, 'own').url)
    const asked = await browser.submit(start, { identifier: ann.email }, { form: '/identifier' })
    await Promise.all(pair.servers.map((server) => server.restart()))
    const end = await browser.submit(asked, { password: PASSWORD }, { form: '/password' })
    expect(end.params.has('code')).toBe(true)
    expect(await client.refresh('own', first.refresh)).toMatchObject(invalidGrant)
    await expectDead('own', third)
    expect(await ann.signedIn()).toBe(true)
  })

  it('with two parallel submits never pairs the proof of one account with the other', async () => {
    const theirs = 'amber kettle forest 61'
    const cat = await newAccount('cat@example.com', theirs)
    const victim = String(payloadOf((await ann.tokens('own')).id).sub)
    const seen: string[] = []
    let refused = 0
    for (let round = 0; round < 16; round++) {
      const browser = clientBrowser()
      const { url, verifier } = authorizationRequest(pair.issuer, 'own')
      const start = await browser.get(url)
      const asked = await browser.submit(start, { identifier: 'cat@example.com' }, { form: '/identifier' })
      const csrf = asked.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
      const base = asked.url.replace(/\/$/, '')
      const send = (step: string, fields: { [name: string]: string }) =>
        browser.send(`${base}/${step}`, {
          method: 'POST',
          from: asked.url,
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          body: new URLSearchParams({ csrf, ...fields }).toString(),
        })
      const toVictim = async () => {
        await send('switch', { to: 'identifier' })
        await send('identifier', { identifier: ann.email })
      }
      const prove = () => send('password', { password: theirs })
      // The other account is named before, while and after the password is checked: hashing takes 50 ms and more.
      const at = round * 25
      await Promise.all([prove(), sleep(at).then(toVictim), sleep(at + 10).then(prove)])
      const end = await settle(browser.get(`${base}`))
      const code = end.params.get('code')
      if (code === null) {
        refused++
        continue
      }
      const redirectUri = 'https://own.test.example/callback'
      const { id } = tokensOf(await client.redeem({ clientId: 'own', code, verifier, redirectUri }))
      seen.push(String(payloadOf(id).sub))
    }
    expect(seen).not.toContain(victim)
    // Both ends of the race were met: the password came first, and the other name came first.
    expect(new Set(seen)).toEqual(new Set([cat]))
    expect(refused).toBeGreaterThan(0)
  })
})

async function newAccount(email: string, password: string): Promise<string> {
  const browser = clientBrowser()
  const { url, verifier } = authorizationRequest(pair.issuer, 'own')
  const page = await choose(browser, await browser.get(url), 'create')
  const end = await register(browser, page, mailbox, email, password)
  const code = end.params.get('code') ?? ''
  const redirectUri = 'https://own.test.example/callback'
  const { id } = tokensOf(await client.redeem({ clientId: 'own', code, verifier, redirectUri }))
  return String(payloadOf(id).sub)
}

/** Where the conversation stands after the storm: at the client, or at a page of ours. */
async function settle(page: Promise<Page>): Promise<Page> {
  const end = await page
  expect(end.status).toBeLessThan(500)
  return end
}
