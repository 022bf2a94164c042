/** RFC 8693 with RFC 9449 and RFC 8705: a token that is bound to a key is exchanged by who has the key, and stays bound. */
import { X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type DpopKey, dpopKey } from '../../support/dpop_key.ts'
import {
  ACCESS_TOKEN,
  EXCHANGE_SETTINGS,
  exchangeRequests,
  LEDGER,
  service,
  VAULT,
} from '../../support/exchange_room.ts'
import { API } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { createCertificate } from '../../support/tls_proxy.ts'
import {
  type ClientRequests,
  clientRequests,
  payloadOf,
  type TokenAnswer,
  tokensOf,
} from '../../support/token_requests.ts'

const exchanging = { token_exchange: [{ resource: LEDGER, scopes: ['ledger:read'] }], resource_server_for: [API] }
const settings = {
  ...EXCHANGE_SETTINGS,
  mtls: { certificate_header: 'Client-Cert' },
  clients: [
    ...EXCHANGE_SETTINGS.clients,
    service('must_prove', { ...exchanging, dpop_bound_access_tokens: true }),
    service('certified', { ...exchanging, tls_client_certificate_bound_access_tokens: true }),
  ],
}
const certificate = (pem = createCertificate().cert) => ({
  headers: { 'client-cert': encodeURIComponent(pem) },
  thumbprint: Buffer.from(new X509Certificate(pem).fingerprint256.replaceAll(':', ''), 'hex').toString('base64url'),
})

let server: Server
let client: ClientRequests
let ann: Person
let room: ReturnType<typeof exchangeRequests>
let hers: DpopKey
let theirs: DpopKey
const [cert, otherCert] = [certificate(), certificate()]

beforeAll(async () => {
  server = await startServer({ settings, env: { TRUSTED_PROXIES: '127.0.0.1' } })
  client = clientRequests(server.issuer)
  room = exchangeRequests(client)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  hers = dpopKey(server.issuer)
  theirs = dpopKey(server.issuer)
})
afterAll(() => server?.close())

const boundTo = async ({ proof }: DpopKey, clientId = 'web') =>
  (await room.token(ann, clientId, API, 'openid ledger:read', proof())).access
const refused = ({ status, body }: TokenAnswer) => {
  expect(body).not.toHaveProperty('access_token')
  return [status, body.error]
}

describe.each(['web', 'opaque'])('a token of %s that is bound by DPoP', (clientId) => {
  it('is exchanged with a proof of its key alone, and the new one is bound to it', async () => {
    const token = await boundTo(hers, clientId)
    expect(refused(await room.exchange('orders', token))).toEqual([400, 'invalid_request'])
    expect(refused(await room.exchange('orders', token, {}, theirs.proof()))).toEqual([400, 'invalid_request'])
    expect(refused(await room.exchange('orders', token, {}, cert.headers))).toEqual([400, 'invalid_request'])
    for (const resource of [LEDGER, VAULT]) {
      const answer = await room.exchange('orders', token, { resource }, hers.proof())
      expect(answer.body.token_type).toBe('DPoP')
      expect((await client.introspect('orders', tokensOf(answer).access)).body).toMatchObject({
        ...{ active: true, token_type: 'DPoP', cnf: { jkt: hers.jkt }, act: { sub: 'orders' } },
      })
    }
  })

  it("is exchanged with the actor's own key where the row says so, never with none", async () => {
    const token = await boundTo(hers, clientId)
    expect(refused(await room.exchange('keys', token))).toEqual([400, 'invalid_request'])
    const answer = await room.exchange('keys', token, {}, theirs.proof())
    expect(payloadOf(tokensOf(answer).access).cnf).toEqual({ jkt: theirs.jkt })
    const byCertificate = await room.exchange('keys', token, {}, cert.headers)
    expect(payloadOf(tokensOf(byCertificate).access).cnf).toEqual({ 'x5t#S256': cert.thumbprint })
  })
})

describe('a token that is bound to nothing', () => {
  it('becomes one that is, when the actor shows a key', async () => {
    const { access } = await room.token(ann)
    const bound = tokensOf(await room.exchange('orders', access, {}, theirs.proof())).access
    expect(payloadOf(bound).cnf).toEqual({ jkt: theirs.jkt })
    // A certificate that every request through the proxy shows is none by itself.
    const loose = tokensOf(await room.exchange('orders', access, {}, cert.headers)).access
    expect(payloadOf(loose)).not.toHaveProperty('cnf')
  })

  it('is not exchanged without a key by a client that must show one', async () => {
    const { access } = await room.token(ann)
    expect(refused(await room.exchange('must_prove', access))).toEqual([400, 'invalid_grant'])
    expect((await room.exchange('must_prove', access, {}, theirs.proof())).status).toBe(200)
    expect(refused(await room.exchange('certified', access))).toEqual([400, 'invalid_grant'])
    const bound = tokensOf(await room.exchange('certified', access, {}, cert.headers)).access
    expect(payloadOf(bound).cnf).toEqual({ 'x5t#S256': cert.thumbprint })
  })
})

describe('a token that is bound to a certificate (RFC 8705 §3)', () => {
  it('is exchanged with that certificate alone', async () => {
    const { access } = await room.token(ann)
    const bound = tokensOf(await room.exchange('certified', access, {}, cert.headers)).access
    expect(refused(await room.exchange('ledger', bound, { resource: VAULT }))).toEqual([400, 'invalid_request'])
    for (const headers of [otherCert.headers, theirs.proof()]) {
      expect(refused(await room.exchange('ledger', bound, { resource: VAULT }, headers))).toEqual([
        400,
        'invalid_request',
      ])
    }
    const next = tokensOf(await room.exchange('ledger', bound, { resource: VAULT }, cert.headers)).access
    expect((await client.introspect('ledger', next)).body.cnf).toEqual({ 'x5t#S256': cert.thumbprint })
  })
})

describe('an actor token that is bound', () => {
  it('needs its key as well', async () => {
    const { access } = await room.token(ann)
    const bot = await room.machine('bot', API, theirs.proof())
    const actor = { actor_token: bot, actor_token_type: ACCESS_TOKEN }
    expect(refused(await room.exchange('gateway', access, actor))).toEqual([400, 'invalid_request'])
    expect(refused(await room.exchange('gateway', access, actor, hers.proof()))).toEqual([400, 'invalid_request'])
    expect((await room.exchange('gateway', access, actor, theirs.proof())).status).toBe(200)
  })
})

it('a proof serves one exchange, also of many at once (A64)', async () => {
  const token = await boundTo(hers)
  const proof = hers.proof()
  const answers = await Promise.all(Array.from({ length: 12 }, () => room.exchange('orders', token, {}, proof)))
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  expect(answers.filter(({ body }) => body.error === 'invalid_grant')).toHaveLength(11)
})
