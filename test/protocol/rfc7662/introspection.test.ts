/** RFC 7662: token introspection, and attack A79: who may ask about what. */

import type { JsonWebKey } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { forgeries } from '../../support/forged_jwts.ts'
import { API, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { mutations } from '../../support/mutations.ts'
import { newPerson, OFFLINE, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import {
  basic,
  type ClientRequests,
  clientRequests,
  headerOf,
  payloadOf,
  postForm,
  tokensOf,
} from '../../support/token_requests.ts'

const LEDGER = 'https://ledger.test.example'
const [shop] = SETTINGS.clients
const settings = {
  resources: [...SETTINGS.resources, { identifier: LEDGER, scopes: ['ledger:read'], access_token_format: 'opaque' }],
  clients: [
    ...SETTINGS.clients.slice(1),
    { ...shop, first_party: true, scope: 'openid ledger:read', resources: [API, LEDGER] },
    {
      ...{ client_id: 'ledger', client_secret: SECRET, grant_types: ['client_credentials'], scope: 'ledger:read' },
      resource_server_for: [LEDGER],
    },
  ],
}

let server: Server
let client: ClientRequests
let ann: Person
let clock = 0

beforeAll(async () => {
  // Redis forgets by its own clock, which does not move here.
  server = await startServer({ settings, stores: 'embedded' })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

const INACTIVE = { active: false }

async function ledgerToken(): Promise<string> {
  const parameters = { scope: 'openid ledger:read', resource: LEDGER }
  return tokensOf(await client.redeem(await ann.code('web', parameters), { resource: LEDGER })).access
}

describe('tells', () => {
  it('a client of its own tokens (§2.2)', async () => {
    const tokens = await ann.tokens('own', OFFLINE)
    const sub = payloadOf(tokens.id).sub
    const access = await client.introspect('own', tokens.access)
    expect(access.body).toMatchObject({ active: true, sub, client_id: 'own', iss: server.issuer, token_type: 'Bearer' })
    expect(access.headers.get('cache-control')).toContain('no-store')
    expect((await client.introspect('own', tokens.refresh, 'refresh_token')).body).toMatchObject({ active: true, sub })
    expect((await client.introspect('own', tokens.refresh, 'access_token')).body).toMatchObject({ active: true })
    for (const answer of [access]) expect(JSON.stringify(answer.body)).not.toContain(tokens.access)
  })

  it('a resource server of the tokens meant for it', async () => {
    const token = await ledgerToken()
    expect((await client.introspect('ledger', token)).body).toMatchObject({
      ...{ active: true, aud: LEDGER, scope: 'ledger:read', client_id: 'web' },
    })
  })
})

describe('says {"active":false} and nothing else (A79)', () => {
  it('to another client', async () => {
    const tokens = await ann.tokens('own', OFFLINE)
    for (const asker of ['other', 'web', 'api', 'ledger', 'machine']) {
      for (const token of [tokens.access, tokens.refresh]) {
        const answer = await client.introspect(asker, token)
        expect([asker, answer.status, answer.body]).toEqual([asker, 200, INACTIVE])
      }
    }
  })

  it('to a resource server about a token for another', async () => {
    expect((await client.introspect('api', await ledgerToken())).body).toEqual(INACTIVE)
  })

  it('about a revoked token', async () => {
    const tokens = await ann.tokens('own', OFFLINE)
    await client.revoke('own', tokens.refresh)
    expect((await client.introspect('own', tokens.access)).body).toEqual(INACTIVE)
    expect((await client.introspect('own', tokens.refresh)).body).toEqual(INACTIVE)
  })

  it('about a rotated refresh token', async () => {
    const tokens = await ann.tokens('own', OFFLINE)
    const renewed = tokensOf(await client.refresh('own', tokens.refresh))
    expect((await client.introspect('own', tokens.refresh)).body).toEqual(INACTIVE)
    expect((await client.introspect('own', renewed.refresh)).body).toMatchObject({ active: true })
  })

  it('about an expired token', async () => {
    const tokens = await ann.tokens('own')
    clock += 3601
    await server.shiftDate(clock)
    expect((await client.introspect('own', tokens.access)).body).toEqual(INACTIVE)
    expect((await client.userinfo(tokens.access)).status).toBe(401)
  })

  it('about codes, and about 100 values that are almost a token (A68)', async () => {
    const tokens = await ann.tokens('own', OFFLINE)
    const { code } = await ann.code('own')
    const values = [
      code,
      'x',
      '0',
      'null',
      '__proto__',
      ...mutations(tokens.access, 100),
      ...mutations(tokens.refresh, 100),
    ]
    for (const value of values) {
      const answer = await client.introspect('own', value)
      expect([value, answer.status, answer.body]).toEqual([value, 200, INACTIVE])
    }
    for (const mutation of mutations(tokens.access, 100)) {
      // A header cannot carry what is outside of Latin-1, and blanks at its ends are not part of it.
      if (/[^\x21-\x7e]/.test(mutation)) continue
      expect([mutation, (await client.userinfo(mutation)).status]).toEqual([mutation, expect.any(Number)])
      expect((await client.userinfo(mutation)).status).toBeGreaterThanOrEqual(400)
    }
    expect((await client.userinfo(tokens.access)).status).toBe(200)
  })

  it('about tokens of somebody whose sessions have all ended', async () => {
    const bob = await newPerson(server.issuer, mailFolder(server.dataDir), 'bob@example.com')
    const tokens = await bob.tokens('own', OFFLINE)
    expect(await server.run('accounts', 'end-sessions', bob.email)).toMatchObject({ code: 0 })
    expect((await client.introspect('own', tokens.access)).body).toEqual(INACTIVE)
    expect((await client.introspect('own', tokens.refresh)).body).toEqual(INACTIVE)
  })
})

describe('does not answer', () => {
  it('strangers, public clients, GET, or a request without a token', async () => {
    const { access } = await ann.tokens('spa')
    const url = `${server.issuer}/token/introspection`
    expect((await postForm(url, { token: access })).status).toBeGreaterThanOrEqual(400)
    expect((await postForm(url, { token: access }, basic('own', 'wrong'))).status).toBe(401)
    expect((await fetch(`${url}?token=${access}`, { headers: basic('own') })).status).toBeGreaterThanOrEqual(400)
    expect((await postForm(`${url}?token=${access}`, {}, basic('own'))).body.error).toBe('invalid_request')
  })
})

describe('a JWT access token (RFC 9068)', () => {
  const fields = { grant_type: 'client_credentials', resource: API, scope: 'orders:read' }
  const machineToken = async () => tokensOf(await client.token('machine', fields)).access
  const personToken = async (person: Person) => {
    const code = await person.code('spa', { scope: 'openid orders:read', resource: API })
    return tokensOf(await client.redeem(code, { resource: API })).access
  }

  it('is told as its audience reads it, to its audience and its client', async () => {
    const token = await machineToken()
    const { iss, sub, aud, client_id, scope, exp, iat, jti } = payloadOf(token)
    for (const asker of ['api', 'machine']) {
      const answer = await client.introspect(asker, token)
      const told = { iss, sub, aud, client_id, scope, exp, iat, jti }
      expect([answer.status, answer.body]).toEqual([200, { active: true, ...told, token_type: 'Bearer' }])
      expect(answer.headers.get('cache-control')).toContain('no-store')
    }
    const { sub: person } = payloadOf((await ann.tokens('own')).id)
    const answer = await client.introspect('api', await personToken(ann), 'access_token')
    expect(answer.body).toMatchObject({ active: true, sub: person, client_id: 'spa' })
  })

  it('is inactive to everybody else, also in another spelling, late, or of another type (A68, A69, A79)', async () => {
    const token = await machineToken()
    for (const asker of ['own', 'other', 'ledger', 'web'])
      expect((await client.introspect(asker, token)).body).toEqual(INACTIVE)
    expect((await postForm(`${server.issuer}/token/introspection`, { token }, basic('api', 'wrong'))).status).toBe(401)
    const { id } = await ann.tokens('own')
    expect((await client.introspect('own', id)).body).toEqual(INACTIVE)
    const { keys } = (await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: JsonWebKey[] }
    const publicJwk = keys.find((key) => key.kid === headerOf(token).kid) ?? {}
    const forged = { header: headerOf(token), claims: payloadOf(token), publicJwk, canary: 'http://127.0.0.1:1/' }
    const wrong = [...mutations(token, 100), ...forgeries(forged).map(({ jwt }) => jwt)]
    for (const value of wrong) {
      const { status, body } = await client.introspect('api', value)
      expect([value, status, body]).toEqual([value, 200, INACTIVE])
    }
    expect((await client.introspect('api', token)).body.active).toBe(true)
    clock += 301
    await server.shiftDate(clock)
    expect((await client.introspect('api', token)).body).toEqual(INACTIVE)
  })

  it('is inactive at once when everything of its person ends, or what it was given by', async () => {
    const fay = await newPerson(server.issuer, mailFolder(server.dataDir), 'fay@example.com')
    const before = await personToken(fay)
    expect((await client.introspect('api', before)).body.active).toBe(true)
    expect(await server.run('accounts', 'end-sessions', fay.email)).toMatchObject({ code: 0 })
    expect((await client.introspect('api', before)).body).toEqual(INACTIVE)
    // Nobody has to wait for the next second: what is given after it is good.
    const again = await fay.elsewhere()
    const code = await again.code('spa', {
      scope: 'openid offline_access orders:read',
      resource: API,
      prompt: 'consent',
    })
    const { refresh, access } = tokensOf(await client.redeem(code, { resource: API }))
    expect((await client.introspect('api', access)).body.active).toBe(true)
    expect((await client.revoke('spa', refresh)).status).toBe(200)
    expect((await client.introspect('api', access)).body).toEqual(INACTIVE)
  })

  it('is inactive at once when its person or its client is disabled, unlike for those who only verify it', async () => {
    const eve = await newPerson(server.issuer, mailFolder(server.dataDir), 'eve@example.com')
    const [hers, his] = [await personToken(eve), await personToken(ann)]
    expect((await client.introspect('api', hers)).body.active).toBe(true)
    expect(await server.run('accounts', 'disable', eve.email)).toMatchObject({ code: 0 })
    expect((await client.introspect('api', hers)).body).toEqual(INACTIVE)
    expect((await client.introspect('api', his)).body.active).toBe(true)
    const flags = ['--grant-type', 'client_credentials', '--scope', 'orders:read', '--resource', API, '--json']
    const { stdout } = await server.run('clients', 'create', 'robot', ...flags)
    const { client_secret: secret } = JSON.parse(stdout) as { client_secret: string }
    const robots = tokensOf(await postForm(`${server.issuer}/token`, fields, basic('robot', secret))).access
    expect((await client.introspect('api', robots)).body.active).toBe(true)
    expect(await server.run('clients', 'disable', 'robot')).toMatchObject({ code: 0 })
    expect((await client.introspect('api', robots)).body).toEqual(INACTIVE)
  })
})
