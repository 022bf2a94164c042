/** RFC 8705: clients known by certificate, and tokens bound to one, behind a proxy that ends TLS. PROTOCOL.md E 37; attack A37. */
import { request as httpRequest } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { certificateThumbprint, type MadeCertificate, makeCertificate, rfc9440 } from '../../support/certificates.ts'
import { accessTokenHash, createKey, dpopProof } from '../../support/client_keys.ts'
import { API, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, OFFLINE, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { freePort } from '../../support/services.ts'
import { CERTIFICATE_HEADER } from '../../support/strict_client.ts'
import { basic, clientRequests, type Fields, payloadOf, postForm, tokensOf } from '../../support/token_requests.ts'

const authority = makeCertificate({ subject: '/O=Authority/CN=Root', ca: true })
const stranger = makeCertificate({ subject: '/O=Authority/CN=Root', ca: true })
const issued = (subject: string, more: object = {}) => makeCertificate({ subject, issuer: authority, ...more })
const good = issued('/C=FI/O=Shop, Oy/CN=client', {
  extensions: ['subjectAltName=DNS:client.shop.example,IP:192.0.2.7'],
})
const own = makeCertificate({ subject: '/CN=self' })
const ownToo = makeCertificate({ subject: '/CN=self' })
const certificateJwk = ({ x509 }: MadeCertificate) => ({
  ...(x509.publicKey.export({ format: 'jwk' }) as object),
  x5c: [x509.raw.toString('base64')],
})

const machine = { grant_types: ['client_credentials'], scope: 'orders:read', resources: [API] }
const byAuthority = { ...machine, token_endpoint_auth_method: 'tls_client_auth' }
const [shop, , , spa] = SETTINGS.clients
const BOUND = { tls_client_certificate_bound_access_tokens: true }
const CLIENTS = [
  { ...byAuthority, client_id: 'by-dn', tls_client_auth_subject_dn: 'CN=client,O=Shop\\, Oy,C=FI' },
  { ...byAuthority, client_id: 'by-dns', tls_client_auth_san_dns: 'client.shop.example' },
  { ...byAuthority, client_id: 'by-ip', tls_client_auth_san_ip: '192.0.2.7' },
  { ...byAuthority, client_id: 'by-another-name', tls_client_auth_san_dns: 'other.shop.example' },
  {
    ...machine,
    ...{ client_id: 'self', token_endpoint_auth_method: 'self_signed_tls_client_auth', ...BOUND },
    jwks: { keys: [certificateJwk(own)] },
  },
  { ...shop, ...BOUND, first_party: true },
  { ...spa, ...BOUND },
]

let server: Server
let ann: Person
let requests: ReturnType<typeof clientRequests>
let alias: string

beforeAll(async () => {
  const port = await freePort()
  alias = `http://127.0.0.1:${port}`
  const rest = SETTINGS.clients.filter(({ client_id: id }) => id !== 'web' && id !== 'spa')
  server = await startServer({
    port,
    settings: {
      ...SETTINGS,
      trusted_proxies: ['127.0.0.1'],
      mtls: { certificate_header: 'Client-Cert', trusted_ca: authority.cert, origin: alias },
      clients: [...rest, ...CLIENTS],
    },
  })
  requests = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

const shown = (certificate: MadeCertificate | string | undefined): { [name: string]: string } =>
  certificate === undefined
    ? {}
    : { [CERTIFICATE_HEADER]: typeof certificate === 'string' ? certificate : rfc9440(certificate) }
const credentials = (clientId: string, certificate?: MadeCertificate | string, changes: Fields = {}) =>
  postForm(
    `${server.issuer}/token`,
    { grant_type: 'client_credentials', client_id: clientId, scope: 'orders:read', resource: API, ...changes },
    shown(certificate),
  )
const REFUSED = { status: 401, body: { error: 'invalid_client' } }

describe('tls_client_auth (§2.1)', () => {
  it.each(['by-dn', 'by-dns', 'by-ip'])('%s', async (clientId) => {
    expect((await credentials(clientId, good)).status).toBe(200)
  })

  it.each([
    ['no certificate', undefined],
    ['a header that is none', 'nonsense'],
    ['its own certificate', own],
    [
      'one of another authority of the same name',
      makeCertificate({ subject: '/C=FI/O=Shop, Oy/CN=client', issuer: stranger }),
    ],
    ['one that has passed', issued('/C=FI/O=Shop, Oy/CN=client', { from: -3, until: -1 })],
    ['one that is to come', issued('/C=FI/O=Shop, Oy/CN=client', { from: 1, until: 3 })],
    ['another name', issued('/C=FI/O=Shop, Oy/CN=client2')],
    ['a longer name', issued('/C=FI/O=Shop, Oy/CN=client/CN=more')],
    ['a name in one part', issued('/CN=client,O=Shop\\\\, Oy,C=FI')],
    ['two certificates', `${rfc9440(good)}, ${rfc9440(good)}`],
  ])('%s is refused', async (_name, certificate) => {
    expect(await credentials('by-dn', certificate)).toMatchObject(REFUSED)
    expect((await credentials('by-dn', good)).status).toBe(200)
  })

  it('a good certificate is that of its own client alone, and no second proof', async () => {
    expect(await credentials('by-another-name', good)).toMatchObject(REFUSED)
    const withSecret = await credentials('by-dn', good, { client_secret: SECRET })
    expect([400, 401]).toContain(withSecret.status)
    expect(await credentials('machine', good)).toMatchObject(REFUSED)
  })
})

describe('self_signed_tls_client_auth (§2.2)', () => {
  it('is the registered certificate, and no other of the same name', async () => {
    expect((await credentials('self', own)).status).toBe(200)
    for (const certificate of [undefined, ownToo, good]) {
      expect(await credentials('self', certificate)).toMatchObject(REFUSED)
    }
  })
})

/** A request from another address of this machine, which is no trusted proxy. */
function fromElsewhere(localAddress: string, fields: { [name: string]: string }): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded', ...shown(good), connection: 'close' }
    const options = { host: '127.0.0.1', port: server.port, path: '/token', method: 'POST', headers, localAddress }
    const request = httpRequest(options, (answer) => {
      answer.resume()
      answer.once('end', () => resolve(answer.statusCode ?? 0))
    })
    request.once('error', reject)
    request.end(new URLSearchParams(fields).toString())
  })
}

it('the header of an untrusted peer is ignored, whatever it says (A37)', async () => {
  const fields = { grant_type: 'client_credentials', client_id: 'by-dn', scope: 'orders:read', resource: API }
  expect(await fromElsewhere('127.0.0.2', fields)).toBe(401)
  expect(await fromElsewhere('127.0.0.1', fields)).toBe(200)
})

describe('a bound token (§3)', () => {
  const code = async (certificate: MadeCertificate, parameters = {}) =>
    tokensOf(await requests.redeem(await ann.code('web', parameters), {}, 'web', shown(certificate)))

  it('opens userinfo with its certificate alone', async () => {
    const { access } = await code(good)
    for (const certificate of [undefined, own, 'nonsense']) {
      const refused = await requests.userinfo(access, 'Bearer', shown(certificate))
      expect([refused.status, refused.body.error]).toEqual([401, 'invalid_token'])
    }
    expect((await requests.userinfo(access, 'Bearer', shown(good))).status).toBe(200)
  })

  it('says its certificate at introspection, opaque or a JWT (§3.1, §3.2)', async () => {
    const cnf = { 'x5t#S256': certificateThumbprint(good) }
    const { access } = await code(good)
    expect((await requests.introspect('web', access)).body).toMatchObject({ active: true, token_type: 'Bearer', cnf })
    const parameters = { scope: 'openid orders:read', resource: API }
    const redeemed = await requests.redeem(await ann.code('web', parameters), { resource: API }, 'web', shown(good))
    const jwt = tokensOf(redeemed).access
    expect(payloadOf(jwt).cnf).toEqual(cnf)
    expect((await requests.introspect('api', jwt)).body).toMatchObject({ active: true, token_type: 'Bearer', cnf })
    const machines = String((await credentials('self', own)).body.access_token)
    expect(payloadOf(machines).cnf).toEqual({ 'x5t#S256': certificateThumbprint(own) })
  })

  it('is not given without a certificate', async () => {
    const refused = await requests.redeem(await ann.code('web'))
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_grant'])
  })

  it('refresh: a public client needs the same certificate, one with a secret needs any (§4)', async () => {
    const { refresh } = tokensOf(await requests.redeem(await ann.code('spa'), {}, 'spa', shown(good)))
    for (const certificate of [undefined, own]) {
      const refused = await requests.refresh('spa', refresh, {}, shown(certificate))
      expect([refused.status, refused.body.error]).toEqual([400, 'invalid_grant'])
    }
    expect((await requests.refresh('spa', refresh, {}, shown(good))).status).toBe(200)
    const confidential = (await code(good, OFFLINE)).refresh
    const renewed = tokensOf(await requests.refresh('web', confidential, {}, shown(own)))
    expect((await requests.userinfo(renewed.access, 'Bearer', shown(good))).status).toBe(401)
    expect((await requests.userinfo(renewed.access, 'Bearer', shown(own))).status).toBe(200)
  })
})

describe('mtls_endpoint_aliases (§5)', () => {
  const document = async (origin: string) =>
    (await (await fetch(`${origin}/.well-known/openid-configuration`)).json()) as { [name: string]: unknown }

  it('name the endpoints of programs at the other origin, and those alone', async () => {
    const { mtls_endpoint_aliases: aliases, ...metadata } = await document(server.issuer)
    expect(aliases).toMatchObject({
      token_endpoint: `${alias}/token`,
      pushed_authorization_request_endpoint: `${alias}/request`,
      userinfo_endpoint: `${alias}/me`,
    })
    for (const [name, url] of Object.entries(aliases as object)) {
      expect(String(metadata[name]).replace(server.issuer, alias)).toBe(url)
    }
    expect(aliases).not.toHaveProperty('authorization_endpoint')
    expect(aliases).not.toHaveProperty('jwks_uri')
    expect(metadata).toMatchObject({
      tls_client_certificate_bound_access_tokens: true,
      token_endpoint_auth_methods_supported: expect.arrayContaining(['tls_client_auth', 'self_signed_tls_client_auth']),
    })
  })

  it('a client proves itself there, and a DPoP proof names the alias', async () => {
    const key = createKey('proof')
    const redeem = async (htu: string) => {
      const code = await ann.code('own')
      const fields = { grant_type: 'authorization_code', code: code.code, code_verifier: code.verifier }
      const headers = { ...basic('own'), dpop: dpopProof(key, 'POST', htu) }
      return postForm(`${alias}/token`, { ...fields, redirect_uri: code.redirectUri }, headers)
    }
    expect(await redeem(`${server.issuer}/token`)).toMatchObject({ status: 400, body: { error: 'invalid_dpop_proof' } })
    const { access, id } = tokensOf(await redeem(`${alias}/token`))
    expect(payloadOf(id).iss).toBe(server.issuer)
    const me = (htu: string) =>
      fetch(`${alias}/me`, {
        headers: {
          authorization: `DPoP ${access}`,
          dpop: dpopProof(key, 'GET', htu, { ath: accessTokenHash(access) }),
        },
      })
    expect((await me(`${server.issuer}/me`)).status).toBe(401)
    expect((await me(`${alias}/me`)).status).toBe(200)
    expect(
      (await postForm(`${alias}/token`, { grant_type: 'client_credentials', client_id: 'by-dn' }, shown(own))).status,
    ).toBe(401)
  })

  it('everything else there is the issuer still, and no third name is one (A20)', async () => {
    expect(await document(alias)).toEqual(await document(server.issuer))
    // Made anew by whoever asks first, and then kept for everybody.
    const known = await fetch(`${alias}/.well-known/oauth-authorization-server?${Date.now()}`)
    const { authorization_endpoint: endpoint } = (await known.json()) as { authorization_endpoint?: string }
    expect(endpoint).toBe(`${server.issuer}/auth`)
    const { search } = new URL(authorizationRequest(server.issuer, 'own').url)
    const opened = await ann.browser.send(`${alias}/auth${search}`)
    const asked = await clientBrowser().send(`${alias}${opened.headers.location ?? ''}`)
    for (const { headers, body } of [opened, asked]) {
      expect(`${headers.location ?? ''} ${body}`.replaceAll(encodeURIComponent(alias), alias)).not.toContain(alias)
    }
    expect(opened.status).toBe(303)
    const key = createKey('proof')
    const evil = (htu: string) =>
      new Promise<number>((resolve, reject) => {
        const headers = {
          ...{ host: 'evil.example', connection: 'close', ...basic('machine') },
          ...{ 'content-type': 'application/x-www-form-urlencoded', dpop: dpopProof(key, 'POST', htu) },
        }
        const options = { host: '127.0.0.1', port: server.port, path: '/token', method: 'POST', headers }
        const request = httpRequest(options, (answer) => resolve(answer.resume().statusCode ?? 0))
        request.once('error', reject)
        request.end(
          new URLSearchParams({ grant_type: 'client_credentials', scope: 'orders:read', resource: API }).toString(),
        )
      })
    expect(await evil('http://evil.example/token')).toBe(400)
    expect(await evil(`${server.issuer}/token`)).toBe(200)
  })
})
