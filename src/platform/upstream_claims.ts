/**
 * What of somebody else's word about a person is let in: bounded in number, depth and size, without names that mean more
 * to a program than to a person, and with an e-mail address that counts as verified only when that was said (A02, A07).
 */
import { type Json, UpstreamError } from './upstream.ts'

export type Claims = { readonly [name: string]: Json }

const SUBJECT_LENGTH = 255
const TEXT_LENGTH = 2048
const NAME_LENGTH = 255
const MEMBERS = 100
const DEPTH = 5
/** Characters of the claims as JSON. */
const TOTAL = 32 * 1024
const EMAIL_LENGTH = 254

/** The subject, or a refusal: null, numbers, "", arrays and what no identifier is would be one key for many people. */
export function subjectOf(value: unknown): string {
  if (typeof value === 'string' && value.length <= SUBJECT_LENGTH && value.trim() !== '' && plainText(value))
    return value
  throw new UpstreamError('answer_refused', 'subject_invalid')
}

/** What is over a bound, or no JSON, is dropped: no half of a name, and never a crash. */
export function boundedClaims(source: { readonly [name: string]: unknown }): Claims {
  const budget = { members: MEMBERS, total: TOTAL }
  const kept: [string, Json][] = []
  for (const [name, value] of Object.entries(source)) {
    const claim = usableName(name) ? bounded(value, DEPTH, budget) : undefined
    if (claim === undefined) continue
    const size = name.length + JSON.stringify(claim).length
    if (size > budget.total) continue
    budget.total -= size
    kept.push([name, claim])
  }
  return Object.fromEntries(kept)
}

/** The value as far as it is within bounds; undefined when it is not. */
function bounded(value: unknown, depth: number, budget: { members: number }): Json | undefined {
  if (budget.members <= 0) return undefined
  budget.members -= 1
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  if (typeof value === 'string') return value.length <= TEXT_LENGTH && plainText(value) ? value : undefined
  if (typeof value !== 'object' || depth === 0) return undefined
  if (Array.isArray(value)) {
    const items = value.slice(0, MEMBERS).map((item) => bounded(item, depth - 1, budget))
    return items.filter((item) => item !== undefined)
  }
  const members: [string, Json][] = []
  for (const [name, member] of Object.entries(value).slice(0, MEMBERS)) {
    const claim = usableName(name) ? bounded(member, depth - 1, budget) : undefined
    if (claim !== undefined) members.push([name, claim])
  }
  return Object.fromEntries(members)
}

function usableName(name: string): boolean {
  const ownOfPrograms = name === '__proto__' || name === 'constructor' || name === 'prototype'
  return !ownOfPrograms && name !== '' && name.length <= NAME_LENGTH && plainText(name)
}

/** Neither NUL, which no database takes, nor half of a character. */
function plainText(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0')
}

/**
 * When an e-mail address counts as verified:
 * - `claim`: `email_verified` is boolean true (OIDC Core §5.1)
 * - `claim_or_text`: or the text "true" (Apple's documents say "String or Boolean")
 * - `domain_owner`: `xms_edov` is boolean true, or the operator said that the tenant owns the domain (Microsoft, nOAuth)
 */
export type EmailRule = 'claim' | 'claim_or_text' | 'domain_owner'

/** Claims whose `email` is a text with a boolean `email_verified` beside it, or is not there. */
export function withVerifiedEmail(claims: Claims, rule: EmailRule, ownedDomains: readonly string[] = []): Claims {
  const { email, email_verified: said, ...others } = claims
  if (typeof email !== 'string' || email === '' || email.length > EMAIL_LENGTH) return others
  const domain = /@([^@]+)$/.exec(email)?.[1]?.toLowerCase() ?? ''
  const verified = {
    claim: said === true,
    claim_or_text: said === true || said === 'true',
    domain_owner: claims.xms_edov === true || ownedDomains.includes(domain),
  }[rule]
  return { ...others, email, email_verified: verified }
}
