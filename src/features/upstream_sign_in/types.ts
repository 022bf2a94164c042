/** What waits while a browser is away at a provider, and whom it brought back. */
import { z } from 'zod'
import type { FlowState } from '../../interaction/step.ts'
import type { UpstreamTokens } from '../../platform/upstream.ts'
import type { IdentityKey, NewIdentity } from '../identities/types.ts'

/** Where the answer is awaited: in a conversation, or on the account pages. Both are one browser's (A17). */
export type Target =
  | { readonly kind: 'interaction'; readonly uid: string; readonly cid: string }
  | { readonly kind: 'account'; readonly sessionUid: string; readonly accountId: string }

/** Somebody whom a provider vouches for and who has no account by it yet. Kept among the answers of the conversation. */
export interface Arrived extends IdentityKey {
  /** Name of the provider. */
  readonly upstream: string
  readonly label: string
  /** Canonical address that the provider told. */
  readonly email?: string | undefined
  /** The address is as good as proven: the provider says so and is trusted for its domain. */
  readonly vouched: boolean
  /** Claims that may be taken over, checked like typed ones. */
  readonly profile: { readonly [claim: string]: string }
  /** Claims that nobody vouches for: they may stand in a field that the person reads and changes. */
  readonly suggested?: { readonly [claim: string]: string } | undefined
  /** Claims that count as verified, of a provider that identifies people. */
  readonly verified?: { readonly [claim: string]: string } | undefined
  readonly amr: readonly string[]
  readonly reaches?: string | undefined
  /** When it was shown; milliseconds since the epoch. */
  readonly at: number
  /** Hash of the provider's session. */
  readonly session?: string | undefined
  /** The provider's, where the operator asked for them to be kept. Never shown, and gone with the conversation. */
  readonly tokens?: UpstreamTokens | undefined
  /** `link`: the person says that they have an account, and proves it first. */
  readonly mode?: 'link' | undefined
  /** The account that was begun with it. */
  readonly begun?: string | undefined
}

/** The name under which the answers of a conversation hold it. */
export const ARRIVED = 'upstream'

const arrivedSchema = z.object({
  upstream: z.string(),
  issuer: z.string(),
  subject: z.string(),
  label: z.string(),
  email: z.string().optional(),
  vouched: z.boolean(),
  profile: z.record(z.string(), z.string()),
  suggested: z.record(z.string(), z.string()).optional(),
  verified: z.record(z.string(), z.string()).optional(),
  amr: z.array(z.string()),
  reaches: z.string().optional(),
  at: z.number(),
  session: z.string().optional(),
  tokens: z.object({ accessToken: z.string(), refreshToken: z.string().optional() }).optional(),
  mode: z.literal('link').optional(),
  begun: z.string().optional(),
}) satisfies z.ZodType<Arrived>

/** Who has arrived in the conversation and is to be given an account. */
export function arrivedIn({
  answers,
}: {
  readonly answers: { readonly [step: string]: unknown }
}): Arrived | undefined {
  // Asked on each page of everybody's conversation.
  if (answers[ARRIVED] === undefined) return undefined
  const parsed = arrivedSchema.safeParse(answers[ARRIVED])
  return parsed.success ? parsed.data : undefined
}

const LONGEST_TOKEN = 16 * 1024

/** They lie in the record of the conversation, which a provider is not to fill. */
export function keptTokens({ accessToken, refreshToken = '' }: UpstreamTokens): UpstreamTokens | undefined {
  if (accessToken.length > LONGEST_TOKEN || refreshToken.length > LONGEST_TOKEN) return undefined
  return { accessToken, ...(refreshToken !== '' && { refreshToken }) }
}

/** What goes into the table is the key, a word for its owner and what was asked for; claims are the account's. */
export function newIdentity({ upstream, issuer, subject, label, tokens }: Arrived): NewIdentity {
  return { upstream, issuer, subject, label, tokens }
}

/** Whether an answer is awaited here: in the conversation, or session, that the browser left. */
export function sameTarget(a: Target, b: Target): boolean {
  if (a.kind === 'interaction') return b.kind === 'interaction' && a.cid === b.cid
  return b.kind === 'account' && a.sessionUid === b.sessionUid && a.accountId === b.accountId
}

/** What is demanded beyond the weakest level. */
export function levelsOf({ demands }: FlowState): readonly string[] {
  return demands.flatMap(({ acr, reason }) => (reason === undefined ? [] : [acr]))
}

/**
 * Whether the provider's own session is an answer: not where the request demands a new authentication, nor to whoever is
 * signed in here and is asked anew. Who merely signs in as somebody else is asked where that is possible.
 */
export function freshnessOf({ session, params, prompt }: FlowState): boolean | 'where_possible' {
  const prompts = String(params.prompt ?? '').split(' ')
  if (params.max_age !== undefined || prompts.includes('login')) return true
  if (session === undefined) return false
  return prompt.name === 'login' ? true : 'where_possible'
}
