/**
 * The rules of upstream logouts. A checked logout token ends the sessions to which somebody came from that provider before it
 * was issued: those from the session that it names, else, without a `sid`, all of the account that its subject is (§2.4). What
 * else was shown in such a session does not keep it: it began, or went on, by the word of a provider who takes it back.
 */
import type { Fact } from '../../events.ts'
import type { Proof } from '../../interaction/step.ts'
import { networkOf } from '../../platform/client_network.ts'
import { sha256 } from '../../platform/ids.ts'
import type { KeyValue, Limit } from '../../platform/key_value.ts'
import type { Tx } from '../../platform/postgres.ts'
import { UpstreamError, type UpstreamLogout } from '../../platform/upstream.ts'
import type { Identities } from '../identities/types.ts'
import type { AfterCommit, ProvenSession, UpstreamSelector } from '../sessions/types.ts'
import type { LiveUpstream } from '../upstreams/types.ts'
import type { UpstreamLogoutRepository } from './repository.ts'

export interface UpstreamLogoutDeps {
  readonly repository: Pick<UpstreamLogoutRepository, 'take' | 'deleteExpired'>
  readonly upstreams: { find(name: string): Promise<LiveUpstream | undefined> }
  readonly identities: Pick<Identities, 'find'>
  readonly sessions: {
    /** Live sessions with a proof by the provider. */
    listUpstream(upstream: string, of: UpstreamSelector, tx: Tx): Promise<readonly ProvenSession[]>
    end(uid: string, reason: 'upstream_logout', tx: Tx): Promise<AfterCommit>
  }
  readonly kv: Pick<KeyValue, 'get' | 'hit' | 'set'>
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly clock: { now(): Date }
  readonly warn: (error: unknown, message: string) => void
}

/**
 * - `absent`: no such provider, it is switched off, or its protocol has no such thing
 * - `refused`: one word for all that is wrong with a token; the log has the reason
 * - `temporarily_unavailable`: the provider's keys could not be read; it may send the token again
 */
export type LogoutOutcome =
  | { readonly ok: true; readonly ended: number }
  | { readonly ok: false; readonly code: 'absent' }
  | { readonly ok: false; readonly code: 'refused' }
  | {
      readonly ok: false
      readonly code: 'temporarily_unavailable' | 'too_many_requests'
      readonly retryAfter?: number | undefined
    }

export type UpstreamLogoutService = ReturnType<typeof createUpstreamLogoutService>

/** Tokens that were refused, of one network in a window. Others than providers send those. */
const FAILURES = { limit: 60, windowSeconds: 600 }
/** Of clocks that differ: rather a session too many than one that goes on. */
const TOLERANCE_MS = 30_000
/** A provider that gives its tokens years makes no rows for years: later nothing is left that an old one could end. */
const REMEMBERED_MS = 30 * 86_400_000
/** The longest that a conversation lives: until then a proof in it may still become a session. */
const CONVERSATION_SECONDS = 46_800

export function createUpstreamLogoutService(deps: UpstreamLogoutDeps) {
  const { repository, upstreams, kv, warn } = deps
  const failures = (ip: string): Limit => ({ key: `{upstream_logouts}:ip:${networkOf(ip)}`, ...FAILURES })
  return {
    /** Takes a logout token that was posted to the provider's address here. */
    async receive(name: string, token: string | undefined, ip: string): Promise<LogoutOutcome> {
      const upstream = await upstreams.find(name)
      const read = upstream?.driver.readLogout
      if (read === undefined) return { ok: false, code: 'absent' }
      const { allowed, retryAfter } = await kv.hit([{ ...failures(ip), peek: true }])
      if (!allowed) return { ok: false, code: 'too_many_requests', retryAfter }
      const refused = async (error: unknown): Promise<LogoutOutcome> => {
        warn(error, `a logout token for ${name} was refused`)
        await kv.hit([failures(ip)])
        return { ok: false, code: 'refused' }
      }
      try {
        const logout = await read(token ?? '')
        const ended = await obey(deps, name, logout)
        return ended === 'replayed'
          ? refused(new UpstreamError('answer_refused', 'logout_replayed'))
          : { ok: true, ended }
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error
        if (error.failure === 'answer_refused') return refused(error)
        warn(error, `a logout token for ${name} could not be checked`)
        return { ok: false, code: 'temporarily_unavailable' }
      }
    },

    /**
     * Whether the provider has taken back what it said in a conversation that becomes a session now. Without tolerance:
     * whoever signs out and in again is back within seconds.
     */
    async tookBack(accountId: string, proofs: readonly Proof[]): Promise<boolean> {
      for (const { by, at } of proofs) {
        if (by === undefined) continue
        const named = [{ accountId }, ...(by.session === undefined ? [] : [{ session: by.session }])]
        for (const each of named) {
          const issuedAt = await kv.get(keyOf(by.upstream, each))
          if (issuedAt !== undefined && at <= Number(issuedAt)) return true
        }
      }
      return false
    },

    purge: repository.deleteExpired,
  }
}

/** Takes the token and ends what it names, all or nothing. */
async function obey(deps: UpstreamLogoutDeps, upstream: string, logout: UpstreamLogout): Promise<number | 'replayed'> {
  const { repository, sessions, transaction, outbox, clock } = deps
  const { issuer, id } = logout
  const until = new Date(Math.min(logout.expiresAt + TOLERANCE_MS, clock.now().getTime() + REMEMBERED_MS))
  const named = await namedBy(deps, logout)
  // Before the sessions are listed: one that opens meanwhile looks here afterwards.
  if (named !== undefined) await remember(deps, upstream, named, logout)
  const after = await transaction(async (tx) => {
    if (!(await repository.take(sha256(`${upstream}\n${issuer}\n${id}`), until, tx))) return undefined
    const found = named === undefined ? [] : await sessions.listUpstream(upstream, named, tx)
    const ending: AfterCommit[] = []
    for (const { uid } of found.filter(({ proofs }) => isMeant(proofs, upstream, logout)))
      ending.push(await sessions.end(uid, 'upstream_logout', tx))
    const data = { upstream, count: ending.length }
    await outbox.record([{ type: 'upstream.logout_received', actor: 'system', data }], tx)
    return ending
  })
  if (after === undefined) return 'replayed'
  for (const repeat of after) await repeat()
  return after.length
}

function keyOf(upstream: string, named: UpstreamSelector): string {
  return `upstream_logout:${upstream}:${'session' in named ? `session:${named.session}` : `account:${named.accountId}`}`
}

/** For conversations that have no session yet. A token that is repeated says nothing later than it did. */
async function remember(
  { kv }: UpstreamLogoutDeps,
  upstream: string,
  named: UpstreamSelector,
  { issuedAt }: UpstreamLogout,
): Promise<void> {
  const key = keyOf(upstream, named)
  const known = Number((await kv.get(key)) ?? 0)
  if (issuedAt > known) await kv.set(key, String(issuedAt), CONVERSATION_SECONDS)
}

/** A session of theirs, by the hash that our proofs hold, else everything of the account that they know by that subject. */
async function namedBy({ identities }: UpstreamLogoutDeps, { issuer, subject, sessionId }: UpstreamLogout) {
  if (sessionId !== undefined) return { session: sha256(`${issuer}\n${sessionId}`) }
  const identity = subject === undefined ? undefined : await identities.find({ issuer, subject })
  return identity && { accountId: identity.accountId }
}

/** Whoever has shown it there again after the token was issued is meant no more, however late the token comes. */
function isMeant(proofs: readonly Proof[], upstream: string, { issuedAt }: UpstreamLogout): boolean {
  return proofs.some(({ by, at }) => by?.upstream === upstream && at <= issuedAt + TOLERANCE_MS)
}
