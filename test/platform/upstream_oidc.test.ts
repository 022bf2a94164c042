/** The OpenID Connect driver against an independent provider that lies, stumbles and changes its keys when told to. */
import { createPrivateKey, createPublicKey, createSign } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import {
  CompactEncrypt,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  exportPKCS8,
  generateKeyPair,
  importJWK,
  SignJWT,
} from 'jose'
import type { ClientMetadata, JWK } from 'oidc-provider'
import { createHttpClient } from '../../src/platform/http_client.ts'
import type { Arrival, Departed, Departure, Upstream } from '../../src/platform/upstream.ts'
import type { UpstreamKey } from '../../src/platform/upstream_keys.ts'
import { createOidcUpstream } from '../../src/platform/upstream_oidc.ts'
import type { OidcUpstreamSettings } from '../../src/platform/upstream_oidc_settings.ts'
import { describeUpstream, type UpstreamTrouble, upstreamFailure } from '../contracts/upstream.ts'
import { type FakeState, type FakeUpstream, startFakeUpstream } from '../support/fake_upstream.ts'
import { forgeries, jws } from '../support/forged_jwts.ts'

const REDIRECT = 'https://genkan.test.example/upstream/fake/callback'
const STATE = 'state-of-this-departure'
const SECRET = 'a secret of the client at the fake provider'
const LOOPBACK = ['127.0.0.0/8']
const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const EVENTS = { [EVENT]: {} }

async function newKey(algorithm: string, keyId: string): Promise<{ key: UpstreamKey; jwk: JWK }> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
  const jwk = { ...(await exportJWK(publicKey)), kid: keyId, alg: algorithm } as JWK
  return { key: { privateKey: await exportPKCS8(privateKey), keyId, algorithm }, jwk }
}

const signing = await newKey('ES256', 'ours-sig')
const decryption = await newKey('RSA-OAEP-256', 'ours-enc')
const appleKey = await newKey('ES256', 'APPLEKEY01')

const base = { redirect_uris: [REDIRECT], grant_types: ['authorization_code'], response_types: ['code'] as const }
const CLIENTS = [
  { ...base, client_id: 'basic', client_secret: SECRET, token_endpoint_auth_method: 'client_secret_basic' },
  { ...base, client_id: 'post', client_secret: SECRET, token_endpoint_auth_method: 'client_secret_post' },
  { ...base, client_id: 'public', token_endpoint_auth_method: 'none' },
  { ...base, client_id: 'pairwise', client_secret: SECRET, subject_type: 'pairwise' },
  {
    ...base,
    client_id: 'bank',
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    request_object_signing_alg: 'ES256',
    require_signed_request_object: true,
    id_token_encrypted_response_alg: 'RSA-OAEP-256',
    id_token_encrypted_response_enc: 'A256GCM',
    jwks: {
      keys: [
        { ...signing.jwk, use: 'sig' },
        { ...decryption.jwk, use: 'enc' },
      ],
    },
  },
] as unknown as ClientMetadata[]

describe('OpenID Connect', () => {
  let fake: FakeUpstream
  let settings: OidcUpstreamSettings
  let time = 0
  const clock = { now: () => new Date(Date.now() + time) }
  const http = createHttpClient({ allowedNetworks: LOOPBACK })

  beforeAll(async () => {
    fake = await startFakeUpstream(CLIENTS)
  })
  afterAll(() => fake.stop())
  beforeEach(async () => {
    time = 0
    await fake.tell({ reset: true, automatic: 'continue' })
    settings = {
      issuer: fake.issuer,
      clientId: 'basic',
      clientAuthentication: { method: 'client_secret_basic', secret: SECRET },
      scopes: ['openid', 'email', 'profile'],
    }
  })

  const create = (more: Partial<OidcUpstreamSettings> = {}) =>
    createOidcUpstream({ ...settings, ...more }, { http, clock })
  const go = (upstream: Upstream, more: Partial<Departure> = {}) =>
    upstream.depart({ redirectUri: REDIRECT, state: STATE, ...more })
  const arrive = async (departed: Departed): Promise<Arrival> => ({
    ...(await fake.travel(departed.url, REDIRECT)),
    ...{ redirectUri: REDIRECT, state: STATE, kept: departed.kept },
  })
  const signIn = async (upstream: Upstream, more: Partial<Departure> = {}) =>
    upstream.finish(await arrive(await go(upstream, more)))
  const reason = async (upstream: Upstream, more: Partial<Departure> = {}) =>
    (await upstreamFailure(signIn(upstream, more))).reason
  const asked = async (path: string) => (await fake.seen()).requests.filter((request) => request.path === path)

  describe('requests', () => {
    it.each([
      ['client_secret_basic', 'basic'],
      ['client_secret_post', 'post'],
    ] as const)('proves the client by %s', async (method, clientId) => {
      const upstream = create({ clientId, clientAuthentication: { method, secret: SECRET } })
      expect(await signIn(upstream)).toMatchObject({ subject: 'somebody' })
      const [token] = await asked('/token')
      expect(token?.authorization?.startsWith('Basic ') === true).toBe(method === 'client_secret_basic')
      const wrong = create({ clientId, clientAuthentication: { method, secret: 'wrong' } })
      await fake.tell({ metadata: { pushed_authorization_request_endpoint: null } })
      const { failure } = await upstreamFailure(signIn(wrong))
      expect(failure).toBe('misconfigured')
    })

    it('is a public client where it must', async () => {
      expect(await signIn(create({ clientId: 'public', clientAuthentication: { method: 'none' } }))).toMatchObject({
        subject: 'somebody',
      })
    })

    it('pushes the request where that is offered (RFC 9126), and shows everything where it is not', async () => {
      const pushed = new URL((await go(create())).url).searchParams
      expect([...pushed.keys()].sort()).toEqual(['client_id', 'request_uri'])
      await fake.tell({ metadata: { pushed_authorization_request_endpoint: null } })
      const upstream = create({ parameters: { prompt: 'login', state: 'theirs' }, responseMode: 'form_post' })
      const more = { locale: 'fi', loginHint: 'vera@example.com', acrValues: ['level:two', 'level:one'] }
      const shown = Object.fromEntries(new URL((await go(upstream, more)).url).searchParams)
      expect(shown).toMatchObject({
        ...{ client_id: 'basic', redirect_uri: REDIRECT, response_type: 'code', scope: 'openid email profile' },
        ...{
          state: STATE,
          prompt: 'login',
          response_mode: 'form_post',
          ui_locales: 'fi',
          code_challenge_method: 'S256',
        },
        ...{ login_hint: 'vera@example.com', acr_values: 'level:two level:one' },
      })
      expect(shown.nonce).toMatch(/^[\w-]{43}$/)
      expect(shown.code_challenge).toMatch(/^[\w-]{43}$/)
      expect(shown).not.toHaveProperty('max_age')
    })

    it('is a bank’s client: signed requests, private_key_jwt, encrypted ID tokens', async () => {
      const bank = {
        clientId: 'bank',
        clientAuthentication: { method: 'private_key_jwt' },
        signedRequests: true,
        signingKeys: [signing.key],
        decryptionKeys: [decryption.key],
      } as const
      await fake.tell({ claims: { name: 'Vera', email: 'vera@example.com', email_verified: true } })
      const upstream = create(bank)
      const departed = await go(upstream)
      const [push] = await asked('/request')
      expect(decodeProtectedHeader(push?.body?.request ?? '')).toMatchObject({ alg: 'ES256', kid: 'ours-sig' })
      expect(decodeJwt(push?.body?.request ?? '')).toMatchObject({
        state: STATE,
        redirect_uri: REDIRECT,
        aud: fake.issuer,
      })
      const identity = await upstream.finish(await arrive(departed))
      expect(identity.claims).toMatchObject({ email: 'vera@example.com', email_verified: true })
      const [token] = await asked('/token')
      expect(decodeJwt(token?.body?.client_assertion ?? '')).toMatchObject({ iss: 'bank', sub: 'bank' })

      await fake.tell({ metadata: { pushed_authorization_request_endpoint: null } })
      const signed = create(bank)
      expect([...new URL((await go(signed)).url).searchParams.keys()].sort()).toEqual(['client_id', 'request'])
      expect(await signIn(signed)).toMatchObject({ subject: 'somebody' })

      expect(await reason(create({ ...bank, decryptionKeys: [] }))).toBe('token_encrypted')
      const another = await newKey('RSA-OAEP-256', 'ours-enc')
      expect(await reason(create({ ...bank, decryptionKeys: [another.key] }))).toBe('token_decryption')
      expect(create().publish).toBeUndefined()
      const broken = create({ decryptionKeys: [{ ...decryption.key, privateKey: 'no key' }] })
      expect((await upstreamFailure(broken.publish?.() ?? Promise.resolve())).reason).toBe('key_unusable')
      const keySet = JSON.parse((await upstream.publish?.())?.body ?? '') as { keys: JWK[] }
      expect(keySet.keys).toEqual([
        { ...signing.jwk, use: 'sig' },
        { ...decryption.jwk, use: 'enc' },
      ])
    })

    it('takes pairwise subjects as they are', async () => {
      const identity = await signIn(create({ clientId: 'pairwise' }))
      expect(identity.subject).toMatch(/^[0-9a-f]{64}$/)
    })

    it('asks everybody’s discovery once, and again after an hour', async () => {
      const upstream = create()
      await Promise.all(Array.from({ length: 8 }, () => go(upstream)))
      await go(upstream)
      expect(await asked('/.well-known/openid-configuration')).toHaveLength(1)
      time = 61 * 60_000
      await go(upstream)
      expect(await asked('/.well-known/openid-configuration')).toHaveLength(2)
    })

    it('goes on with what it knows while discovery fails', async () => {
      const upstream = create()
      await go(upstream)
      time = 61 * 60_000
      await fake.tell({ faults: { '/.well-known/openid-configuration': { status: 500 } } })
      expect((await go(upstream)).url).toContain(fake.issuer)
      time = 25 * 60 * 60_000
      expect((await upstreamFailure(go(upstream))).failure).toBe('unavailable')
    })

    it('asks UserInfo when told to, of the same person only', async () => {
      await fake.tell({ userinfo: { nickname: 'V' }, claims: { name: 'Vera' } })
      expect((await signIn(create())).claims).not.toHaveProperty('nickname')
      expect((await signIn(create({ userinfo: true }))).claims).toMatchObject({ name: 'Vera', nickname: 'V' })
      for (const sub of ['somebody else', null]) {
        await fake.tell({ userinfo: { sub } })
        expect(await reason(create({ userinfo: true }))).toBe('userinfo_invalid')
      }
    })

    it('lets UserInfo vouch for no e-mail address of the ID token', async () => {
      await fake.tell({
        idToken: { claims: { email: 'victim@example.com' } },
        userinfo: { email: 'mallory@example.com', email_verified: true },
      })
      expect((await signIn(create({ userinfo: true }))).claims).toEqual({
        email: 'victim@example.com',
        email_verified: false,
      })
    })

    it('hands tokens on only when asked to', async () => {
      expect(await signIn(create())).not.toHaveProperty('tokens')
      expect((await signIn(create({ keepTokens: true }))).tokens?.accessToken).toEqual(expect.any(String))
    })
  })

  describe('levels', () => {
    it('says acr, amr and when', async () => {
      await fake.tell({ acr: 'level:two', amr: ['pwd', 'otp'] })
      const identity = await signIn(create(), { acrValues: ['level:two'], fresh: true })
      expect(identity).toMatchObject({ acr: 'level:two', amr: ['pwd', 'otp'] })
      expect(Math.abs((identity.authenticatedAt ?? 0) - Date.now())).toBeLessThan(60_000)
    })

    it('demands that a fresh sign-in was one', async () => {
      const upstream = create()
      const past = Math.floor(Date.now() / 1000) - 3600
      await fake.tell({ idToken: { claims: { auth_time: past } } })
      expect(await reason(upstream, { fresh: true })).toBe('not_fresh')
      await fake.tell({ idToken: { without: ['auth_time'] } })
      expect((await upstreamFailure(signIn(upstream, { fresh: true }))).failure).toBe('level_unmet')
      expect(await signIn(upstream)).toMatchObject({ subject: 'somebody' })
    })

    it('says that the provider could not reach the level', async () => {
      await fake.tell({ automatic: 'unmet_authentication_requirements' })
      expect((await upstreamFailure(signIn(create()))).failure).toBe('level_unmet')
    })
  })

  describe('answers', () => {
    it.each([
      ['access_denied', 'cancelled'],
      ['temporarily_unavailable', 'unavailable'],
      ['invalid_scope', 'misconfigured'],
      ['something_of_their_own', 'answer_refused'],
    ])('reads %s as %s, and repeats nothing of it (A97)', async (automatic, failure) => {
      await fake.tell({ automatic })
      const error = await upstreamFailure(signIn(create()))
      expect(error.failure).toBe(failure)
      expect(error.message).not.toMatch(/theirs|their_own/)
    })

    it('demands the issuer that was promised, in success and error (A75, RFC 9207)', async () => {
      const upstream = create()
      for (const automatic of ['continue', 'access_denied']) {
        await fake.tell({ automatic })
        const arrival = await arrive(await go(upstream))
        expect(arrival.parameters.iss).toBe(fake.issuer)
        const { iss: _, ...without } = arrival.parameters
        for (const parameters of [without, { ...without, iss: 'https://evil.example' }, { ...without, iss: '' }]) {
          const error = await upstreamFailure(upstream.finish({ ...arrival, parameters }))
          expect(error).toMatchObject({ failure: 'answer_refused', reason: 'iss_mismatch' })
        }
      }
      expect(await asked('/token')).toHaveLength(0)
    })

    it('refuses another’s issuer also where none was promised (A75)', async () => {
      await fake.tell({ metadata: { authorization_response_iss_parameter_supported: null } })
      const upstream = create()
      const arrival = await arrive(await go(upstream))
      const parameters = { ...arrival.parameters, iss: 'https://evil.example' }
      expect((await upstreamFailure(upstream.finish({ ...arrival, parameters }))).reason).toBe('iss_mismatch')
      const { iss: _, ...without } = arrival.parameters
      expect(await upstream.finish({ ...arrival, parameters: without })).toMatchObject({ subject: 'somebody' })
    })

    it('takes a 401 of the token endpoint for ours to mend, whatever it says', async () => {
      await fake.tell({ faults: { '/token': { status: 401 } } })
      expect(await upstreamFailure(signIn(create()))).toMatchObject({
        failure: 'misconfigured',
        reason: 'invalid_client',
      })
    })

    it('refuses a code twice: the provider does, and is understood', async () => {
      const upstream = create()
      const arrival = await arrive(await go(upstream))
      await upstream.finish(arrival)
      expect(await upstreamFailure(upstream.finish(arrival))).toMatchObject({
        ...{ failure: 'answer_refused', reason: 'invalid_grant' },
      })
    })
  })

  describe('ID tokens', () => {
    const now = () => Math.floor(Date.now() / 1000)
    const claims: readonly [string, () => FakeState['idToken'], string][] = [
      ['a foreign audience (A13)', () => ({ claims: { aud: 'another' } }), 'token_aud'],
      ['an audience that is an object (A13)', () => ({ claims: { aud: { basic: true } } }), 'token_aud'],
      ['no audience (A13)', () => ({ without: ['aud'] }), 'token_aud'],
      ['two audiences and no azp (A13)', () => ({ claims: { aud: ['basic', 'another'] } }), 'azp_missing'],
      ['another azp (A13)', () => ({ claims: { aud: ['basic', 'another'], azp: 'another' } }), 'azp_mismatch'],
      ['another azp with our audience (A13)', () => ({ claims: { azp: 'another' } }), 'azp_mismatch'],
      ['a past exp (A13)', () => ({ claims: { exp: now() - 60 } }), 'token_expired'],
      ['no exp (A13)', () => ({ without: ['exp'] }), 'token_exp'],
      ['a future iat (A13)', () => ({ claims: { iat: now() + 120 } }), 'token_time'],
      ['no iat (A13)', () => ({ without: ['iat'] }), 'token_iat'],
      ['another issuer (A13)', () => ({ claims: { iss: 'https://evil.example' } }), 'issuer_mismatch'],
      ['an issuer with a slash more (A13)', () => ({ claims: { iss: `${fake.issuer}/` } }), 'issuer_mismatch'],
      ['no nonce (A14)', () => ({ without: ['nonce'] }), 'nonce_mismatch'],
      ['an empty nonce (A14)', () => ({ claims: { nonce: '' } }), 'nonce_mismatch'],
      ['another nonce (A14)', () => ({ claims: { nonce: 'planted' } }), 'nonce_mismatch'],
      ['a nonce in a list (A14)', () => ({ claims: { nonce: ['planted'] } }), 'nonce_mismatch'],
      ['alg none (A69)', () => ({ key: 'none' }), 'token_algorithm'],
      ['HS256 by the client secret (A69)', () => ({ key: 'secret' }), 'token_algorithm'],
      ['a foreign key under our kid (A69)', () => ({ key: 'foreign' }), 'token_signature'],
      ['a kid that is not there (A69)', () => ({ key: 'unknown' }), 'token_key_unknown'],
      ['the type of an access token', () => ({ header: { typ: 'at+jwt' } }), 'token_type'],
      ['the type of a logout token', () => ({ header: { typ: 'logout+jwt' } }), 'token_type'],
    ]
    it.each(claims)('with %s are refused', async (_, idToken, why) => {
      await fake.tell({ idToken: idToken() ?? {} })
      expect(await upstreamFailure(signIn(create()))).toMatchObject({ failure: 'answer_refused', reason: why })
    })

    it('with a lax clock, the azp that we are, or a plain type are taken', async () => {
      const idToken = { claims: { iat: now() + 10, azp: 'basic', aud: ['basic', 'another'] }, header: { typ: 'JWT' } }
      await fake.tell({ idToken })
      expect(await signIn(create())).toMatchObject({ subject: 'somebody' })
    })

    it('of an algorithm that was not allowed are refused, and settings allow no symmetric one', async () => {
      expect(await reason(create({ algorithms: ['ES256'] }))).toBe('token_algorithm')
      for (const algorithm of ['HS256', 'none', 'RS1']) {
        expect(() => create({ algorithms: ['RS256', algorithm] })).toThrow('algorithm_refused')
      }
    })

    it('are read under a key that came in mid-flow, and not under the one that went', async () => {
      const upstream = create()
      await signIn(upstream)
      const arrival = await arrive(await go(upstream))
      const { key: old } = await fake.seen()
      time = 11_000
      await fake.tell({ rotate: true })
      expect(await upstream.finish(arrival)).toMatchObject({ subject: 'somebody' })
      const token = await logoutToken(old)
      expect((await upstreamFailure(read(upstream, token))).reason).toBe('token_key_unknown')
    })

    it('with an unknown kid make no more than a request each ten seconds', async () => {
      const upstream = create()
      await signIn(upstream)
      await fake.tell({ idToken: { key: 'unknown' } })
      for (let count = 0; count < 4; count++) await reason(upstream)
      expect(await asked('/jwks')).toHaveLength(1)
      time = 11_000
      for (let count = 0; count < 4; count++) await reason(upstream)
      expect(await asked('/jwks')).toHaveLength(2)
    })

    it('that are forged are refused, and lead nowhere (A69)', async () => {
      const { key } = await fake.seen()
      const upstream = create()
      const { publicJwk, honest } = honestly(key)
      const departed = await go(upstream)
      const { nonce } = departed.kept as { nonce: string }
      const payload = { iss: fake.issuer, aud: 'basic', sub: 'vera', nonce, iat: now(), exp: now() + 300 }
      const header = { alg: 'RS256', kid: key.kid }
      const canary = `${fake.issuer}/canary`
      const finishWith = (jwt: string) =>
        upstream.finish({
          ...{ method: 'GET', redirectUri: REDIRECT, state: STATE, kept: departed.kept },
          parameters: { code: jwt, state: STATE, iss: fake.issuer },
        })
      const respond = async (jwt: string) => {
        const body = { access_token: 'token', token_type: 'Bearer', id_token: jwt }
        await fake.tell({ faults: { '/token': { body } } })
        return finishWith(jwt)
      }
      expect(await respond(await signed(key, header, payload))).toMatchObject({ subject: 'vera' })
      const corpus = forgeries({ header, claims: payload, publicJwk, honest, canary })
      expect(corpus.length).toBeGreaterThan(50)
      for (const { name, jwt } of corpus) {
        const ended = await respond(jwt).then(
          () => 'taken',
          (error: unknown) => (error as { failure?: string }).failure ?? String(error),
        )
        expect({ name, ended }).toEqual({ name, ended: 'answer_refused' })
      }
      expect(await asked('/canary')).toHaveLength(0)
      for (const token of [undefined, null, 7, {}, '']) {
        await fake.tell({
          faults: { '/token': { body: { access_token: 't', token_type: 'Bearer', id_token: token } } },
        })
        expect((await upstreamFailure(finishWith('code'))).failure).toBe('answer_refused')
      }
    })
  })

  describe('encrypted ID tokens', () => {
    const now = Math.floor(Date.now() / 1000)
    it.each(['RSA-OAEP-256', 'RSA-OAEP', 'ECDH-ES', 'ECDH-ES+A256KW'])(
      'by %s are believed for the signature inside: anybody can encrypt to us (A69)',
      async (algorithm) => {
        const [ours, old] = [await newKey(algorithm, 'new'), await newKey(algorithm, 'old')]
        const upstream = create({ decryptionKeys: [ours.key, old.key] })
        const { key, foreignKey } = await fake.seen()
        const departed = await go(upstream)
        const { nonce } = departed.kept as { nonce: string }
        const claims = { iss: fake.issuer, aud: 'basic', sub: 'vera', nonce, iat: now, exp: now + 300 }
        const header = { alg: 'RS256', kid: key.kid }
        const finish = async (inside: string, to = ours.jwk, more: object = {}) => {
          const encrypted = new CompactEncrypt(new TextEncoder().encode(inside))
          encrypted.setProtectedHeader({ alg: algorithm, enc: 'A256GCM', kid: to.kid ?? '', ...more })
          const id_token = await encrypted.encrypt(await importJWK(to as never, algorithm))
          await fake.tell({ faults: { '/token': { body: { access_token: 't', token_type: 'Bearer', id_token } } } })
          const parameters = { code: 'c', state: STATE, iss: fake.issuer }
          return upstream.finish({
            method: 'GET',
            redirectUri: REDIRECT,
            state: STATE,
            kept: departed.kept,
            parameters,
          })
        }
        const honest = await signed(key, header, claims)
        expect(await finish(honest)).toMatchObject({ subject: 'vera' })
        expect(await finish(honest, old.jwk)).toMatchObject({ subject: 'vera' })
        const refuse = async (work: Promise<unknown>) =>
          expect((await upstreamFailure(work)).failure).toBe('answer_refused')
        await refuse(finish(await signed(foreignKey, header, claims)))
        await refuse(finish(JSON.stringify(claims)))
        const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
        await refuse(finish(`${part({ alg: 'none' })}.${part(claims)}.`))
        await refuse(finish(honest, ours.jwk, { kid: 'another' }))
      },
    )

    it('by algorithms with an oracle are refused in settings', async () => {
      const { key } = await newKey('RSA-OAEP', 'ours')
      expect(() => create({ decryptionKeys: [{ ...key, algorithm: 'RSA1_5' }] })).toThrow('algorithm_refused')
    })
  })

  describe('discovery', () => {
    it.each([
      ['https://evil.example', 'discovery_issuer'],
      ['', 'discovery_issuer'],
      [null, 'discovery_issuer'],
    ])('of issuer %j is refused', async (issuer, why) => {
      await fake.tell({ metadata: { issuer } })
      const error = await upstreamFailure(go(create()))
      expect(error).toMatchObject({ failure: 'misconfigured', reason: why })
    })

    it.each([['javascript:alert(1)'], ['file:///etc/passwd'], [7], [''], ['//evil.example'], [null]])(
      'with the authorization endpoint %j is refused',
      async (authorization_endpoint) => {
        await fake.tell({ metadata: { authorization_endpoint } })
        expect((await upstreamFailure(go(create()))).reason).toBe('discovery_endpoint')
      },
    )

    it('sends nothing to an address behind us (A70)', async () => {
      const guarded = createHttpClient({ allowedNetworks: [] })
      const places = [
        'http://127.0.0.1:1',
        'http://169.254.169.254',
        'https://127.0.0.1',
        'https://[::1]',
        'http://0x7f.1',
      ]
      for (const issuer of [...places, fake.issuer, 'https://[::ffff:127.0.0.1]', 'http://localhost']) {
        const upstream = createOidcUpstream({ ...settings, issuer }, { http: guarded, clock })
        const { failure, message } = await upstreamFailure(go(upstream))
        expect(failure).toBe('misconfigured')
        expect(message).not.toContain(new URL(issuer).host)
      }
      expect((await fake.seen()).requests).toEqual([])
    })

    it.each(['token_endpoint', 'jwks_uri', 'userinfo_endpoint'])(
      'that puts %s behind us sends nothing there (A70)',
      async (name) => {
        const target = 'http://192.168.7.7/canary'
        await fake.tell({ metadata: { [name]: target } })
        const error = await upstreamFailure(signIn(create({ userinfo: true })))
        expect(error).toMatchObject({ failure: 'misconfigured' })
      },
    )

    it.each([['/.well-known/openid-configuration'], ['/token'], ['/jwks'], ['/me']])(
      'follows no redirect from %s (A70)',
      async (path) => {
        await fake.tell({ faults: { [path]: { location: `${fake.issuer}/canary` } } })
        expect(await upstreamFailure(signIn(create({ userinfo: true })))).toMatchObject({
          ...{ failure: 'misconfigured', reason: 'redirected' },
        })
        expect(await asked('/canary')).toHaveLength(0)
      },
    )

    it.each([['/.well-known/openid-configuration'], ['/token'], ['/jwks'], ['/me']])(
      'reads no huge body of %s (A70)',
      async (path) => {
        await fake.tell({ faults: { [path]: { bytes: 5_000_000 } } })
        expect((await upstreamFailure(signIn(create({ userinfo: true })))).reason).toBe('response_too_large')
      },
    )

    it('reports what will not work', async () => {
      await fake.tell({
        metadata: {
          code_challenge_methods_supported: ['plain'],
          response_modes_supported: ['query'],
          id_token_signing_alg_values_supported: ['RS256'],
          token_endpoint_auth_methods_supported: ['private_key_jwt'],
        },
      })
      const broken = { privateKey: 'no key', keyId: 'broken', algorithm: 'ES256' }
      const upstream = create({ responseMode: 'form_post', algorithms: ['ES256'], decryptionKeys: [] })
      const { found, problems } = await upstream.inspect()
      expect(found.token_endpoint).toBe(`${fake.issuer}/token`)
      expect(problems).toHaveLength(4)
      const bank = create({
        clientAuthentication: { method: 'private_key_jwt' },
        signingKeys: [broken],
        signedRequests: true,
      })
      expect((await bank.inspect()).problems).toContain('our key broken is no private key for ES256')
      await fake.tell({ metadata: { issuer: 'https://evil.example' } })
      expect((await create().inspect()).problems).toEqual(['its discovery document cannot be used: discovery_issuer'])
    })
  })

  describe('a provider that is down', () => {
    it('is asked no more for a while, and then once', async () => {
      const upstream = create()
      await go(upstream)
      await fake.tell({ faults: { '/request': { status: 503 } } })
      for (let count = 0; count < 5; count++) expect((await upstreamFailure(go(upstream))).reason).toBe('server_error')
      const before = (await asked('/request')).length
      expect((await upstreamFailure(go(upstream))).reason).toBe('known_to_be_down')
      expect(await asked('/request')).toHaveLength(before)
      // Another provider's breaker is its own.
      expect((await upstreamFailure(go(create()))).reason).toBe('server_error')
      time = 11_000
      await fake.tell({ faults: {} })
      expect((await go(upstream)).url).toContain(fake.issuer)
    })

    it('sends nobody there for a while, also where that takes no request', async () => {
      await fake.tell({ metadata: { pushed_authorization_request_endpoint: null } })
      const upstream = create()
      const arrival = await arrive(await go(upstream))
      await fake.tell({ faults: { '/token': { status: 429 } } })
      for (let count = 0; count < 5; count++) {
        expect((await upstreamFailure(upstream.finish(arrival))).failure).toBe('unavailable')
      }
      expect((await upstreamFailure(go(upstream))).reason).toBe('known_to_be_down')
      time = 11_000
      expect((await go(upstream)).url).toContain(fake.issuer)
    })

    it('and slow with each of several requests keeps a person no longer than one', async () => {
      const slow = { delayMs: 2500 }
      const upstream = create({ userinfo: true })
      const arrival = await arrive(await go(upstream))
      await fake.tell({ faults: { '/token': slow, '/jwks': slow, '/me': slow } })
      const started = performance.now()
      expect((await upstreamFailure(upstream.finish(arrival))).reason).toBe('timed_out')
      expect(performance.now() - started).toBeLessThan(5500)
    })
  })

  describe('logout tokens (Back-Channel Logout 1.0 §2.6)', () => {
    const now = () => Math.floor(Date.now() / 1000)
    const good = () => ({
      iss: fake.issuer,
      aud: 'basic',
      iat: now(),
      exp: now() + 120,
      jti: 'j1',
      sub: 'vera',
      sid: 's1',
      events: EVENTS,
    })

    it('name whose session ended', async () => {
      const { key } = await fake.seen()
      const token = await signed(key, { alg: 'RS256', kid: key.kid, typ: 'logout+jwt' }, good())
      const { iat, exp } = decodeJwt(token)
      expect(await read(create(), token)).toEqual({
        ...{ issuer: fake.issuer, subject: 'vera', sessionId: 's1', id: 'j1' },
        ...{ issuedAt: (iat ?? 0) * 1000, expiresAt: (exp ?? 0) * 1000 },
      })
      for (const without of ['sub', 'sid']) {
        const claims = { ...good(), [without]: undefined }
        expect(await read(create(), await signed(key, { alg: 'RS256', kid: key.kid }, claims))).toMatchObject({
          id: 'j1',
        })
      }
    })

    it.each<[string, object]>([
      ['a nonce', { nonce: 'n' }],
      ['an empty nonce', { nonce: '' }],
      ['another audience', { aud: 'another' }],
      ['another issuer', { iss: 'https://evil.example' }],
      ['no events', { events: undefined }],
      ['other events', { events: { 'https://example.com/event': {} } }],
      ['an event that is a text', { events: { [EVENT]: 'x' } }],
      ['nobody', { sub: undefined, sid: undefined }],
      ['an empty subject', { sub: '' }],
      ['no jti', { jti: undefined }],
      ['no iat', { iat: undefined }],
      ['a future iat', { iat: 4_000_000_000 }],
      ['no exp', { exp: undefined }],
      ['a past exp', { exp: 1 }],
    ])('with %s are refused (A18)', async (_, change) => {
      const { key } = await fake.seen()
      const token = await signed(key, { alg: 'RS256', kid: key.kid, typ: 'logout+jwt' }, { ...good(), ...change })
      expect((await upstreamFailure(read(create(), token))).failure).toBe('answer_refused')
    })

    it('of another type, of another’s key, or unsigned are refused (A18, A69)', async () => {
      const { key, foreignKey } = await fake.seen()
      const upstream = create()
      const refuse = async (token: string) =>
        expect((await upstreamFailure(read(upstream, token))).failure).toBe('answer_refused')
      await refuse(await signed(key, { alg: 'RS256', kid: key.kid, typ: 'at+jwt' }, good()))
      await refuse(await signed(foreignKey, { alg: 'RS256', kid: key.kid }, good()))
      const { publicJwk, honest } = honestly(key)
      const header = { alg: 'RS256', kid: key.kid, typ: 'logout+jwt' }
      const corpus = forgeries({ header, claims: good(), publicJwk, honest, canary: `${fake.issuer}/canary` })
      for (const { name, jwt } of corpus) {
        const ended = await read(upstream, jwt).then(
          () => 'taken',
          (error: unknown) => (error as { failure?: string }).failure ?? String(error),
        )
        expect({ name, ended }).toEqual({ name, ended: 'answer_refused' })
      }
      expect(await asked('/canary')).toHaveLength(0)
    })

    it('are no ID tokens, and ID tokens no logout tokens', async () => {
      const upstream = create({ keepTokens: true })
      await signIn(upstream)
      const { key } = await fake.seen()
      const claims = { ...good(), events: undefined, nonce: 'n' }
      const idToken = await signed(key, { alg: 'RS256', kid: key.kid }, claims)
      expect((await upstreamFailure(read(upstream, idToken))).reason).toBe('logout_nonce')
    })
  })

  describe('Apple', () => {
    /** Apple's answers with a secret that the fake provider takes. */
    const likeApple = () =>
      create({
        clientId: 'post',
        clientAuthentication: { method: 'client_secret_post', secret: SECRET },
        ...{ responseMode: 'form_post', userParameter: true, emailRule: 'claim_or_text' },
      })

    it('comes back by form_post, and only the ID token counts for the e-mail address (A04)', async () => {
      const user = JSON.stringify({ name: { firstName: 'Vera', lastName: 'V' }, email: 'victim@example.com' })
      await fake.tell({ user, claims: { email: 'mallory@example.com', email_verified: 'true' } })
      const upstream = likeApple()
      const arrival = await arrive(await go(upstream))
      expect(arrival.method).toBe('POST')
      expect(arrival.parameters.user).toBe(user)
      const identity = await upstream.finish(arrival)
      expect(identity.claims).toEqual({ email: 'mallory@example.com', email_verified: true })
      expect(identity.suggested).toEqual({ given_name: 'Vera', family_name: 'V' })
      expect(JSON.stringify(identity)).not.toContain('victim')
    })

    it.each([
      ['no JSON'],
      ['null'],
      ['[]'],
      ['{"name":7}'],
      ['{"name":{"firstName":["x"]}}'],
      [`{"name":{"firstName":"${'x'.repeat(5000)}"}}`],
    ])('suggests no name from %s', async (user) => {
      await fake.tell({ user })
      expect((await signIn(likeApple())).suggested).toEqual({})
    })

    it('is shown a secret that is a JWT, made once an hour', async () => {
      const sent: URLSearchParams[] = []
      const spy: typeof http = {
        fetch: (url, init) => {
          if (init?.body instanceof URLSearchParams) sent.push(new URLSearchParams(init.body))
          return http.fetch(url, init)
        },
      }
      const clientAuthentication = { method: 'apple_client_secret', teamId: 'TEAM', key: appleKey.key } as const
      const upstream = createOidcUpstream({ ...settings, clientAuthentication }, { http: spy, clock })
      const secretShown = async () => {
        const departed = await go(upstream)
        await upstreamFailure(upstream.finish(await arrive(departed)))
        return sent.at(-1)?.get('client_secret') ?? ''
      }
      await fake.tell({ metadata: { pushed_authorization_request_endpoint: null } })
      const first = await secretShown()
      expect(decodeProtectedHeader(first)).toEqual({ alg: 'ES256', kid: 'APPLEKEY01' })
      const { iat = 0, exp = 0, ...claims } = decodeJwt(first)
      expect(claims).toEqual({ iss: 'TEAM', sub: 'basic', aud: fake.issuer })
      expect(exp - iat).toBe(3600)
      expect(await secretShown()).toBe(first)
      time = 56 * 60_000
      expect(await secretShown()).not.toBe(first)
    })
  })

  describe('Microsoft', () => {
    const TENANT = 'aaaaaaaa-2222-3333-4444-555555555555'
    const OTHER = '99999999-2222-3333-4444-555555555555'
    const many = (tenants: OidcUpstreamSettings['tenants']) =>
      create({
        issuer: `${fake.issuer}/{tenantid}/v2.0`,
        discoveryUrl: `${fake.issuer}/.well-known/openid-configuration`,
        emailRule: 'domain_owner',
        tenants,
      })
    const from = (tid: unknown, more: object = {}) =>
      fake.tell({
        metadata: {
          issuer: `${fake.issuer}/{tenantid}/v2.0`,
          authorization_response_iss_parameter_supported: null,
        },
        idToken: { claims: { iss: `${fake.issuer}/${tid}/v2.0`, tid, email: 'vera@contoso.example', ...more } },
      })
    const answered = async (upstream: Upstream, iss?: string) => {
      const arrival = await arrive(await go(upstream))
      const { iss: _, ...without } = arrival.parameters
      return upstream.finish({ ...arrival, parameters: iss === undefined ? without : { ...without, iss } })
    }

    it('names the tenant’s own issuer', async () => {
      await from(TENANT)
      const identity = await answered(many([{ id: TENANT }]))
      expect(identity.issuer).toBe(`${fake.issuer}/${TENANT}/v2.0`)
      expect((await answered(many('any'))).issuer).toBe(identity.issuer)
    })

    it('must be told which tenants may come', () => {
      expect(() => many(undefined)).toThrow('tenants_missing')
      expect(() => many([])).toThrow('tenants_missing')
    })

    it('is refused with another tenant, or with a tid that is not the issuer’s', async () => {
      await from(OTHER)
      expect((await upstreamFailure(answered(many([{ id: TENANT }])))).reason).toBe('issuer_mismatch')
      for (const tid of [OTHER, undefined, null, '{tenantid}', TENANT.toUpperCase()]) {
        await from(TENANT, { tid })
        expect((await upstreamFailure(answered(many('any')))).reason).toBe('issuer_mismatch')
      }
      // As long as ours, and of another host.
      await from(TENANT, { iss: `${fake.issuer.replace('127', '128')}/${TENANT}/v2.0` })
      expect((await upstreamFailure(answered(many('any')))).reason).toBe('issuer_mismatch')
      for (const strange of ['common', '', '../..', '{tenantid}']) {
        await from(strange)
        expect((await upstreamFailure(answered(many('any')))).reason).toBe('issuer_mismatch')
      }
    })

    it('checks the iss parameter against the very token (A75)', async () => {
      await from(TENANT)
      const upstream = many('any')
      expect(await answered(upstream, `${fake.issuer}/${TENANT}/v2.0`)).toMatchObject({ subject: 'somebody' })
      for (const iss of [`${fake.issuer}/${OTHER}/v2.0`, 'https://evil.example', `${fake.issuer}/{tenantid}/v2.0`]) {
        expect((await upstreamFailure(answered(upstream, iss))).reason).toBe('iss_mismatch')
      }
    })

    it('vouches for an e-mail address by xms_edov only, or by a domain said to be the tenant’s (A03)', async () => {
      const verified = async (tenants: OidcUpstreamSettings['tenants'], more: object = {}) => {
        await from(TENANT, more)
        return (await answered(many(tenants))).claims.email_verified
      }
      expect(await verified('any')).toBe(false)
      expect(await verified('any', { email_verified: true })).toBe(false)
      expect(await verified('any', { xms_edov: 'true' })).toBe(false)
      expect(await verified('any', { xms_edov: true })).toBe(true)
      const owned = [{ id: TENANT, ownedDomains: ['Contoso.example'] }]
      expect(await verified(owned)).toBe(true)
      expect(await verified(owned, { email: 'vera@evil.contoso.example' })).toBe(false)
      expect(await verified([{ id: OTHER, ownedDomains: ['contoso.example'] }, { id: TENANT }])).toBe(false)
    })

    it('takes no e-mail address from preferred_username or upn (A03)', async () => {
      const names = { preferred_username: 'victim@example.com', upn: 'victim@example.com', email: undefined }
      await from(TENANT, names)
      await fake.tell({ idToken: { claims: { iss: `${fake.issuer}/${TENANT}/v2.0`, tid: TENANT, ...names } } })
      expect((await answered(many('any'))).claims).not.toHaveProperty('email')
    })
  })

  const read = (upstream: Upstream, token: string) => {
    if (upstream.readLogout === undefined) throw new Error('no readLogout')
    return upstream.readLogout(token)
  }
  const logoutToken = (key: JWK) =>
    signed(
      key,
      { alg: 'RS256', kid: key.kid },
      { iss: fake.issuer, aud: 'basic', iat: 1, exp: 4e9, jti: 'j', sub: 'v', events: EVENTS },
    )
})

async function signed(jwk: JWK, header: { alg: string; [name: string]: unknown }, claims: object): Promise<string> {
  return new SignJWT({ ...claims }).setProtectedHeader(header).sign(await importJWK(jwk as never, 'RS256'))
}

/** The public half, and a way to sign as the provider would. */
function honestly(jwk: JWK) {
  const key = createPrivateKey({ key: jwk as never, format: 'jwk' })
  const publicJwk = createPublicKey(key).export({ format: 'jwk' })
  const honest: NonNullable<Parameters<typeof forgeries>[0]['honest']> = (header, claims) =>
    jws(header, claims, (data) => createSign('sha256').update(data).sign(key))
  return { publicJwk, honest }
}

describeUpstream('of OpenID Connect', async () => {
  const fake = await startFakeUpstream(CLIENTS)
  const http = createHttpClient({ allowedNetworks: LOOPBACK })
  const faults: { [kind in UpstreamTrouble]: FakeState['faults'] } = {
    none: {},
    slow: { '/token': { delayMs: 20_000 } },
    failing: { '/token': { status: 500 } },
    dead: { '/token': { status: 503 } },
    garbled: { '/token': { body: 'no object' } },
  }
  return {
    issuer: fake.issuer,
    redirectUri: REDIRECT,
    create: () =>
      createOidcUpstream(
        {
          issuer: fake.issuer,
          clientId: 'basic',
          clientAuthentication: { method: 'client_secret_basic', secret: SECRET },
          scopes: ['email', 'profile'],
        },
        { http, clock: { now: () => new Date() } },
      ),
    async travel(departed, what) {
      const automatic = { cancel: 'access_denied', error: 'temporarily_unavailable' }
      if (typeof what === 'string') await fake.tell({ reset: true, automatic: automatic[what] })
      else {
        const { subject, claims } = what
        const idToken = subject === undefined ? { without: ['sub'], claims } : { claims: { ...claims, sub: subject } }
        await fake.tell({ reset: true, automatic: 'continue', idToken })
      }
      return fake.travel(departed.url, REDIRECT)
    },
    trouble: (kind) => fake.tell({ faults: faults[kind] ?? {} }),
    close: () => fake.stop(),
  }
})
