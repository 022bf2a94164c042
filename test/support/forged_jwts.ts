/**
 * JWTs that must never be believed (attack A69): algorithms swapped or taken away, keys brought along, headers that point
 * elsewhere, claims of wrong types. Each is made of a payload that would be accepted under a proper signature.
 */
import {
  createHmac,
  createPublicKey,
  createSign,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  sign,
} from 'node:crypto'

export interface Forgery {
  readonly name: string
  readonly jwt: string
}

type Header = { readonly [member: string]: unknown }
type Claims = { readonly [claim: string]: unknown }

export interface ForgeryOptions {
  readonly header: Header
  readonly claims: Claims
  /** The public key that the verifier would use. */
  readonly publicJwk: JsonWebKey
  /** Signs with the honest key: for forgeries whose signature is good and whose header or claims are not. */
  readonly honest?: ((header: Header, claims: Claims) => string) | undefined
  /** A URL that must never be fetched. */
  readonly canary: string
}

/** An attacker's own key of each kind. */
const theirs = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  EdDSA: generateKeyPairSync('ed25519'),
}

/** All forgeries, each with the name of its trick. */
export function forgeries({ header, claims, publicJwk, honest, canary }: ForgeryOptions): Forgery[] {
  const publicKey = createPublicKey({ key: publicJwk, format: 'jwk' })
  const own = theirs.ES256.publicKey.export({ format: 'jwk' })
  const es = (more: Header = {}, changed: Claims = claims) => jws({ ...header, alg: 'ES256', ...more }, changed, es256)
  const good = honest?.(header, claims) ?? es()
  const [head = '', body = '', signature = ''] = good.split('.')
  const none = (alg: string) => `${encode({ ...header, alg })}.${encode(claims)}.`
  const hmac = (key: string | Buffer, alg = 'HS256') =>
    jws({ ...header, alg }, claims, (data) => createHmac(alg.replace('HS', 'sha'), key).update(data).digest())
  const list: [string, string][] = [
    ['alg none', none('none')],
    ['alg None', none('None')],
    ['alg NONE', none('NONE')],
    ['alg nOnE with the signature left on', `${encode({ ...header, alg: 'nOnE' })}.${body}.${signature}`],
    ['no alg', `${encode({ ...header, alg: undefined })}.${encode(claims)}.`],
    ['alg null', `${encode({ ...header, alg: null })}.${encode(claims)}.`],
    ['signature taken away', `${head}.${body}.`],
    ['signature and dot taken away', `${head}.${body}`],
    ['HS256 keyed with the public key as PEM', hmac(publicKey.export({ type: 'spki', format: 'pem' }))],
    ['HS256 keyed with the public key as DER', hmac(publicKey.export({ type: 'spki', format: 'der' }))],
    ['HS256 keyed with the public JWK', hmac(JSON.stringify(publicJwk))],
    ['HS256 with an empty key', hmac('')],
    ['HS384 with an empty key', hmac('', 'HS384')],
    ['HS512 with an empty key', hmac('', 'HS512')],
    ['HS256 with what the engine holds for a secret', hmac('stored hashed')],
    ['RS256 of a foreign key', jws({ ...header, alg: 'RS256' }, claims, rs256)],
    [
      'EdDSA of a foreign key',
      jws({ ...header, alg: 'EdDSA' }, claims, (data) => sign(null, data, theirs.EdDSA.privateKey)),
    ],
    ['ES256 of a foreign key under the right kid', es()],
    ['ES256 of a foreign key without a kid', es({ kid: undefined })],
    ['an all-zero signature (CVE-2022-21449)', `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`],
    ['a DER signature', jws({ ...header, alg: 'ES256' }, claims, (d) => sign('sha256', d, theirs.ES256.privateKey))],
    ['claims changed under a good signature', `${head}.${encode({ ...claims, sub: 'admin', x: 1 })}.${signature}`],
    ['header changed under a good signature', `${encode({ ...header, x: 1 })}.${body}.${signature}`],
    ['kid that is a path', es({ kid: '../../../../dev/null' })],
    ['kid that is SQL', es({ kid: "x' union select 'key" })],
    ['kid that is an object', es({ kid: { $ne: null } })],
    ['kid of a prototype', es({ kid: '__proto__' })],
    ['its own key in jwk', es({ jwk: own })],
    ['its own key in jwk, without a kid', es({ jwk: own, kid: undefined })],
    ['a jku', es({ jku: `${canary}/jwks`, kid: undefined })],
    ['an x5u', es({ x5u: `${canary}/cert.pem`, kid: undefined })],
    ['an x5c', es({ x5c: [Buffer.from('certificate').toString('base64')], kid: undefined })],
    ['crit with an unknown header', es({ crit: ['x-unknown'], 'x-unknown': true })],
    ['crit b64', es({ crit: ['b64'], b64: false })],
  ]
  const signed: [string, string][] = honest === undefined ? [] : honestButWrong(header, claims, honest)
  return [...list, ...misshapen(header, good), ...signed].map(([name, jwt]) => ({ name, jwt }))
}

/** What is no compact JWS of claims at all. */
function misshapen(header: Header, good: string): [string, string][] {
  const [head = '', body = '', signature = ''] = good.split('.')
  return [
    [
      'JWE with alg dir',
      `${encode({ ...header, alg: 'dir', enc: 'A128GCM' })}..AAAAAAAAAAAAAAAA.${body}.AAAAAAAAAAAAAAAAAAAAAA`,
    ],
    ['two JWTs', `${good}.${good}`],
    ['JSON serialisation', JSON.stringify({ payload: body, protected: head, signature })],
    ['not a JWT', 'not.a.jwt'],
    ['dots alone', '..'],
    ['header that is no JSON', `${Buffer.from('{').toString('base64url')}.${body}.${signature}`],
    ['payload that is an array', jws({ ...header, alg: 'ES256' }, [{ sub: 'a' }] as never, es256)],
    ['payload that is null', jws({ ...header, alg: 'ES256' }, null as never, es256)],
    ['a very deep payload', `${head}.${Buffer.from('['.repeat(5000)).toString('base64url')}.${signature}`],
  ]
}

/** Good signatures on what must be refused all the same. */
function honestButWrong(
  header: Header,
  claims: Claims,
  honest: NonNullable<ForgeryOptions['honest']>,
): [string, string][] {
  const now = Math.floor(Date.now() / 1000)
  const exp = Number(claims.exp)
  return [
    ['exp as a string', honest(header, { ...claims, exp: String(exp) })],
    ['exp as an array', honest(header, { ...claims, exp: [exp] })],
    ['exp in the past', honest(header, { ...claims, iat: now - 7200, exp: now - 3600 })],
    ['nbf in the future', honest(header, { ...claims, nbf: now + 3600 })],
    ['nbf as a string', honest(header, { ...claims, nbf: String(now - 10) })],
    ['iat as a string', honest(header, { ...claims, iat: String(now) })],
    ['aud of another', honest(header, { ...claims, aud: 'https://evil.example' })],
    ['aud as an object', honest(header, { ...claims, aud: { a: claims.aud } })],
    ['no aud', honest(header, { ...claims, aud: undefined })],
    ['iss of another', honest(header, { ...claims, iss: 'https://evil.example' })],
    ['no iss', honest(header, { ...claims, iss: undefined })],
    ['crit with an unknown header, signed', honest({ ...header, crit: ['x-unknown'], 'x-unknown': 1 }, claims)],
  ]
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** Signs with any key: `signer` gets the signing input. */
export function jws(header: Header, claims: Claims, signer: (data: Buffer) => Buffer): string {
  const input = `${encode(header)}.${encode(claims)}`
  return `${input}.${signer(Buffer.from(input)).toString('base64url')}`
}

export function es256With(key: KeyObject) {
  return (data: Buffer) => sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' })
}

const es256 = es256With(theirs.ES256.privateKey)
const rs256 = (data: Buffer) => createSign('sha256').update(data).sign(theirs.RS256.privateKey)
