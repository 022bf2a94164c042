/**
 * CIBA Core 1.0 for clients that have keys: signed requests (§7.1.1), pairwise subjects, and the ping (§10.2). By the modules of the
 * suite's plan fapi-ciba-id1 (PROTOCOL.md A1).
 */
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { SignJWT } from 'jose'
import { allowLatest, answer, CIBA, openLatest, till } from '../../support/approvals.ts'
import { dpopKey } from '../../support/dpop_key.ts'
import { SECRET, SETTINGS } from '../../support/journeys.ts'
import { type Mailbox, mailFolder } from '../../support/mailbox.ts'
import { newPerson } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { scratchFolder } from '../../support/services.ts'
import { startTlsProxy, type TlsProxy } from '../../support/tls_proxy.ts'
import { payloadOf, postForm, tokensOf } from '../../support/token_requests.ts'

const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const JWKS = {
  keys: [
    { ...keys.publicKey.export({ format: 'jwk' }), kid: 'ec', alg: 'ES256', use: 'sig' },
    { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'rsa', use: 'sig' },
  ],
}

interface Heard {
  readonly path: string
  readonly authorization: string | undefined
  readonly type: string | undefined
  readonly body: unknown
}
const heard: Heard[] = []
/** What the client answers to the next pings, before 204. */
const answers: { readonly status: number; readonly headers?: { [name: string]: string } }[] = []
const origin = createServer((request, response) => {
  if (request.url === '/jwks')
    return void response.setHeader('content-type', 'application/json').end(JSON.stringify(JWKS))
  let body = ''
  request.on('data', (part: Buffer) => {
    body += part.toString()
  })
  request.on('end', () => {
    const { authorization, 'content-type': type } = request.headers
    heard.push({ path: request.url ?? '', authorization, type, body: JSON.parse(body || 'null') })
    const { status, headers = {} } = answers.shift() ?? { status: 204 }
    response.writeHead(status, headers).end()
  })
})

let server: Server
let site: TlsProxy
let mailbox: Mailbox
let people = 0
const somebody = () => newPerson(server.issuer, mailbox, `person-${++people}@example.com`)

beforeAll(async () => {
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve))
  site = await startTlsProxy({ target: `http://127.0.0.1:${(origin.address() as AddressInfo).port}` })
  const ca = join(await scratchFolder('ca-'), 'ca.pem')
  writeFileSync(ca, site.ca)
  const pinged = {
    ...{ client_name: 'Pinged till', grant_types: [CIBA], scope: 'openid' },
    ...{ backchannel_token_delivery_mode: 'ping', backchannel_client_notification_endpoint: `${site.origin}/ping` },
  }
  const bank = {
    ...pinged,
    ...{ client_id: 'bank', profile: 'fapi2', subject_type: 'pairwise', jwks_uri: `${site.origin}/jwks` },
    backchannel_authentication_request_signing_alg: 'ES256',
  }
  const clients = [...SETTINGS.clients, { ...pinged, client_id: 'pinged', client_secret: SECRET }, bank]
  // Whom a process trusts is settled at its start.
  server = await startServer({ settings: { ...SETTINGS, clients }, process: 'own', env: { NODE_EXTRA_CA_CERTS: ca } })
  mailbox = mailFolder(server.dataDir)
})
afterAll(async () => {
  await server?.close()
  await site?.stop()
  origin.close()
})
beforeEach(() => {
  heard.length = 0
  answers.length = 0
})

async function pings(count: number): Promise<readonly Heard[]> {
  for (const until = Date.now() + 20_000; heard.length < count; await sleep(50)) {
    if (Date.now() > until) throw new Error(`${heard.length} of ${count} pings`)
  }
  return heard
}

const now = () => Math.floor(Date.now() / 1000)

/** A client assertion of the bank. */
const assertion = async () => ({
  client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  client_assertion: await new SignJWT({ jti: randomUUID() })
    .setProtectedHeader({ alg: 'ES256', kid: 'ec' })
    .setIssuer('bank')
    .setSubject('bank')
    .setAudience(server.issuer)
    .setExpirationTime('1m')
    .sign(keys.privateKey),
})

type Claims = { readonly [claim: string]: unknown }

/** What is good, of somebody who is nobody; a claim that is undefined is left out. */
const claimsOf = (more: Claims): Claims => ({
  ...{ iss: 'bank', aud: server.issuer, iat: now(), nbf: now(), exp: now() + 300, jti: randomUUID() },
  ...{ scope: 'openid', client_notification_token: 'a-token-of-the-client', binding_message: 'W4SCT' },
  ...(more.id_token_hint === undefined && { login_hint: 'nobody@example.com' }),
  ...more,
})

async function requestOf(more: Claims, key = keys.privateKey, header = { alg: 'ES256', kid: 'ec' }): Promise<string> {
  const claims = Object.fromEntries(Object.entries(claimsOf(more)).filter(([, value]) => value !== undefined))
  return new SignJWT(claims).setProtectedHeader(header).sign(key)
}

const send = async (fields: { readonly [name: string]: string }) =>
  postForm(`${server.issuer}/backchannel`, { client_id: 'bank', ...(await assertion()), ...fields })

async function poll(authReqId: unknown) {
  const fields = { grant_type: CIBA, auth_req_id: String(authReqId), client_id: 'bank', ...(await assertion()) }
  return postForm(`${server.issuer}/token`, fields, dpopKey(server.issuer).proof())
}

describe('the ping', () => {
  const asked = async (email: string) =>
    till(server.issuer, 'pinged').ask({ login_hint: email, client_notification_token: 'the-token.of_this~request' })

  it('fapi-ciba-id1-ping: comes once there is an answer, with the token of the request and nothing of the answer', async () => {
    const ann = await somebody()
    const id = await asked(ann.email)
    await sleep(300)
    expect(heard).toEqual([])
    await allowLatest(ann, server.issuer)
    const [ping] = await pings(1)
    expect(ping).toMatchObject({
      path: '/ping',
      authorization: 'Bearer the-token.of_this~request',
      body: { auth_req_id: id },
    })
    expect(ping?.type).toMatch(/^application\/json/)
    expect((await till(server.issuer, 'pinged').poll(id)).status).toBe(200)
  })

  it('comes for a no, too', async () => {
    const ann = await somebody()
    const id = await asked(ann.email)
    await answer(ann.browser, await openLatest(ann, server.issuer), 'deny')
    expect((await pings(1))[0]?.body).toEqual({ auth_req_id: id })
    expect((await till(server.issuer, 'pinged').poll(id)).body.error).toBe('access_denied')
  })

  it('fapi-ciba-id1-ping-notification-endpoint-response: is tried again, holds nobody up, and follows nowhere', async () => {
    const refusals = [401, 403, 503].map((status) => ({ status }))
    answers.push(...refusals, { status: 302, headers: { location: `${site.origin}/elsewhere` } })
    const people = [await somebody(), await somebody(), await somebody(), await somebody()]
    const ids = await Promise.all(people.map(({ email }) => asked(email)))
    const ends = await Promise.all(people.map((person) => allowLatest(person, server.issuer)))
    for (const { text } of ends) expect(text).toContain('You have allowed it')
    // The answer does not depend on the ping.
    const polled = await Promise.all(ids.map((id) => till(server.issuer, 'pinged').poll(id)))
    expect(polled.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    const all = await pings(8)
    expect(new Set(all.map(({ path }) => path))).toEqual(new Set(['/ping']))
    expect(all.map(({ body }) => (body as { auth_req_id: string }).auth_req_id).sort()).toEqual([...ids, ...ids].sort())
  })

  it.each([
    ['no client_notification_token', undefined],
    ['one that is no bearer token', 'two words'],
    ['one of more than 1024 characters', 'x'.repeat(1025)],
  ])('a request with %s is refused', async (_name, token) => {
    const fields = { login_hint: 'nobody@example.com', client_notification_token: token }
    const { status, body } = await till(server.issuer, 'pinged').request(fields)
    expect([status, body.error]).toEqual([400, 'invalid_request'])
  })
})

describe('signed requests', () => {
  it('fapi-ciba-id1: a signed request, a bound token, and a subject of the sector’s own, by which the person is named again', async () => {
    const ann = await somebody()
    const asked = await send({ request: await requestOf({ login_hint: ann.email, binding_message: 'W4SCT' }) })
    expect(asked.status).toBe(200)
    expect((await openLatest(ann, server.issuer)).text).toContain('W4SCT')
    await allowLatest(ann, server.issuer)
    const { id } = tokensOf(await poll(asked.body.auth_req_id))
    const { sub } = payloadOf(id)
    expect(sub).toMatch(/^[\w-]{43}$/)

    const again = await send({ request: await requestOf({ id_token_hint: id }) })
    expect(again.status).toBe(200)
    await allowLatest(ann, server.issuer)
    expect(payloadOf(tokensOf(await poll(again.body.auth_req_id)).id).sub).toBe(sub)
  })

  it.each<readonly [string, () => Promise<string>]>([
    ['without exp', () => requestOf({ exp: undefined })],
    ['that is over', () => requestOf({ exp: now() - 60 })],
    ['good for more than an hour', () => requestOf({ exp: now() + 3700 })],
    ['without nbf', () => requestOf({ nbf: undefined })],
    ['not yet good', () => requestOf({ nbf: now() + 600, exp: now() + 900 })],
    ['made long ago', () => requestOf({ nbf: now() - 4000 })],
    ['without iat', () => requestOf({ iat: undefined })],
    ['without jti', () => requestOf({ jti: undefined })],
    // FAPI-CIBA §5.2.2: nothing else tells the person which request it is.
    ['without a binding_message', () => requestOf({ binding_message: undefined })],
    ['without aud', () => requestOf({ aud: undefined })],
    ['for somebody else', () => requestOf({ aud: 'https://other.example' })],
    ['without iss', () => requestOf({ iss: undefined })],
    ['of another client', () => requestOf({ iss: 'pinged' })],
    ['signed by RS256', () => requestOf({}, rsa.privateKey, { alg: 'RS256', kid: 'rsa' })],
    [
      'signed by PS256, which is not the registered one',
      () => requestOf({}, rsa.privateKey, { alg: 'PS256', kid: 'rsa' }),
    ],
    ['signed by a key of somebody else', () => requestOf({}, foreign.privateKey)],
    [
      'that is not signed',
      async () =>
        `${[{ alg: 'none' }, claimsOf({})].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`,
    ],
  ])('fapi-ciba-id1-ensure-request-object-fails: %s', async (_name, make) => {
    const { status, body } = await send({ request: await make() })
    expect([status, body.error]).toEqual([400, 'invalid_request'])
  })

  it('the same without the fault is good', async () => {
    expect((await send({ request: await requestOf({}) })).status).toBe(200)
  })

  it('parameters beside a request are no part of it, and without a request there is none', async () => {
    const request = await requestOf({ login_hint: undefined })
    expect((await send({ request, login_hint: 'nobody@example.com' })).body.error).toBe('invalid_request')
    const plain = { scope: 'openid', login_hint: 'nobody@example.com', client_notification_token: 'token' }
    expect((await send(plain)).body.error).toBe('invalid_request')
  })

  it('fapi-ciba-id1-ensure-client-assertion-in-…-is-required', async () => {
    const request = await requestOf({ login_hint: 'nobody@example.com' })
    const bare = await postForm(`${server.issuer}/backchannel`, { client_id: 'bank', request })
    expect([bare.status, bare.body.error]).toEqual([401, 'invalid_client'])
    const token = await postForm(`${server.issuer}/token`, { grant_type: CIBA, auth_req_id: 'x', client_id: 'bank' })
    expect([token.status, token.body.error]).toEqual([401, 'invalid_client'])
  })
})
