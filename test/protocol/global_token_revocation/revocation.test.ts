/** draft-parecki-oauth-global-token-revocation, RFC 9493: one call ends everything of an account, on both stores. */
import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { es256With, jws } from '../../support/forged_jwts.ts'
import { API, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, OFFLINE, type Person, redirectUri } from '../../support/people.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import {
  answerOf,
  basic,
  type ClientRequests,
  clientRequests,
  payloadOf,
  tokensOf,
} from '../../support/token_requests.ts'

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const tool = {
  ...{ grant_types: ['client_credentials'], scope: 'orders:read', resources: [API], global_revocation: true },
}
const keyed = {
  ...{ ...tool, client_id: 'keyed-tool', token_endpoint_auth_method: 'private_key_jwt' },
  jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k' }] },
}

describe.each(['Redis', 'embedded'] as const)('with %s', (kind) => {
  const heard: string[] = []
  const receiver = createServer(async (request, response) => {
    let body = ''
    for await (const part of request) body += String(part)
    heard.push(new URLSearchParams(body).get('logout_token') ?? '')
    response.end()
  })
  let server: Server
  let as: ClientRequests
  let count = 0

  beforeAll(async () => {
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
    const hearing = {
      ...{ client_id: 'rp', client_secret: SECRET, first_party: true, redirect_uris: [redirectUri('rp')] },
      ...{ scope: 'openid offline_access' },
      backchannel_logout_uri: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
    }
    const settings = {
      ...SETTINGS,
      clients: [
        ...SETTINGS.clients,
        hearing,
        { ...tool, client_id: 'tool', client_secret: SECRET },
        { ...tool, client_id: 'slow-tool', client_secret: SECRET, rate_limit: { requests: 1, seconds: 3600 } },
        keyed,
      ],
    }
    server = await startServer({ settings, stores: kind === 'Redis' ? await realStores() : 'embedded' })
    as = clientRequests(server.issuer)
  })
  afterAll(async () => {
    await server?.close()
    await new Promise((resolve) => receiver.close(resolve))
  })

  const call = async (body: unknown, headers: { [name: string]: string } = basic('tool')) =>
    answerOf(
      await fetch(`${server.issuer}/global-token-revocation`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    )
  const someone = (name: string) => newPerson(server.issuer, mailFolder(server.dataDir), `${name}@example.com`)
  const iss = () => server.issuer
  const byEmail = ({ email }: Person) => ({ sub_id: { format: 'email', email } })
  const assertion = (claims: object = {}) => {
    const now = Math.floor(Date.now() / 1000)
    const all = { iss: 'keyed-tool', sub: 'keyed-tool', aud: iss(), jti: `${++count}`, iat: now, exp: now + 60 }
    return jws({ alg: 'ES256', kid: 'k' }, { ...all, ...claims }, es256With(privateKey))
  }

  it('ends sessions, refresh tokens, access tokens and codes, and tells the clients', async () => {
    const ann = await someone('ann')
    const ben = await someone('ben')
    const elsewhere = await ann.elsewhere()
    const web = tokensOf(await as.redeem(await ann.code('own', OFFLINE)))
    await ann.tokens('rp', OFFLINE)
    const pending = await elsewhere.code('own')
    const bens = tokensOf(await as.redeem(await ben.code('own', OFFLINE)))
    expect((await as.userinfo(web.access)).status).toBe(200)

    const answer = await call({ sub_id: { format: 'iss_sub', iss: iss(), sub: payloadOf(web.id).sub } })
    expect([answer.status, answer.body.text]).toEqual([204, ''])
    expect(answer.headers.get('cache-control')).toBe('no-store')

    expect([await ann.signedIn(), await elsewhere.signedIn()]).toEqual([false, false])
    expect((await as.userinfo(web.access)).status).toBe(401)
    expect((await as.introspect('own', web.access)).body).toEqual({ active: false })
    expect((await as.refresh('own', web.refresh)).body.error).toBe('invalid_grant')
    expect((await as.redeem(pending)).body.error).toBe('invalid_grant')
    for (let tries = 0; heard.length === 0 && tries < 200; tries++) await sleep(50)
    expect(heard.map((token) => payloadOf(token).aud)).toContain('rp')

    expect(await ben.signedIn()).toBe(true)
    expect((await as.refresh('own', bens.refresh)).status).toBe(200)
    const { stdout } = await server.run('audit', 'list', '--type', 'sessions.ended', '--json')
    expect(JSON.parse(stdout)[0]).toMatchObject({ actor: 'client:tool', data: { reason: 'revoked_by_client' } })
  })

  it('takes every format, any number of times, and whoever was ended signs in again', async () => {
    const cleo = await someone('cleo')
    const { sub } = payloadOf((await cleo.tokens('own')).id)
    for (const sub_id of [
      { format: 'email', email: cleo.email },
      { format: 'email', email: cleo.email.toUpperCase() },
      { format: 'opaque', id: sub },
      { format: 'iss_sub', iss: iss(), sub },
    ]) {
      const again = await cleo.elsewhere()
      expect(await again.signedIn()).toBe(true)
      expect((await call({ sub_id })).status).toBe(204)
      expect((await call({ sub_id })).status).toBe(204)
      expect(await again.signedIn()).toBe(false)
    }
  })

  it('answers for nobody as for somebody, and takes as long', async () => {
    const dan = await someone('dan')
    const timed = async (body: unknown) => {
      const began = performance.now()
      const { status, body: said } = await call(body)
      return { status, said, took: performance.now() - began }
    }
    const known = await timed(byEmail(dan))
    for (const sub_id of [
      { format: 'email', email: 'nobody@example.com' },
      { format: 'email', email: 'no address' },
      { format: 'opaque', id: 'nobody' },
      { format: 'iss_sub', iss: iss(), sub: "' or 1=1 --" },
    ]) {
      const unknown = await timed({ sub_id })
      expect([unknown.status, unknown.said]).toEqual([known.status, known.said])
      expect(unknown.took).toBeGreaterThan(390)
    }
    expect(known.took).toBeGreaterThan(390)
  })

  it('serves clients that may, by their own way of authenticating, and nobody else', async () => {
    const eve = await someone('eve')
    const body = byEmail(eve)
    const shared = assertion()
    const refusals: readonly (readonly [string, number, unknown, { [name: string]: string }])[] = [
      ['a client that may not', 403, body, basic('machine')],
      ['a public client', 403, { ...body, client_id: 'spa' }, {}],
      ['a wrong secret', 401, body, basic('tool', 'wrong')],
      ['an unknown client', 401, body, basic('nobody')],
      ['nobody', 400, body, {}],
      ['an access token', 400, body, { authorization: `Bearer ${(await eve.tokens('own')).access}` }],
      [
        'an assertion for somebody else',
        401,
        body,
        { authorization: `Bearer ${assertion({ aud: 'https://x.example' })}` },
      ],
      ['another issuer', 400, { sub_id: { format: 'iss_sub', iss: 'https://x.example', sub: 'x' } }, basic('tool')],
      ['another format', 400, { sub_id: { format: 'phone_number', phone_number: '+358401234567' } }, basic('tool')],
      ['no subject', 400, {}, basic('tool')],
      ['a NUL', 400, { sub_id: { format: 'email', email: 'a\u0000@example.com' } }, basic('tool')],
      ['no JSON', 400, '{', basic('tool')],
      ['a list', 400, [], basic('tool')],
      ['null', 400, 'null', basic('tool')],
    ]
    for (const [name, status, sent, headers] of refusals) {
      const answer = await call(sent, headers)
      expect([name, answer.status, typeof answer.body.error]).toEqual([name, status, 'string'])
    }
    expect((await call(' '.repeat(20_000))).status).toBe(413)
    expect((await fetch(`${iss()}/global-token-revocation`)).status).toBe(405)
    expect((await call('sub_id=x', { ...basic('tool'), 'content-type': 'text/plain' })).status).toBe(400)
    expect(await eve.signedIn()).toBe(true)
    expect((await call(body, { authorization: `Bearer ${shared}` })).status).toBe(204)
    expect(await eve.signedIn()).toBe(false)
    expect((await call(body, { authorization: `Bearer ${shared}` })).status).toBe(401)
    expect((await call({ ...body, client_id: 'tool', client_secret: SECRET }, {})).status).toBe(204)
  })

  it('counts as a request of the client, has a reason, and no page can call it', async () => {
    const body = { sub_id: { format: 'opaque', id: 'nobody' } }
    expect((await call(body, basic('slow-tool'))).status).toBe(204)
    const refused = await call(body, basic('slow-tool'))
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, expect.any(String)])
    const denied = await call(body, { ...basic('machine'), origin: 'https://spa.test.example' })
    expect([denied.status, denied.headers.get('access-control-allow-origin')]).toEqual([403, null])
    const reference = String(denied.headers.get('x-request-id'))
    let told = { code: 1 as number | null, stdout: '' }
    for (let tries = 0; told.code !== 0 && tries < 60; tries++) {
      told = await server.run('audit', 'explain', reference, '--json')
      await sleep(50)
    }
    expect(JSON.parse(told.stdout)).toMatchObject({
      ...{ reason: 'global_revocation_not_allowed', endpoint: 'global_token_revocation', client: 'machine' },
    })
  })

  it('is in both documents', async () => {
    for (const name of ['openid-configuration', 'oauth-authorization-server']) {
      const document = await (await fetch(`${iss()}/.well-known/${name}`)).json()
      expect(document).toMatchObject({ global_token_revocation_endpoint: `${iss()}/global-token-revocation` })
    }
  })
})
