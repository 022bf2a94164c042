/**
 * A80: what must not be exchanged: tokens that are dead, meant for somebody else, of another issuer, or no access tokens of
 * people at all. Each is shown beside the same request with a token that is good.
 */
import type { JsonWebKey } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Canary, startCanary } from '../support/canary.ts'
import {
  ACCESS_TOKEN,
  EXCHANGE_SETTINGS,
  exchangeRequests,
  LEDGER,
  service,
  TOKEN_EXCHANGE,
  VAULT,
} from '../support/exchange_room.ts'
import { forgeries } from '../support/forged_jwts.ts'
import { API, SECRET } from '../support/journeys.ts'
import { mailFolder } from '../support/mailbox.ts'
import { mutations } from '../support/mutations.ts'
import { newPerson, OFFLINE, type Person } from '../support/people.ts'
import { refusalReason } from '../support/refusals.ts'
import { sample } from '../support/sample.ts'
import { type Server, startServer } from '../support/server.ts'
import {
  basic,
  type ClientRequests,
  clientRequests,
  type Fields,
  headerOf,
  payloadOf,
  postForm,
  tokensOf,
} from '../support/token_requests.ts'

const INVALID = [400, 'invalid_request']
const INACTIVE = { active: false }

let server: Server
let client: ClientRequests
let room: ReturnType<typeof exchangeRequests>
let ann: Person
let canary: Canary
let logoutToken = ''
const receiver = createServer((request, response) => {
  request.on('data', (part: Buffer) => {
    logoutToken = new URLSearchParams(part.toString()).get('logout_token') ?? ''
  })
  request.on('end', () => response.end())
})

beforeAll(async () => {
  receiver.listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  const { port } = receiver.address() as AddressInfo
  canary = await startCanary()
  const told = {
    ...{ client_id: 'told', client_secret: SECRET, first_party: true, resources: [API] },
    ...{ redirect_uris: ['https://told.test.example/callback'], scope: 'openid offline_access ledger:read' },
    backchannel_logout_uri: `http://127.0.0.1:${port}/`,
  }
  const shortLived = service('short', {
    ...{ resource_server_for: [API], token_exchange: [{ resource: LEDGER, scopes: ['ledger:read'] }] },
    agent: {
      owner: 'Night shift',
      purpose: 'closes tills',
      expires_at: new Date(Date.now() + 3_600_000).toISOString(),
    },
  })
  const browser = {
    ...{ client_id: 'browser', token_endpoint_auth_method: 'none', first_party: true, resources: [API] },
    ...{ redirect_uris: ['https://browser.test.example/callback'], scope: 'openid ledger:read' },
    ...{ grant_types: ['authorization_code', TOKEN_EXCHANGE] },
    token_exchange: [{ resource: LEDGER, scopes: ['ledger:read'], public: true }],
  }
  const ofGlobex = service('globex', {
    ...{ resource_server_for: [API], organization_id: 'globex' },
    token_exchange: [{ resource: LEDGER, scopes: ['ledger:read'], actors: ['globex', 'bot', 'foreign'] }],
  })
  server = await startServer({
    settings: { ...EXCHANGE_SETTINGS, clients: [...EXCHANGE_SETTINGS.clients, told, shortLived, browser, ofGlobex] },
    // Redis forgets by its own clock, which does not move here.
    stores: 'embedded',
  })
  client = clientRequests(server.issuer)
  room = exchangeRequests(client)
  ann = await person('ann')
})
afterAll(async () => {
  await server?.close()
  await canary?.stop()
  receiver.closeAllConnections()
  receiver.close()
})

const person = (name: string) => newPerson(server.issuer, mailFolder(server.dataDir), `${name}@example.com`)
let reference = ''
const outcome = async (by: string, token: string, fields: Fields = {}) => {
  const { status, body, headers } = await room.exchange(by, token, fields)
  reference = headers.get('x-request-id') ?? ''
  if (status !== 200) expect(body).not.toHaveProperty('access_token')
  return status === 200 ? 200 : [status, body.error]
}
async function genkan(...command: string[]) {
  const { code, stdout, stderr } = await server.run(...command)
  expect([code, stdout, stderr]).toEqual([0, expect.anything(), expect.anything()])
}
const lastReason = () => refusalReason(server, reference)

/** One of each form for the same person. */
async function both(who: Person): Promise<string[]> {
  return [(await room.token(who)).access, (await room.token(who, 'opaque')).access]
}

describe('in the place of an access token of a person', () => {
  it('nothing else is taken (A27)', async () => {
    const tokens = await room.token(ann)
    const leaving = await ann.elsewhere()
    await leaving.tokens('told')
    const page = await leaving.browser.get(`${server.issuer}/session/end`)
    await leaving.browser.submit(page, {}, { form: '/session/end/confirm', button: 'yes' })
    for (let tries = 0; logoutToken === '' && tries < 200; tries++) await sleep(50)
    expect(headerOf(logoutToken).typ).toBe('logout+jwt')
    const offline = await ann.tokens('web', OFFLINE)
    const code = await ann.code('web', { scope: 'openid ledger:read', resource: API })
    const others = {
      'an ID token': tokens.id,
      'a refresh token': offline.refresh,
      'a logout token': logoutToken,
      'a code': code.code,
      'a token for userinfo': offline.access,
      'a token of a machine': await room.machine('idle', API),
      'a secret': SECRET,
      'a name': 'ann@example.com',
      dots: 'a.b.c',
      'two tokens': `${tokens.access} ${tokens.access}`,
      'a blank beside it': ` ${tokens.access}`,
      'a NUL': `${tokens.access}\u0000`,
      'sixteen thousand letters': 'x'.repeat(16_000),
    }
    for (const [name, token] of Object.entries(others))
      expect([name, await outcome('orders', token)]).toEqual([name, INVALID])
    expect(await outcome('orders', tokens.access)).toBe(200)
    // Whoever calls an ID token what it is gets no access token for it either.
    const named = { subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' }
    expect(await outcome('orders', tokens.id, named)).toEqual(INVALID)
    // The code is as good as before: it was looked for among access tokens only.
    expect((await client.redeem(code, { resource: API })).status).toBe(200)
  })

  it('no forged or respelt one is taken, and nothing that it names is fetched (A68, A69)', async () => {
    const { access } = await room.token(ann)
    const jwks = (await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: { kid: string }[] }
    const publicJwk = jwks.keys.find(({ kid }) => kid === headerOf(access).kid) as JsonWebKey
    const forged = forgeries({
      ...{ header: headerOf(access), claims: payloadOf(access), publicJwk },
      canary: canary.origin,
    })
    for (const { name, jwt } of forged) expect([name, await outcome('orders', jwt)]).toEqual([name, INVALID])
    for (const mutation of sample(mutations(access, 200), { least: 20 })) {
      expect(await outcome('orders', mutation)).toEqual(INVALID)
    }
    expect(canary.calls()).toBe(0)
    expect(await outcome('orders', access)).toBe(200)
  })
})

describe('a token that is meant for somebody else', () => {
  it('as audience is refused (confused deputy)', async () => {
    for (const clientId of ['web', 'opaque']) {
      const api = (await room.token(ann, clientId)).access
      const ledger = (await room.token(ann, clientId, LEDGER)).access
      expect(await outcome('orders', ledger)).toEqual(INVALID)
      expect(await lastReason()).toBe('subject_of_another')
      expect(await outcome('orders', api)).toBe(200)
      expect(await outcome('ledger', ledger, { resource: VAULT })).toBe(200)
      expect(await outcome('ledger', api, { resource: VAULT })).toEqual(INVALID)
      // A client whose row allows the target, but which the token was never sent to.
      expect(await outcome('other', api)).toEqual(INVALID)
    }
  })

  it('of another organization is refused', async () => {
    const acme = (await room.token(ann, 'acme')).access
    expect(await outcome('globex', acme)).toEqual(INVALID)
    expect(await lastReason()).toBe('subject_foreign_organization')
    const open = (await room.token(ann)).access
    expect(await outcome('globex', open)).toBe(200)
    expect(await outcome('orders', acme)).toBe(200)
    const actor = async (name: string) => ({
      ...{ actor_token: await room.machine(name, API), actor_token_type: ACCESS_TOKEN },
    })
    expect(await outcome('globex', open, await actor('bot'))).toEqual(INVALID)
    expect(await lastReason()).toBe('actor_foreign_organization')
    expect(await outcome('globex', open, await actor('foreign'))).toBe(200)
  })
})

describe('a token that is dead', () => {
  it('by revocation is refused', async () => {
    const { access } = await room.token(ann, 'opaque')
    expect(await outcome('orders', access)).toBe(200)
    await client.revoke('opaque', access)
    expect(await outcome('orders', access)).toEqual(INVALID)
  })

  it.each(['web', 'opaque'])('with its grant is refused: the code of %s was used twice', async (clientId) => {
    const code = await ann.code(clientId, { scope: 'openid ledger:read', resource: API })
    const { access } = tokensOf(await client.redeem(code, { resource: API }))
    const made = tokensOf(await room.exchange('orders', access, { resource: VAULT })).access
    expect((await client.introspect('vault', made)).body).toMatchObject({ active: true })
    expect((await client.redeem(code, { resource: API })).status).toBe(400)
    expect(await outcome('orders', access)).toEqual(INVALID)
    expect((await client.introspect('vault', made)).body).toEqual(INACTIVE)
    expect((await client.introspect('orders', made)).body).toEqual(INACTIVE)
    // What was made of it is no way around either.
    expect(await outcome('vault', made)).toEqual(INVALID)
  })

  it('with the sign-in that it came from is refused', async () => {
    const guest = await ann.elsewhere()
    const tokens = await both(guest)
    const made = await Promise.all(
      tokens.map(async (token) => tokensOf(await room.exchange('orders', token, { resource: VAULT })).access),
    )
    const page = await guest.browser.get(`${server.issuer}/session/end`)
    await guest.browser.submit(page, {}, { form: '/session/end/confirm', button: 'yes' })
    for (const token of tokens) expect(await outcome('orders', token)).toEqual(INVALID)
    for (const token of made) expect((await client.introspect('vault', token)).body).toEqual(INACTIVE)
    for (const token of await both(ann)) expect(await outcome('orders', token)).toBe(200)
  })

  it.each([['disable'], ['end-sessions'], ['delete', '--yes']])(
    'with the account is refused: %s',
    async (...command) => {
      const [verb = '', ...options] = command
      const bob = await person(`bob-${verb}`)
      const tokens = await both(bob)
      const made = await Promise.all(
        tokens.map(async (token) => tokensOf(await room.exchange('orders', token, { resource: VAULT })).access),
      )
      await genkan('accounts', verb, bob.email, ...options)
      for (const token of tokens) {
        expect(await outcome('orders', token)).toEqual(INVALID)
      }
      for (const token of made) {
        expect((await client.introspect('vault', token)).body).toEqual(INACTIVE)
        expect(await outcome('vault', token)).toEqual(INVALID)
      }
    },
  )
})

it('with the client that it was given to is refused', async () => {
  const file = join(server.dataDir, 'temp.json')
  writeFileSync(file, JSON.stringify({ first_party: true, scope: 'openid ledger:read', resources: [API] }))
  const at = ['--redirect-uri', 'https://temp.test.example/callback', '--metadata', file]
  const { stdout } = await server.run('clients', 'create', 'temp', ...at, '--json')
  const secret = (JSON.parse(stdout) as { client_secret: string }).client_secret
  const code = await ann.code('temp', { scope: 'openid ledger:read', resource: API })
  const { access } = tokensOf(await client.redeem(code, { resource: API }, 'temp', basic('temp', secret)))
  const made = tokensOf(await room.exchange('orders', access, { resource: VAULT })).access
  expect((await client.introspect('vault', made)).body).toMatchObject({ active: true })
  await genkan('clients', 'disable', 'temp')
  expect(await outcome('orders', access)).toEqual(INVALID)
  expect((await client.introspect('vault', made)).body).toEqual(INACTIVE)
})

it('a client that cannot authenticate exchanges by rows alone that say so', async () => {
  const code = await ann.code('browser', { scope: 'openid ledger:read', resource: API })
  const as = { client_id: 'browser' }
  const redeemed = await postForm(`${server.issuer}/token`, {
    ...{ ...as, grant_type: 'authorization_code', code: code.code, resource: API },
    ...{ code_verifier: code.verifier, redirect_uri: code.redirectUri },
  })
  const exchange = (more: Fields) =>
    postForm(`${server.issuer}/token`, {
      ...{ ...as, grant_type: TOKEN_EXCHANGE, subject_token_type: ACCESS_TOKEN, resource: LEDGER },
      ...{ subject_token: tokensOf(redeemed).access, ...more },
    })
  const { access } = tokensOf(await exchange({}))
  expect(payloadOf(access)).toMatchObject({ client_id: 'browser', act: { sub: 'browser' } })
  // A token of somebody else's client is none of its business.
  expect((await exchange({ subject_token: (await room.token(ann)).access })).status).toBe(400)
  expect((await exchange({ client_id: 'orders' })).status).toBe(401)
})

describe('when the time is over', () => {
  it('a token is refused, though clocks may differ, and an agent is not there any more', async () => {
    const [jwt = '', opaque = ''] = await both(ann)
    expect(await outcome('short', jwt)).toBe(200)
    const own = await room.machine('short', LEDGER)
    expect((await client.introspect('ledger', own)).body).toMatchObject({ active: true })
    await server.shiftDate(301)
    expect(await outcome('orders', jwt)).toEqual(INVALID)
    expect(await outcome('orders', opaque)).toBe(200)
    await server.shiftDate(3605)
    expect(await outcome('orders', opaque)).toEqual(INVALID)
    // The agent's own time is over as well: for everything that it asks, and for what it holds.
    const again = await client.token('short', {
      grant_type: 'client_credentials',
      resource: LEDGER,
      scope: 'ledger:read',
    })
    expect([again.status, again.body.error]).toEqual([401, 'invalid_client'])
    expect((await client.introspect('ledger', own)).body).toEqual(INACTIVE)
  })
})

it('what was made of a sign-in that ends by silence ends with it', async () => {
  const keeper = service('keeper', {
    ...{ resource_server_for: [API], token_exchange: [{ resource: VAULT, scopes: ['ledger:read'] }] },
  })
  const quiet = await startServer({
    settings: {
      ...{ ...EXCHANGE_SETTINGS, clients: [...EXCHANGE_SETTINGS.clients, keeper] },
      sessions: { idle_seconds: 60 },
    },
    stores: 'embedded',
  })
  try {
    const there = clientRequests(quiet.issuer)
    const cid = await newPerson(quiet.issuer, mailFolder(quiet.dataDir), 'cid@example.com')
    const { token, exchange } = exchangeRequests(there)
    const { access } = await token(cid, 'opaque')
    const answer = await exchange('keeper', access, { resource: VAULT })
    const made = tokensOf(answer).access
    const told = (await there.introspect('vault', made)).body
    expect([told.active, Number(told.exp) - Number(told.iat)]).toEqual([true, 300])
    await quiet.shiftDate(100)
    expect((await there.introspect('vault', made)).body).toEqual(INACTIVE)
    expect((await exchange('keeper', access, { resource: VAULT })).body.error).toBe('invalid_request')
  } finally {
    await quiet.close()
  }
})
