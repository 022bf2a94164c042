/** RFC 9068 §4 and RFC 6750 §3: what the example resource server lets in, and how it refuses the rest. */
import { beforeAll, describe, expect, it } from '@jest/globals'
import { type CryptoKey, createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { createAuthorizer, Refused } from '../../examples/resource_server/access_token.ts'

const ISSUER = 'http://localhost:3000'
const API = 'https://api.demo.example'
let privateKey: CryptoKey
let authorize: ReturnType<typeof createAuthorizer>

beforeAll(async () => {
  const pair = await generateKeyPair('ES256')
  privateKey = pair.privateKey
  const jwk = { ...(await exportJWK(pair.publicKey)), alg: 'ES256', kid: 'one' }
  authorize = createAuthorizer({ issuer: ISSUER, audience: API, keys: createLocalJWKSet({ keys: [jwk] }) })
})

type Members = { readonly [name: string]: unknown }

async function bearer(claims: Members = {}, header: Members = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  const payload = {
    iss: ISSUER,
    aud: API,
    iat: now,
    exp: now + 300,
    sub: 'demo-partner',
    client_id: 'demo-partner',
    scope: 'orders:read',
  }
  const token = await new SignJWT({ ...payload, ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: 'one', typ: 'at+jwt', ...header })
    .sign(privateKey)
  return `Bearer ${token}`
}

async function refusal(
  header: string | undefined,
  scope = 'orders:read',
  needs?: Parameters<typeof authorize>[2],
): Promise<Refused> {
  const result = await authorize(header, scope, needs).catch((error: unknown) => error)
  if (!(result instanceof Refused)) throw new Error('was not refused')
  return result
}

describe('the example resource server', () => {
  it('lets in a good token and knows who calls', async () => {
    const accessToken = await authorize(await bearer(), 'orders:read')
    expect(accessToken).toEqual({ clientId: 'demo-partner', sub: 'demo-partner', scopes: new Set(['orders:read']) })
  })

  it('takes the scheme in any case and an audience in a list', async () => {
    const header = (await bearer({ aud: ['https://other.example', API] })).replace('Bearer', 'bearer')
    await expect(authorize(header, 'orders:read')).resolves.toBeDefined()
  })

  it('answers 401 with a bare challenge when there is no token', async () => {
    for (const header of [undefined, '', 'Basic YTpi', 'Bearer', 'Bearer a b']) {
      expect(await refusal(header)).toMatchObject({ status: 401, challenge: 'Bearer realm="orders"' })
    }
  })

  it('answers 403 insufficient_scope naming the scope', async () => {
    expect(await refusal(await bearer(), 'orders:write')).toMatchObject({
      status: 403,
      challenge:
        'Bearer realm="orders", error="insufficient_scope", error_description="this needs the scope orders:write", scope="orders:write"',
    })
  })

  describe('where a stronger sign-in is needed (RFC 9470 §3)', () => {
    const NEEDS = { acrs: ['urn:genkan:acr:mfa', 'phr'], maxAge: 300 }
    const signedIn = (acr: unknown, secondsAgo: number) =>
      bearer({ acr, auth_time: Math.floor(Date.now() / 1000) - secondsAgo })

    it('lets in who has shown it a moment ago', async () => {
      for (const acr of NEEDS.acrs) {
        await expect(authorize(await signedIn(acr, 290), 'orders:read', NEEDS)).resolves.toMatchObject({ acr })
      }
    })

    it.each<[string, () => Promise<string>]>([
      ['is too weak', () => signedIn('urn:genkan:acr:basic', 1)],
      ['is too old', () => signedIn('phr', 310)],
      ['names no level', () => signedIn(undefined, 1)],
      ['names it as a list', () => signedIn(['phr'], 1)],
      ['names no time', () => bearer({ acr: 'phr' })],
      ['was a machine’s', () => bearer()],
    ])('says what would do when the sign-in %s', async (_, header) => {
      expect(await refusal(await header(), 'orders:read', NEEDS)).toMatchObject({
        status: 401,
        challenge:
          'Bearer realm="orders", error="insufficient_user_authentication", error_description="this needs a stronger or a more recent sign-in", acr_values="urn:genkan:acr:mfa phr", max_age="300"',
      })
    })

    it('asks for the scope first', async () => {
      expect(await refusal(await bearer(), 'orders:pay', NEEDS)).toMatchObject({ status: 403 })
    })
  })

  it('does not take part of a scope for the scope', async () => {
    expect(await refusal(await bearer({ scope: 'orders:read-all xorders:read' }))).toMatchObject({ status: 403 })
    expect(await refusal(await bearer({ scope: undefined }))).toMatchObject({ status: 403 })
  })

  it.each<[string, Members, Members]>([
    ['for another audience', { aud: 'https://billing.demo.example' }, {}],
    ['without audience', { aud: undefined }, {}],
    ['of another issuer', { iss: 'https://evil.example' }, {}],
    ['that has expired', { exp: 1_000_000 }, {}],
    ['that never expires', { exp: undefined }, {}],
    ['without client', { client_id: undefined }, {}],
    ['that is an ID token', {}, { typ: 'JWT' }],
    ['with an unknown key', {}, { kid: 'two' }],
  ])('answers 401 invalid_token to one %s', async (_, claims, header) => {
    const refused = await refusal(await bearer(claims, header))
    expect(refused.status).toBe(401)
    expect(refused.challenge).toMatch(/^Bearer realm="orders", error="invalid_token", error_description="[^"]+"$/)
  })

  it('answers 401 invalid_token to a changed and to an opaque token', async () => {
    const good = await bearer()
    const [header = '', , signature = ''] = good.split('.')
    const payload = Buffer.from(JSON.stringify({ iss: ISSUER, aud: API, scope: 'orders:write' })).toString('base64url')
    for (const bad of [`${header}.${payload}.${signature}`, 'Bearer opaque-token']) {
      expect((await refusal(bad)).challenge).toContain('error="invalid_token"')
    }
  })

  it('does not blame the token when the keys cannot be had', async () => {
    const keys = async () => {
      throw new TypeError('fetch failed')
    }
    const offline = createAuthorizer({ issuer: ISSUER, audience: API, keys })
    await expect(offline(await bearer(), 'orders:read')).rejects.toThrow('fetch failed')
  })
})
