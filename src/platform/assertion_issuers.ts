/**
 * Issuers whose signed word is taken as a grant (RFC 7521, RFC 7523 §2.1; ID-JAG): what an operator says of them, and their
 * keys. Whose word it is, and what for, is judged by whoever asks.
 */
import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { z } from 'zod'
import type { Clock } from './clock.ts'
import type { HttpClient } from './http_client.ts'
import { publicJwk } from './public_jwk.ts'
import { createUpstreamRequests } from './upstream_exchange.ts'
import { createProviderKeys, SIGNING_ALGORITHMS } from './upstream_keys.ts'
import { checkedUri, webUriProblem } from './uri_rules.ts'

/** `jwt`: an assertion of RFC 7523. `id-jag`: an Identity Assertion JWT Authorization Grant. */
const PROFILES = ['jwt', 'id-jag'] as const

const uri = checkedUri(webUriProblem)
const unique = (list: readonly string[]) => new Set(list).size === list.length

const declaration = z
  .strictObject({
    issuer: uri,
    jwks_uri: uri.optional(),
    jwks: z.strictObject({ keys: z.array(publicJwk).min(1).max(20) }).optional(),
    algorithms: z
      .array(z.enum(SIGNING_ALGORITHMS))
      .min(1)
      .refine(unique, 'has an entry twice')
      .default(['ES256', 'PS256', 'RS256', 'EdDSA']),
    profiles: z.array(z.enum(PROFILES)).min(1).refine(unique, 'has an entry twice').default(['jwt']),
    /** The provider by which its subjects are people here: those who have connected it. Without, it speaks for machines. */
    upstream: z.string().min(1).optional(),
  })
  .refine((row) => (row.jwks === undefined) !== (row.jwks_uri === undefined), {
    path: ['jwks_uri'],
    message: 'or jwks is needed, and only one of them',
  })
  .refine((row) => row.upstream !== undefined || !row.profiles.includes('id-jag'), {
    path: ['upstream'],
    message: 'is needed for the profile id-jag, which is about people',
  })

export type TrustedIssuer = z.output<typeof declaration>

/**
 * Reads `assertion_issuers` of the settings. Our own issuer is never one: what we have signed as a grant for others must not
 * come back as one for us (ID-JAG §Cross-Domain Use).
 */
export function readAssertionIssuers(
  declarations: readonly unknown[],
  own: string,
): { readonly issuers: ReadonlyMap<string, TrustedIssuer> } | { readonly problems: readonly string[] } {
  const issuers = new Map<string, TrustedIssuer>()
  const problems = declarations.flatMap((given, i) => {
    const parsed = declaration.safeParse(given)
    const path = `assertion_issuers.${i}`
    if (!parsed.success)
      return parsed.error.issues.map((issue) => `${[path, ...issue.path].join('.')}: ${issue.message}`)
    const { issuer } = parsed.data
    if (issuer === own) return [`${path}.issuer: is this server itself`]
    if (issuers.has(issuer)) return [`${path}.issuer: ${issuer} is declared twice`]
    issuers.set(issuer, parsed.data)
    return []
  })
  return problems.length > 0 ? { problems } : { issuers }
}

/** The keys of one: those in the settings, or those at its `jwks_uri`, kept, and fetched anew for an unknown `kid`. */
export function keysOf(
  { jwks, jwks_uri: jwksUri }: TrustedIssuer,
  deps: { http: HttpClient; clock: Clock },
): JWTVerifyGetKey {
  if (jwksUri === undefined) return createLocalJWKSet((jwks ?? { keys: [] }) as unknown as JSONWebKeySet)
  return createProviderKeys(jwksUri, createUpstreamRequests(deps), deps.clock).find
}
