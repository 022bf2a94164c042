/** OpenID Connect Core 1.0 §8: pairwise subjects, the same wherever a client meets one, and another to each sector. */
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { API, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { scratchFolder } from '../../support/services.ts'
import { startTlsProxy, type TlsProxy } from '../../support/tls_proxy.ts'
import { type ClientRequests, clientRequests, type Fields, payloadOf, tokensOf } from '../../support/token_requests.ts'

const LEDGER = 'https://ledger.test.example'
const heard: string[] = []
const receiver = createServer((request, response) => {
  if (request.url === '/redirects.json') {
    response.end(JSON.stringify([redirectUri('group-a'), redirectUri('group-b')]))
    return
  }
  let body = ''
  request.on('data', (part: Buffer) => {
    body += part.toString()
  })
  request.on('end', () => {
    heard.push(new URLSearchParams(body).get('logout_token') ?? '')
    response.end()
  })
})

let server: Server
let site: TlsProxy
let client: ClientRequests
let ann: Person
let bob: Person

beforeAll(async () => {
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const { port } = receiver.address() as AddressInfo
  site = await startTlsProxy({ target: `http://127.0.0.1:${port}` })
  const ca = join(await scratchFolder('ca-'), 'ca.pem')
  writeFileSync(ca, site.ca)
  const pairwise = (id: string, more: object = {}) => ({
    ...{ client_id: id, client_secret: SECRET, first_party: true, subject_type: 'pairwise' },
    ...{ redirect_uris: [redirectUri(id)], scope: 'openid email offline_access orders:read ledger:read' },
    ...{ resources: [API, LEDGER], ...more },
  })
  const sector = { sector_identifier_uri: `${site.origin}/redirects.json` }
  const clients = [
    pairwise('shop', { backchannel_logout_uri: `http://127.0.0.1:${port}/shop` }),
    pairwise('shop-too', { redirect_uris: ['https://shop.test.example/too'] }),
    pairwise('bank'),
    pairwise('group-a', sector),
    pairwise('group-b', sector),
  ]
  const ledger = {
    client_id: 'ledger',
    client_secret: SECRET,
    grant_types: ['client_credentials'],
    scope: 'ledger:read',
  }
  server = await startServer({
    // Whom a process trusts is settled at its start.
    ...{ process: 'own', env: { NODE_EXTRA_CA_CERTS: ca } },
    settings: {
      resources: [
        ...SETTINGS.resources,
        { identifier: LEDGER, scopes: ['ledger:read'], access_token_format: 'opaque' },
      ],
      clients: [...SETTINGS.clients, ...clients, { ...ledger, resource_server_for: [LEDGER] }],
    },
  })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  bob = await newPerson(server.issuer, mailFolder(server.dataDir), 'bob@example.com')
})
afterAll(async () => {
  await server?.close()
  await site?.stop()
  await new Promise((resolve) => receiver.close(resolve))
})

const subjectOf = async (clientId: string, person = ann, parameters: Fields = {}) =>
  String(payloadOf((await person.tokens(clientId, parameters)).id).sub)
async function resourceToken(resource: string, scope: string): Promise<string> {
  const code = await ann.code('shop', { resource, scope: `openid ${scope}` })
  return tokensOf(await client.redeem(code, { resource })).access
}

describe('the subject', () => {
  it('differs between sectors, and is one within', async () => {
    const account = await subjectOf('own')
    const shop = await subjectOf('shop')
    const bank = await subjectOf('bank')
    const group = await subjectOf('group-a')
    expect(new Set([account, shop, bank, group]).size).toBe(4)
    expect(await subjectOf('shop-too', ann, { redirect_uri: 'https://shop.test.example/too' })).toBe(shop)
    expect(await subjectOf('group-b')).toBe(group)
    expect(await subjectOf('shop')).toBe(shop)
    expect(await subjectOf('shop', bob)).not.toBe(shop)
  })

  it('is the same in ID token, userinfo, introspection and the tokens of resource servers', async () => {
    const { id, access, refresh } = await ann.tokens('shop', {
      scope: 'openid email offline_access',
      prompt: 'consent',
    })
    const { sub } = payloadOf(id)
    expect((await client.userinfo(access)).body).toMatchObject({ sub, email: ann.email })
    for (const token of [access, refresh]) expect((await client.introspect('shop', token)).body.sub).toBe(sub)
    const jwt = await resourceToken(API, 'orders:read')
    expect(payloadOf(jwt).sub).toBe(sub)
    expect((await client.introspect('api', jwt)).body).toMatchObject({ active: true, sub })
    const opaque = await resourceToken(LEDGER, 'ledger:read')
    expect((await client.introspect('ledger', opaque)).body).toMatchObject({ active: true, sub })
    const renewed = tokensOf(await client.refresh('shop', refresh))
    expect(payloadOf(renewed.id).sub).toBe(sub)
  })

  it('nothing that the client gets names the account', async () => {
    const account = await subjectOf('own')
    const code = await ann.code('shop', { scope: 'openid email' })
    const answer = await client.redeem(code)
    const me = await client.userinfo(tokensOf(answer).access)
    const jwt = await resourceToken(API, 'orders:read')
    const all = [answer.body, me.body, payloadOf(tokensOf(answer).id), payloadOf(jwt)]
    expect(JSON.stringify(all)).not.toContain(account)
  })
})

describe('the client names whom it expects', () => {
  const claims = (value: unknown) => JSON.stringify({ id_token: { sub: { value } } })

  it('by id_token_hint, and prompt=none', async () => {
    const mine = (await ann.tokens('shop')).id
    const theirs = (await bob.tokens('shop')).id
    expect((await ann.authorize('shop', { prompt: 'none', id_token_hint: mine })).params.has('code')).toBe(true)
    const refused = await ann.authorize('shop', { prompt: 'none', id_token_hint: theirs })
    expect(refused.params.get('error')).toBe('login_required')
  })

  it('by a value of the claim sub', async () => {
    const mine = await subjectOf('shop')
    expect((await ann.authorize('shop', { prompt: 'none', claims: claims(mine) })).params.has('code')).toBe(true)
    for (const other of [await subjectOf('bank'), await subjectOf('own'), await subjectOf('shop', bob)]) {
      const refused = await ann.authorize('shop', { prompt: 'none', claims: claims(other) })
      expect(refused.params.get('error')).toBe('login_required')
    }
  })
})

describe('the logout token', () => {
  it('names the subject of its client', async () => {
    const elsewhere = await ann.elsewhere()
    const { id } = await elsewhere.tokens('shop')
    const page = await elsewhere.browser.get(
      `${server.issuer}/session/end?${new URLSearchParams({ id_token_hint: id })}`,
    )
    const form = page.forms.findIndex(({ action }) => action.includes('/session/end'))
    if (form >= 0) await elsewhere.browser.submit(page, {}, { form })
    const until = Date.now() + 20_000
    while (heard.length === 0 && Date.now() < until) await sleep(50)
    expect(payloadOf(heard[0] ?? '..')).toMatchObject({ sub: payloadOf(id).sub, aud: 'shop' })
  })
})

describe('introspection of a JWT', () => {
  it('is active while the account is, and no longer', async () => {
    const carl = await newPerson(server.issuer, mailFolder(server.dataDir), 'carl@example.com')
    const code = await carl.code('shop', { resource: API, scope: 'openid orders:read' })
    const jwt = tokensOf(await client.redeem(code, { resource: API })).access
    expect((await client.introspect('api', jwt)).body).toMatchObject({ active: true, sub: payloadOf(jwt).sub })
    const result = await server.run('accounts', 'disable', 'carl@example.com')
    expect([result.code, result.stderr]).toEqual([0, expect.any(String)])
    const until = Date.now() + 10_000
    let told = (await client.introspect('api', jwt)).body
    while (told.active === true && Date.now() < until) {
      await sleep(50)
      told = (await client.introspect('api', jwt)).body
    }
    expect(told).toEqual({ active: false })
    expect((await client.introspect('api', await resourceToken(API, 'orders:read'))).body).toMatchObject({
      active: true,
    })
  })
})
