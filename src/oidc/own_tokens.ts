/** JWTs that we have signed, read as anybody would who verifies them: signature, issuer, type and times (RFC 8725). */
import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose'
import type { Client } from 'oidc-provider'
import { isCompactJws } from './compact_jws.ts'
import { type Pairwise, sectorOf } from './pairwise.ts'

export interface OwnTokenDeps {
  readonly issuer: string
  readonly now: () => Date
  /** Every key that is published now. */
  readonly publicKeys: () => Promise<
    readonly { readonly kid: string; readonly alg: string; readonly publicJwk: object }[]
  >
}

/** The claims of one of our access tokens (RFC 9068) that is good now; undefined for everything else (A68, A69). */
export async function readAccessToken(deps: OwnTokenDeps, token: unknown): Promise<JWTPayload | undefined> {
  const read = await verified(deps, token, ['sub', 'aud', 'exp', 'client_id'])
  return read?.typ === 'at+jwt' ? read.claims : undefined
}

/** The claims of an ID token of this client that is good now. Every other JWT of ours says by its type that it is none. */
export async function readIdToken(deps: OwnTokenDeps, token: unknown, client: Client): Promise<JWTPayload | undefined> {
  const read = await verified(deps, token, ['sub', 'aud', 'exp', 'iat'])
  const isIdToken = read?.typ === undefined || read.typ === 'jwt'
  return isIdToken && read?.claims.aud === client.clientId ? read.claims : undefined
}

/** The account whose subject it is to the client that a token was given to. */
export async function accountOf(
  pairwise: Pick<Pairwise, 'accountOf'>,
  subject: string,
  client: Client | undefined,
): Promise<string | undefined> {
  return client?.subjectType === 'pairwise' ? pairwise.accountOf(subject, sectorOf(client)) : subject
}

async function verified({ issuer, now, publicKeys }: OwnTokenDeps, token: unknown, requiredClaims: string[]) {
  if (typeof token !== 'string' || !isCompactJws(token)) return undefined
  const keys = (await publicKeys()).map(({ kid, alg, publicJwk }) => ({ ...publicJwk, kid, alg, use: 'sig' }))
  const algorithms = ['ES256', 'RS256', 'EdDSA']
  const requirements = { issuer, algorithms, currentDate: now(), requiredClaims }
  try {
    const { payload, protectedHeader } = await jwtVerify(
      token,
      createLocalJWKSet({ keys } as JSONWebKeySet),
      requirements,
    )
    return { claims: payload, typ: protectedHeader.typ?.toLowerCase() }
  } catch {
    return undefined
  }
}
