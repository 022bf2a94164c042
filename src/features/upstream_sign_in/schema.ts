/** Forms of signing in by a provider, and what is taken of a provider's claims. */
import { z } from 'zod'
import { canonicalEmail } from '../../platform/email_address.ts'
import { sha256 } from '../../platform/ids.ts'
import type { UpstreamIdentity } from '../../platform/upstream.ts'
import {
  type Account,
  OWN_CLAIMS,
  onlyProfile,
  ownClaimFields,
  type Profile,
  type Provenance,
} from '../accounts/types.ts'
import { verifiedIn } from '../identifications/types.ts'
import type { LiveUpstream } from '../upstreams/types.ts'
import type { Arrived } from './types.ts'

/** The name of a provider, as the settings and the URLs have it. */
export const upstreamForm = z.object({ provider: z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/) })
export type UpstreamForm = z.output<typeof upstreamForm>

const typed = z.string().max(500).default('')

export const upstreamAccountForm = z.object({
  action: z.enum(['create', 'link', 'back']).default('create'),
  email: typed,
  shared: typed,
  proof: z.string().max(20_000).optional(),
  ...Object.fromEntries(OWN_CLAIMS.map((claim) => [claim, typed])),
})
export type UpstreamAccountForm = z.output<typeof upstreamAccountForm> & { readonly [field: string]: unknown }

/** `identity` names what was shown, so that another one that arrived meanwhile is not linked in its place (A05). */
export const linkUpstreamForm = z.object({ action: z.enum(['link', 'skip']), identity: typed })
export type LinkUpstreamForm = z.output<typeof linkUpstreamForm>

const LONGEST_PICTURE = 2048

/**
 * The claims of a profile that are good: each is read as if its owner had typed it, and what does not pass (controls, a
 * megabyte, `javascript:`, a language nobody speaks here) is as if it had not been said.
 */
export function readProfile(
  claims: { readonly [name: string]: unknown },
  now: Date,
  locales: readonly string[],
): { readonly [claim: string]: string } {
  const fields = ownClaimFields(now.toISOString().slice(0, 10))
  const profile: { [claim: string]: string } = {}
  for (const claim of OWN_CLAIMS) {
    // A number is proven by a code of ours or not at all.
    if (claim === 'phone_number') continue
    const parsed = fields[claim].safeParse(claims[claim])
    if (parsed.success && parsed.data !== undefined) profile[claim] = parsed.data
  }
  const { picture, locale } = claims
  if (typeof picture === 'string' && isPicture(picture)) profile.picture = picture
  const language = typeof locale === 'string' ? locale.slice(0, 2).toLowerCase() : ''
  if (locales.includes(language)) profile.locale = language
  return profile
}

function isPicture(url: string): boolean {
  return url.length <= LONGEST_PICTURE && URL.canParse(url) && new URL(url).protocol === 'https:'
}

/** A provider that says claims, and what becomes of each. */
export interface ClaimSource {
  readonly name: string
  rule(claim: string): 'fill_if_empty' | 'always' | 'never'
}

export function provenanceOf(claims: readonly string[], source: string, now: Date): Provenance {
  return Object.fromEntries(claims.map((claim) => [claim, { source, at: now.toISOString() }]))
}

/** A profile after a provider's claims, each by its rule; undefined when nothing differs. */
export function takenOver(
  before: Pick<Account, 'profile' | 'provenance'>,
  claims: Profile,
  source: ClaimSource,
  now: Date,
): { readonly profile: Profile; readonly provenance: Provenance } | undefined {
  const fresh = Object.entries(onlyProfile(claims)).filter(([claim, value]) => {
    const rule = source.rule(claim)
    const had = before.profile[claim]
    return had === undefined ? rule !== 'never' : rule === 'always' && had !== value
  })
  if (fresh.length === 0) return undefined
  const names = fresh.map(([claim]) => claim)
  return {
    profile: { ...before.profile, ...Object.fromEntries(fresh) },
    provenance: { ...before.provenance, ...provenanceOf(names, source.name, now) },
  }
}

/** Somebody whom a provider names, and when they last showed it there. */
export interface Identified {
  readonly ok: true
  readonly upstream: LiveUpstream
  readonly identity: UpstreamIdentity
  readonly at: number
}

/** What is kept of them. */
export function toArrived({ upstream, identity, at }: Identified, now: Date, locales: readonly string[]): Arrived {
  const { issuer, subject, claims, suggested, acr, amr = [], sessionId } = identity
  const email = canonicalEmail(claims.email)
  const isVerified = claims.email_verified === true
  const profile = readProfile(claims, now, locales)
  return {
    ...{ upstream: upstream.name, issuer, subject, profile, at },
    label: email ?? profile.name ?? '',
    email,
    vouched: email !== undefined && isVerified && upstream.vouchesFor(email.slice(email.lastIndexOf('@') + 1)),
    amr: upstream.passesAmr ? amr.slice(0, MOST_AMR) : [],
    reaches: upstream.levelOf(acr),
    verified: verifiedIn(upstream.identification, identity),
    ...(suggested !== undefined && { suggested: readProfile(suggested, now, locales) }),
    ...(sessionId !== undefined && { session: sha256(`${issuer}\n${sessionId}`) }),
  }
}

const MOST_AMR = 8
