/**
 * Verified claims (OpenID Connect for Identity Assurance 1.0): which a request asks for, and which of them may be released.
 * Only what was asked for by name, by a client that may have it, and was agreed to; what does not fit is left out in silence.
 */
import type { Client, Grant } from 'oidc-provider'
import {
  readVerifiedPermission,
  VERIFIED_CLAIMS,
  type VerifiedOffer,
  verifiedPermission,
} from '../interaction/verified_claims.ts'

/** An identification of an account that has not expired. */
export interface VerifiedRecord {
  readonly upstream: string
  readonly title: string
  readonly framework: string
  readonly evidence: string
  readonly claims: { readonly [claim: string]: string }
  readonly verifiedAt: Date
}

type Members = { readonly [name: string]: unknown }
interface Request {
  readonly verification: Members
  readonly claims: Members
}

export const isObject = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** What is asked for; undefined when it cannot be read. */
export function requestIn(value: unknown): Request | undefined {
  if (!isObject(value) || !isObject(value.verification) || !isObject(value.claims)) return undefined
  const { verification, claims } = value
  return 'trust_framework' in verification && Object.keys(claims).length > 0 ? { verification, claims } : undefined
}

/** What the request could be given, were it agreed to: of each use the newest identification that fits. */
export function offersFor(
  parameter: unknown,
  client: Client,
  records: readonly VerifiedRecord[],
  now: Date,
): VerifiedOffer[] {
  const allowed = allowedTo(client)
  const offers = usesOf(parameter).flatMap((asked) => {
    const found = choose(asked, records, (_, claim) => allowed.has(claim), now)
    return found === undefined ? [] : [found]
  })
  return records.flatMap(({ upstream, title, verifiedAt }) => {
    const claims = offers.filter(({ record }) => record.upstream === upstream).flatMap(({ names }) => names)
    return claims.length === 0 ? [] : [{ upstream, title, at: verifiedAt.getTime(), claims: [...new Set(claims)] }]
  })
}

/** The requests of the `claims` parameter, of both uses. */
function usesOf(parameter: unknown): unknown[] {
  if (typeof parameter !== 'string') return []
  const { id_token: idToken, userinfo } = JSON.parse(parameter) as { id_token?: unknown; userinfo?: unknown }
  return [idToken, userinfo].flatMap((use) => (isObject(use) ? [use[VERIFIED_CLAIMS]] : []))
}

export function asksForVerified(parameter: unknown): boolean {
  return usesOf(parameter).some((asked) => requestIn(asked) !== undefined)
}

/** The value of the claim `verified_claims` for one request; undefined when nothing of it may be released. */
export function release(
  asked: unknown,
  client: Client,
  grant: Grant,
  records: readonly VerifiedRecord[],
  now: Date,
): object | undefined {
  const allowed = allowedTo(client)
  const agreed = new Set(grant.getOIDCClaims())
  const may = (upstream: string, claim: string) => allowed.has(claim) && agreed.has(verifiedPermission(upstream, claim))
  const found = choose(asked, records, may, now)
  if (found === undefined) return undefined
  const { record, names, request } = found
  const { time, evidence } = request.verification
  return {
    verification: {
      trust_framework: record.framework,
      ...(time === undefined ? {} : { time: record.verifiedAt.toISOString() }),
      ...(evidence === undefined ? {} : { evidence: [{ type: record.evidence }] }),
    },
    claims: Object.fromEntries(names.map((name) => [name, record.claims[name]])),
  }
}

/** Whether a Grant holds a consent to anything verified: only then does the engine ask us for the claim. */
export function holdsVerified(claims: readonly string[]): boolean {
  return claims.some((name) => readVerifiedPermission(name) !== undefined)
}

function allowedTo(client: Client): ReadonlySet<string> {
  return new Set((client.verified_claims ?? []) as readonly string[])
}

/** The newest record that meets the request's conditions and has something of it. */
function choose(
  asked: unknown,
  records: readonly VerifiedRecord[],
  may: (upstream: string, claim: string) => boolean,
  now: Date,
) {
  const request = requestIn(asked)
  if (request === undefined) return undefined
  for (const record of records) {
    if (!meets(request.verification, record, now)) continue
    const names = Object.keys(request.claims).filter((name) => {
      const value = Object.hasOwn(record.claims, name) ? record.claims[name] : undefined
      return value !== undefined && fits(request.claims[name], value) && may(record.upstream, name)
    })
    if (names.length > 0) return { record, names, request }
  }
  return undefined
}

/** A condition on the verification that is not met leaves out everything, also one on what we do not know. */
function meets(verification: Members, { framework, evidence, verifiedAt }: VerifiedRecord, now: Date): boolean {
  const { trust_framework: framed, time, evidence: shown, ...others } = verification
  if (!fits(framed, framework) || hasCondition(others)) return false
  if (isObject(time)) {
    const { max_age: maxAge, ...rest } = time
    if (maxAge !== undefined && !(typeof maxAge === 'number' && now.getTime() - verifiedAt.getTime() <= maxAge * 1000))
      return false
    if (hasCondition(rest)) return false
  }
  return (Array.isArray(shown) ? shown : [shown]).every((each) => {
    if (!isObject(each)) return true
    const { type, ...rest } = each
    return fits(type, evidence) && !hasCondition(rest)
  })
}

/** `value` and `values` (OIDC Core §5.5.1). */
function fits(condition: unknown, actual: string): boolean {
  if (!isObject(condition)) return true
  const { value, values } = condition
  if (value !== undefined && value !== actual) return false
  return values === undefined || (Array.isArray(values) && values.includes(actual))
}

function hasCondition(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasCondition)
  if (!isObject(value)) return false
  if (['value', 'values', 'max_age'].some((name) => name in value)) return true
  return Object.values(value).some(hasCondition)
}
