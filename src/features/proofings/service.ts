/**
 * The rules of proofings: who may begin one, whose word ends it, and that what is verified becomes an identification in the same
 * transaction. A reference is a secret of the person's browser and the provider; a result is the provider's by its signature.
 */
import type { Fact } from '../../events.ts'
import { networkOf } from '../../platform/client_network.ts'
import { sha256 } from '../../platform/ids.ts'
import type { KeyValue, Limit } from '../../platform/key_value.ts'
import type { Tx } from '../../platform/postgres.ts'
import { isSigned, type SignedWebhook } from '../../platform/webhook_signature.ts'
import { type Identifications, type RecordedBy, type VerifiedClaims, verifiedIn } from '../identifications/types.ts'
import type { Ended, ProofingRepository } from './repository.ts'
import { type ProofingResult, REFERENCE, RETURN_TO, readResult } from './schema.ts'
import {
  type ByOperator,
  type Decided,
  isRecordable,
  type Proofing,
  type ProofingDesk,
  type ProofingProvider,
  type Proofings,
  type ResultOutcome,
  shownOf,
} from './types.ts'

export interface ProofingDeps {
  readonly repository: ProofingRepository
  readonly providers: ReadonlyMap<string, ProofingProvider>
  readonly identifications: Pick<Identifications, 'record'> & {
    forget(accountId: string, provider: string, tx: Tx, by?: RecordedBy): Promise<boolean>
  }
  readonly kv: Pick<KeyValue, 'hit'>
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly clock: { now(): Date }
  readonly newId: () => string
  /** 256 random bits. */
  readonly newToken: () => string
  readonly issuer: string
  /** Tells the account's owner that the provider has verified them, in the transaction that records it. */
  readonly tell: (accountId: string, title: string, tx: Tx) => Promise<void>
  readonly warn: (error: unknown, message: string) => void
}

const DAY_SECONDS = 86_400
const DAY_MS = DAY_SECONDS * 1000
/** As long as a person may take at the provider's. */
const BEGUN_MS = DAY_MS
const REVIEW_MS = 30 * DAY_MS
/** As long as the link of a notice works that says it was not the owner; what was verified meanwhile goes with it. */
const DISOWNED_MS = 7 * DAY_MS
/** Checks cost the operator money. */
const BEGINNINGS = { limit: 5, windowSeconds: DAY_SECONDS }
/** Results that nobody can have signed, of one network in a window. */
const FAILURES = { limit: 60, windowSeconds: 600 }
export type ProofingService = ReturnType<typeof createProofingService>

export function createProofingService(deps: ProofingDeps) {
  return { ...pages(deps), receive: receiving(deps), ...endings(deps), desk: deskOf(deps) }
}

function pages(deps: ProofingDeps): Proofings {
  const { repository, providers, kv, transaction, outbox, clock, newId, newToken, identifications } = deps
  const open = [...providers.values()].filter(({ webhook }) => webhook !== undefined)
  return {
    isOffered: () => open.length > 0,
    isProvider: (name) => providers.has(name),

    async offered(accountId) {
      if (open.length === 0) return []
      const now = clock.now()
      const latest = new Map((await repository.listLatest(accountId)).map((each) => [each.provider, each]))
      return open.map(({ name, title }) => ({ name, title, state: shownOf(latest.get(name), now) }))
    },

    async begin(name, accountId) {
      const provider = providers.get(name)
      if (provider?.webhook === undefined) return { ok: false, code: 'absent' }
      const { allowed, retryAfter } = await kv.hit([{ key: `{proofings}:begun:${accountId}`, ...BEGINNINGS }])
      if (!allowed) return { ok: false, code: 'too_many_requests', retryAfter }
      const [id, reference, beganAt] = [newId(), newToken(), clock.now()]
      const expiresAt = new Date(beganAt.getTime() + BEGUN_MS)
      const begun = { id, accountId, provider: name, referenceHash: sha256(reference), beganAt, expiresAt }
      await transaction(async (tx) => {
        await repository.lockAccount(accountId, tx)
        await repository.begin(begun, tx)
        await outbox.record([{ type: 'proofing.started', accountId, data: { proofing: id, provider: name } }], tx)
      })
      const url = new URL(provider.webhook.startUrl)
      url.searchParams.set(REFERENCE, reference)
      url.searchParams.set(RETURN_TO, `${deps.issuer}/account/identities`)
      return { ok: true, url: url.href }
    },

    forget: (name, accountId) =>
      transaction(async (tx) => {
        await repository.lockAccount(accountId, tx)
        return providers.has(name) && (await identifications.forget(accountId, name, tx))
      }),
  }
}

function receiving(deps: ProofingDeps) {
  const { providers, kv, clock, warn } = deps
  const failures = (ip: string): Limit => ({ key: `{proofings}:ip:${networkOf(ip)}`, ...FAILURES })
  /** Takes what was posted to the provider's address here. */
  return async (name: string, delivery: SignedWebhook, ip: string): Promise<ResultOutcome> => {
    const provider = providers.get(name)
    if (provider?.webhook === undefined) return { code: 'absent' }
    const { allowed, retryAfter } = await kv.hit([{ ...failures(ip), peek: true }])
    if (!allowed) return { code: 'too_many_requests', retryAfter }
    // Before anything of it is read: nobody else learns what a result looks like, or what references there are.
    if (!isSigned(delivery, provider.webhook.keys, clock.now())) {
      warn(undefined, `a result for ${name} was not signed by it, or not now`)
      await kv.hit([failures(ip)])
      return { code: 'unsigned' }
    }
    const read = readResult(delivery.body, clock.now())
    if ('detail' in read) return { code: 'malformed', detail: read.detail }
    return obey(deps, provider, read.result, sha256(delivery.id))
  }
}

/** Does what a result says, all or nothing and once: repeated deliveries are told what the first was told. */
async function obey(
  deps: ProofingDeps,
  provider: ProofingProvider,
  result: ProofingResult,
  delivery: string,
): Promise<ResultOutcome> {
  const { repository, transaction, clock } = deps
  const { name, identification } = provider
  const { status, verified_at: seen } = result
  const claims = verifiedIn(identification, result)
  if (status === 'verified' && !isRecordable(identification, claims, seen, clock.now())) return { code: 'unverified' }
  const hash = sha256(result.reference)
  return transaction(async (tx): Promise<ResultOutcome> => {
    const accountId = await repository.findAccount(hash, tx)
    if (accountId === undefined) return { code: 'unknown' }
    await repository.lockAccount(accountId, tx)
    // From here on the row is ours: of deliveries at once, each sees what the one before has done.
    const proofing = await repository.lockByReference(hash, tx)
    if (proofing === undefined || proofing.provider !== name) return { code: 'unknown' }
    const isRepeated = proofing.results.includes(delivery)
    const isDone = isRepeated || (await act(deps, { provider, proofing, claims, seen }, result, delivery, tx))
    return { code: isDone ? 'taken' : 'unknown' }
  })
}

interface Checked {
  readonly provider: ProofingProvider
  readonly proofing: Proofing
  readonly claims: VerifiedClaims | undefined
  readonly seen: Date | undefined
}

/** Whether the row was still open, and this is what has happened to it. */
async function act(
  deps: ProofingDeps,
  checked: Checked,
  { status, reason }: ProofingResult,
  by: string,
  tx: Tx,
): Promise<boolean> {
  const { repository, outbox, clock } = deps
  const now = clock.now()
  const { id, accountId, provider } = checked.proofing
  if (status !== 'review') {
    if (!(await repository.decide(id, { from: 'any', state: status, reason, by }, now, tx))) return false
    await settle(deps, checked, { status, reason }, { actor: 'system' }, tx)
    return true
  }
  // An operator who has looked at earlier claims must not approve these by the same name.
  const as = checked.proofing.state === 'review' ? deps.newId() : id
  const waiting = { as, claims: checked.claims, verifiedAt: checked.seen, reason, by }
  const expiresAt = new Date(now.getTime() + REVIEW_MS)
  if (!(await repository.refer(id, { ...waiting, expiresAt }, now, tx))) return false
  const fact: Fact = { type: 'proofing.referred', accountId, actor: 'system', data: { proofing: as, provider, reason } }
  await outbox.record([fact], tx)
  return true
}

/** What follows from a decision, in its transaction. */
async function settle(
  deps: ProofingDeps,
  { provider, proofing, claims, seen }: Checked,
  { status, reason }: { readonly status: 'verified' | 'refused'; readonly reason: string | undefined },
  by: RecordedBy,
  tx: Tx,
): Promise<void> {
  const { id, accountId } = proofing
  const { actor, operator } = by
  const data = { proofing: id, provider: provider.name, status, reason, operator }
  await deps.outbox.record([{ type: 'proofing.decided', accountId, actor, data }], tx)
  if (status === 'verified') await identify(deps, accountId, { provider, claims, seen }, { actor, operator }, tx)
}

/** Records what was verified, and tells the owner. A later identification stays. */
async function identify(
  { identifications, clock, tell }: ProofingDeps,
  accountId: string,
  { provider, claims, seen }: Pick<Checked, 'provider' | 'claims' | 'seen'>,
  by: RecordedBy,
  tx: Tx,
): Promise<boolean> {
  const now = clock.now().getTime()
  const at = Math.min(seen?.getTime() ?? now, now)
  if (!(await identifications.record(accountId, provider, { verified: claims, at }, tx, by))) return false
  await tell(accountId, provider.title, tx)
  return true
}

function endings(deps: ProofingDeps) {
  const { repository, identifications, transaction, outbox, clock } = deps
  const state = async (ended: readonly Ended[], reason: string, tx: Tx) => {
    const facts = ended.map(({ id, accountId, provider }): Fact => {
      return { type: 'proofing.expired', accountId, actor: 'system', data: { proofing: id, provider, reason } }
    })
    await outbox.record(facts, tx)
  }
  return {
    /** The account is switched off, or somebody else had it. */
    async end(accountId: string, reason: string, tx: Tx): Promise<void> {
      await state(await repository.endOf(accountId, clock.now(), tx), reason, tx)
    },

    /** Whoever had the account has proven who *they* are: that is not the owner. */
    async disown(accountId: string, tx: Tx): Promise<void> {
      const since = new Date(clock.now().getTime() - DISOWNED_MS)
      for (const provider of await repository.listVerified(accountId, since, tx)) {
        await identifications.forget(accountId, provider, tx, { actor: 'system', reason: 'disowned' })
      }
    },

    /** Ends what waited for too long. @returns how many */
    endOverdue: (now: Date, atMost: number): Promise<number> =>
      transaction(async (tx) => {
        const ended = await repository.endOverdue(now, atMost, tx)
        await state(ended, 'overdue', tx)
        return ended.length
      }),

    purge: repository.deleteEnded,
  }
}

function deskOf(deps: ProofingDeps): ProofingDesk {
  const { repository, providers, identifications, transaction, outbox, clock } = deps
  const operatorOf = ({ operator, reason }: ByOperator): RecordedBy => ({ actor: 'operator', operator, reason })
  const decide = (id: string, status: 'verified' | 'refused', by: ByOperator) =>
    transaction(async (tx): Promise<Decided> => {
      const found = await repository.find(id, tx)
      if (found === undefined) return 'absent'
      await repository.lockAccount(found.accountId, tx)
      const provider = providers.get(found.provider)
      if (provider === undefined) return 'undeclared'
      // What is declared today counts, not what was when it came.
      const claims = verifiedIn(provider.identification, { claims: found.claims ?? {} })
      const seen = found.verifiedAt
      const isOpen = found.state === 'review' && found.expiresAt > clock.now()
      const isGood = status === 'refused' || isRecordable(provider.identification, claims, seen, clock.now())
      if (isOpen && !isGood) return 'unverified'
      const decision = { from: 'review', state: status, reason: by.reason } as const
      if (!(await repository.decide(id, decision, clock.now(), tx))) return 'closed'
      await settle(deps, { provider, proofing: found, claims, seen }, { status, reason: by.reason }, operatorOf(by), tx)
      return 'done'
    })
  return {
    list: repository.list,

    view: (id, { operator }) =>
      transaction(async (tx) => {
        const found = await repository.find(id, tx)
        if (found === undefined) return undefined
        const data = { proofing: id, provider: found.provider, operator }
        const fact: Fact = { type: 'proofing.viewed', accountId: found.accountId, actor: 'operator', data }
        await outbox.record([fact], tx)
        return found
      }),

    approve: (id, by) => decide(id, 'verified', by),
    refuse: (id, by) => decide(id, 'refused', by),

    record: ({ accountId, provider: name, claims, at }, by) =>
      transaction(async (tx): Promise<Decided> => {
        const provider = providers.get(name)
        if (provider === undefined || provider.webhook !== undefined) return 'undeclared'
        if (!(await repository.lockAccount(accountId, tx))) return 'absent'
        const verified = verifiedIn(provider.identification, { claims })
        const isWhole = Object.keys(verified ?? {}).length === Object.keys(claims).length
        if (!isWhole || !isRecordable(provider.identification, verified, at, clock.now())) return 'unverified'
        const recorded = await identify(deps, accountId, { provider, claims: verified, seen: at }, operatorOf(by), tx)
        return recorded ? 'done' : 'later'
      }),

    revoke: (accountId, provider, by) =>
      transaction(async (tx) => {
        await repository.lockAccount(accountId, tx)
        return identifications.forget(accountId, provider, tx, operatorOf(by))
      }),
  }
}
