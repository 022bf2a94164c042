/** Back-Channel Logout 1.0 §2.6: what the web example accepts as a logout token. */
import { beforeAll, describe, expect, it } from '@jest/globals'
import { type CryptoKey, createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { createLogoutTokenVerifier } from '../../examples/web/logout_token.ts'

const ISSUER = 'http://localhost:3000'
const EVENTS = { 'http://schemas.openid.net/event/backchannel-logout': {} }
let privateKey: CryptoKey
let strangersKey: CryptoKey
let verify: ReturnType<typeof createLogoutTokenVerifier>
let last = 0

beforeAll(async () => {
  const pair = await generateKeyPair('ES256')
  privateKey = pair.privateKey
  strangersKey = (await generateKeyPair('ES256')).privateKey
  const jwk = { ...(await exportJWK(pair.publicKey)), alg: 'ES256', kid: 'one' }
  verify = createLogoutTokenVerifier({ issuer: ISSUER, clientId: 'demo-web', keys: createLocalJWKSet({ keys: [jwk] }) })
})

type Members = { readonly [name: string]: unknown }

/** A good logout token, with some claims or header members replaced; `undefined` leaves one out. */
function token(claims: Members = {}, header: Members = {}, key = privateKey): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  last += 1
  const payload = {
    iss: ISSUER,
    aud: 'demo-web',
    iat: now,
    exp: now + 120,
    jti: `id-${last}`,
    events: EVENTS,
    sub: 'ada',
    sid: 'session',
  }
  return new SignJWT({ ...payload, ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: 'one', typ: 'logout+jwt', ...header })
    .sign(key)
}

describe('a logout token', () => {
  it('names whom to sign out', async () => {
    await expect(verify(await token())).resolves.toEqual({ sub: 'ada', sid: 'session' })
  })

  it('may name a session only, or an account only', async () => {
    await expect(verify(await token({ sub: undefined }))).resolves.toEqual({ sub: undefined, sid: 'session' })
    await expect(verify(await token({ sid: undefined }))).resolves.toEqual({ sub: 'ada', sid: undefined })
  })

  const past = Math.floor(Date.now() / 1000) - 3600
  it.each<[string, Members, Members]>([
    ['of another issuer', { iss: 'https://evil.example' }, {}],
    ['for another client', { aud: 'demo-spa' }, {}],
    ['that is an ID token: a nonce', { nonce: 'n' }, {}],
    ['without events', { events: undefined }, {}],
    ['with another event', { events: { 'http://schemas.openid.net/event/other': {} } }, {}],
    ['whose event is not an object', { events: { 'http://schemas.openid.net/event/backchannel-logout': 'yes' } }, {}],
    ['with neither sub nor sid', { sub: undefined, sid: undefined }, {}],
    ['whose sid is not a string', { sid: 1 }, {}],
    ['without jti', { jti: undefined }, {}],
    ['without exp', { exp: undefined }, {}],
    ['that has expired', { iat: past, exp: past + 120 }, {}],
    ['that is old but claims a long life', { iat: past, exp: past + 86_400 }, {}],
    ['of another type', {}, { typ: 'JWT' }],
  ])('is refused: one %s', async (_, claims, header) => {
    await expect(verify(await token(claims, header))).rejects.toThrow()
  })

  it('is refused when somebody else signed it', async () => {
    await expect(verify(await token({}, {}, strangersKey))).rejects.toThrow('signature verification failed')
  })

  it('is refused without a signature', async () => {
    const [, payload] = (await token()).split('.')
    const header = Buffer.from('{"alg":"none","typ":"logout+jwt"}').toString('base64url')
    await expect(verify(`${header}.${payload}.`)).rejects.toThrow()
  })

  it('is accepted once: a replay signs nobody out again', async () => {
    const replayed = await token()
    await verify(replayed)
    await expect(verify(replayed)).rejects.toThrow('used before')
  })
})
