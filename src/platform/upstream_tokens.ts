/**
 * Signed statements of an OpenID provider: ID tokens (OIDC Core §3.1.3.7) and logout tokens (Back-Channel Logout 1.0 §2.6).
 * They are read here and not by openid-client, which looks at no signature of an ID token from the token endpoint, knows
 * one issuer per configuration (Microsoft's differ by tenant), and overlooks a new key for a minute.
 */
import { compactDecrypt, errors, type JWTPayload, jwtVerify } from 'jose'
import { UpstreamError, type UpstreamLogout } from './upstream.ts'
import { subjectOf } from './upstream_claims.ts'
import type { ProviderKeys, ReadyKey } from './upstream_keys.ts'

export interface TokenRules {
  readonly keys: ProviderKeys
  readonly algorithms: readonly string[]
  /** Ours, for tokens that are encrypted to us. */
  readonly decryptionKeys: readonly ReadyKey[]
  readonly clientId: string
  /** Whether the claims name an issuer that may speak here. */
  readonly issuer: (claims: JWTPayload) => boolean
  readonly now: Date
}

/** Of clocks that differ. */
const TOLERANCE_SECONDS = 30

/** `error.code` of jose, as reasons. */
const REASONS: { readonly [code: string]: string } = {
  ERR_JWT_EXPIRED: 'token_expired',
  ERR_JOSE_ALG_NOT_ALLOWED: 'token_algorithm',
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: 'token_signature',
  ERR_JWKS_NO_MATCHING_KEY: 'token_key_unknown',
  ERR_JWKS_MULTIPLE_MATCHING_KEYS: 'token_key_unclear',
  ERR_JWE_DECRYPTION_FAILED: 'token_decryption',
}

const refused = (reason: string, cause?: unknown) => new UpstreamError('answer_refused', reason, { cause })

interface IdTokenRules extends TokenRules {
  readonly nonce: string
  /** The person must have shown it at or after this time; seconds since the epoch. */
  readonly authenticatedSince?: number | undefined
}

/** The claims of an ID token that answers this very request. */
export async function readIdToken(
  token: unknown,
  rules: IdTokenRules,
): Promise<JWTPayload & { iss: string; sub: string }> {
  const { claims, type } = await verified(token, rules)
  // An access or logout token is signed by the same key.
  if (type !== undefined && type !== 'jwt') throw refused('token_type')
  if (rules.nonce === '' || claims.nonce !== rules.nonce) throw refused('nonce_mismatch')
  if (claims.azp !== undefined && claims.azp !== rules.clientId) throw refused('azp_mismatch')
  if (Array.isArray(claims.aud) && claims.aud.length > 1 && claims.azp === undefined) throw refused('azp_missing')
  const { authenticatedSince } = rules
  if (authenticatedSince !== undefined) {
    const at = claims.auth_time
    if (typeof at !== 'number' || at < authenticatedSince - TOLERANCE_SECONDS) {
      throw new UpstreamError('level_unmet', 'not_fresh')
    }
  }
  return { ...claims, sub: subjectOf(claims.sub) }
}

const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const LOGOUT_TYPES = ['logout+jwt', 'application/logout+jwt', 'jwt']

/** Whose session ended where. Taken only with every mark that tells it from an ID token (A18). */
export async function readLogoutToken(token: unknown, rules: TokenRules): Promise<UpstreamLogout> {
  const { claims, type } = await verified(token, rules)
  // Typing is recommended, not demanded (§2.4).
  if (type !== undefined && !LOGOUT_TYPES.includes(type)) throw refused('token_type')
  if ('nonce' in claims) throw refused('logout_nonce')
  const { events, jti, sub, sid } = claims
  const event = typeof events === 'object' && events !== null ? Object.entries(events) : []
  if (!event.some(([name, value]) => name === LOGOUT_EVENT && typeof value === 'object' && value !== null)) {
    throw refused('logout_event')
  }
  if (sub === undefined && sid === undefined) throw refused('logout_nobody')
  return {
    issuer: claims.iss,
    subject: sub === undefined ? undefined : subjectOf(sub),
    sessionId: sid === undefined ? undefined : subjectOf(sid),
    id: subjectOf(jti),
    issuedAt: claims.iat * 1000,
    expiresAt: claims.exp * 1000,
  }
}

interface Verified {
  readonly claims: JWTPayload & { iss: string; exp: number; iat: number }
  /** Header `typ` in small letters: media types have no case. */
  readonly type: string | undefined
}

/** What holds for both: signature, issuer, audience and times. */
async function verified(token: unknown, rules: TokenRules): Promise<Verified> {
  if (typeof token !== 'string') throw refused('token_missing')
  const { payload, protectedHeader } = await opened(token, rules)
  const { iss, exp, iat, ...others } = payload
  if (iss === undefined || !rules.issuer(payload)) throw refused('issuer_mismatch')
  const now = Math.floor(rules.now.getTime() / 1000)
  if (exp === undefined || iat === undefined || iat > now + TOLERANCE_SECONDS) throw refused('token_time')
  return { claims: { ...others, iss, exp, iat }, type: protectedHeader.typ?.toLowerCase() }
}

async function opened(token: string, { keys, algorithms, decryptionKeys, clientId, now }: TokenRules) {
  try {
    const jws = token.split('.').length === 5 ? await decrypted(token, decryptionKeys) : token
    return await jwtVerify(jws, keys.find, {
      algorithms: [...algorithms],
      audience: clientId,
      clockTolerance: TOLERANCE_SECONDS,
      currentDate: now,
      requiredClaims: ['iss', 'aud', 'exp', 'iat'],
    })
  } catch (error) {
    if (error instanceof UpstreamError) throw error
    if (error instanceof errors.JWTClaimValidationFailed) throw refused(`token_${error.claim}`, error)
    throw refused((error instanceof errors.JOSEError ? REASONS[error.code] : undefined) ?? 'token_invalid', error)
  }
}

async function decrypted(jwe: string, ours: readonly ReadyKey[]): Promise<string> {
  if (ours.length === 0) throw refused('token_encrypted')
  const { plaintext } = await compactDecrypt(
    jwe,
    ({ kid, alg }) => {
      const key = ours.find((candidate) => (kid === undefined || kid === candidate.kid) && alg === candidate.alg)
      if (key === undefined) throw refused('token_decryption')
      return key.key
    },
    {
      keyManagementAlgorithms: ours.map(({ alg }) => alg),
      contentEncryptionAlgorithms: ['A128GCM', 'A256GCM', 'A128CBC-HS256', 'A256CBC-HS512'],
    },
  )
  return new TextDecoder().decode(plaintext)
}
