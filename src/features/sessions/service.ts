/** The rules of sign-ins: how one begins, whom it reached, and how it ends everywhere at once. */
import type { Fact } from '../../events.ts'
import type { Outbox } from '../../platform/outbox.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { SessionRepository } from './repository.ts'
import {
  type AfterCommit,
  type ClientLink,
  type ConnectedClient,
  type CutLink,
  type Cutoffs,
  deviceOf,
  END_REASONS,
  type EndAllOptions,
  type Ended,
  type EndReason,
  isOver,
  type OpenSession,
  type Session,
  type SessionFact,
  type SessionView,
} from './types.ts'

export interface SessionDeps {
  readonly repository: SessionRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: Outbox
  readonly accounts: {
    /** Voids every proof, cookie and grant of the account at once. */
    advanceEpoch(accountId: string, reason: string, tx: Tx): Promise<unknown>
    /** Writes the committed epoch to where it is compared. Idempotent. */
    publish(accountId: string): Promise<void>
  }
  readonly clients: {
    /** The client's `backchannel_logout_uri`, when it has one and is enabled. */
    backchannelUri(clientId: string, tx: Tx): Promise<string | undefined>
  }
  readonly consents: { revoke(accountId: string, clientId: string, now: Date, tx: Tx): Promise<boolean> }
  /** The OIDC state; both are idempotent. */
  readonly engine: { destroySession(uid: string): Promise<void>; destroyGrant(grantId: string): Promise<void> }
  readonly clock: { now(): Date }
  readonly newId: () => string
  readonly limits: { readonly idleSeconds: number; readonly absoluteSeconds: number }
  /** Told when the OIDC state could not be changed after a commit; the facts' consumer repeats it. */
  readonly warn: (error: unknown, message: string) => void
}

export type SessionService = ReturnType<typeof createSessionService>

/** `seen_at` is written at the most once in this many seconds; silence is measured with the same slack. */
const TOUCH_SECONDS = 300

export function createSessionService(deps: SessionDeps) {
  const tell = teller(deps)
  return { ...beginnings(deps), ...views(deps), ...endings(deps, tell), ...revocations(deps, tell) }
}

function cutoffs(now: Date, limits: SessionDeps['limits']): Cutoffs {
  return { ...limits, now, slackSeconds: TOUCH_SECONDS }
}

interface Beginnings {
  open(session: OpenSession): Promise<string>
  linkClient(link: ClientLink): Promise<boolean>
  touch(uid: string, now: Date): Promise<void>
}

function beginnings({ repository, transaction, outbox, clock, newId, limits }: SessionDeps): Beginnings {
  return {
    /**
     * Begins a session, or renews the live one `uid` of the same account. Returns the uid for the engine's session. A new
     * one is a single statement; what a renewal has to state is known only once it is done.
     */
    async open(session: OpenSession): Promise<string> {
      const fresh = newId()
      if (session.uid === undefined) {
        await repository.begin(session, fresh, outbox.insert(factsOf(session, fresh, false)))
        return fresh
      }
      return transaction(async (tx) => {
        const { uid, renewed } = await repository.open(session, fresh, cutoffs(session.now, limits), tx)
        await outbox.record(factsOf(session, uid, renewed), tx)
        return uid
      })
    },

    /**
     * Notes that a session reached a client. To be awaited before the engine's state is written.
     * False when the session has ended meanwhile: the caller must then refuse, or a grant would outlive "end everything".
     */
    linkClient: (link: ClientLink): Promise<boolean> => repository.link(link, clock.now()),

    /** Notes that the session is in use. Writes only when the last note is older than five minutes. */
    touch: (uid: string, now: Date): Promise<void> =>
      repository.touch(uid, now, new Date(now.getTime() - TOUCH_SECONDS * 1000)),
  }
}

function factsOf(session: OpenSession, uid: string, renewed: boolean): Fact[] {
  const type = renewed ? 'session.reauthenticated' : 'session.started'
  const data = { uid, amr: [...session.amr], transient: session.transient }
  // Which browser it was is for the room of devices, once.
  const { accountId, device, userAgent, facts = [] } = session
  return [...facts, { type, accountId, data, sealed: device && !renewed ? { device, userAgent } : undefined }]
}

function views({ repository, clock, limits }: SessionDeps) {
  return {
    /** The session when it is alive: not ended, not too old, not too long silent. */
    async findLive(uid: string): Promise<Session | undefined> {
      const session = await repository.find(uid)
      if (session === undefined || session.endedAt !== undefined) return undefined
      return isOver(session, cutoffs(clock.now(), limits)) ? undefined : session
    },

    /** The account's live sessions, the latest seen first. */
    async list(accountId: string): Promise<SessionView[]> {
      const sessions = await repository.listLive(accountId, cutoffs(clock.now(), limits))
      return sessions.map((session) => ({ ...session, device: deviceOf(session.userAgent) }))
    },

    // `signInOf`: what a `sid` in an ID token stands for, while that sign-in lasts; `grantStands`: whether anybody holds a grant.
    ...{ listUpstream: repository.listUpstream, signInOf: repository.findLink, grantStands: repository.grantStands },

    /** Clients that hold a live grant of the account at present. */
    connectedClients: (accountId: string): Promise<ConnectedClient[]> => repository.listConnected(accountId),
  }
}

/** What one ending changed. */
interface Changes {
  readonly sessions: readonly Ended[]
  readonly links: readonly CutLink[]
  /** The account whose epoch has advanced. */
  readonly advanced?: string | undefined
}

/** How every ending runs: SQL and facts in one transaction, then the OIDC state. */
interface Teller {
  /** With a caller's `tx` the caller runs the returned function after its commit; without, it has been run already. */
  act(work: (tx: Tx) => Promise<Changes>, tx?: Tx): Promise<AfterCommit>
  /** States the facts, and the logouts at the clients when they are to be told. */
  state(changes: Changes, notifies: boolean, facts: readonly SessionFact[], tx: Tx): Promise<Changes>
}

function teller(deps: SessionDeps): Teller {
  return {
    async act(work, tx) {
      const after = afterwards(deps, tx === undefined ? await deps.transaction(work) : await work(tx))
      if (tx !== undefined) return after
      await after()
      return async () => {}
    },
    async state(changes, notifies, facts, tx) {
      const logouts = notifies ? await logoutFacts(deps, changes.links, tx) : []
      if (facts.length + logouts.length > 0) await deps.outbox.record([...facts, ...logouts], tx)
      return changes
    },
  }
}

interface Endings {
  end(uid: string, reason: EndReason, tx?: Tx): Promise<AfterCommit>
  endAll(accountId: string, reason: EndReason, options?: EndAllOptions, tx?: Tx): Promise<AfterCommit>
}

function endings(deps: SessionDeps, { act, state }: Teller): Endings {
  const { repository, accounts, clock } = deps
  return {
    /** Ends one session. Ending one that is not live changes nothing. */
    end(uid, reason, tx) {
      return act(async (tx) => {
        const now = clock.now()
        const ended = await repository.end(uid, reason, now, tx)
        if (ended === undefined) return { sessions: [], links: [] }
        const links = await repository.cutLinks({ sessionUids: [uid] }, END_REASONS[reason].keepsOffline, now, tx)
        const changes = { sessions: [ended], links }
        const data = { uid, reason }
        const fact = { type: 'session.ended', accountId: ended.accountId, data, sealed: effectsOf(changes) } as const
        return state(changes, END_REASONS[reason].notifies, [fact], tx)
      }, tx)
    },

    /**
     * Ends every session of the account and revokes every grant, offline ones and those of sessions long ended too.
     * With `exceptUid` that session and its grants live on and the epoch stands.
     */
    endAll(accountId, reason, { exceptUid, actor } = {}, tx) {
      return act(async (tx) => {
        const now = clock.now()
        const sessions = await repository.endAll(accountId, exceptUid, reason, now, tx)
        const links = await repository.cutLinks({ accountId, exceptUid }, END_REASONS[reason].keepsOffline, now, tx)
        if (exceptUid === undefined) await accounts.advanceEpoch(accountId, reason, tx)
        const changes = { sessions, links, advanced: exceptUid === undefined ? accountId : undefined }
        const data = { reason, count: sessions.length, ...(exceptUid === undefined ? {} : { exceptUid }) }
        return state(
          changes,
          END_REASONS[reason].notifies,
          [{ type: 'sessions.ended', accountId, actor, data, sealed: effectsOf(changes) }],
          tx,
        )
      }, tx)
    },
  }
}

function revocations(deps: SessionDeps, { act, state }: Teller) {
  const { repository, consents, clock } = deps
  return {
    /** Takes back all that the account gave one client: the consent and every grant. False when there was nothing. */
    async revokeClient(accountId: string, clientId: string, reason = 'revoked_by_account', tx?: Tx): Promise<boolean> {
      let found = false
      await act(async (tx) => {
        const now = clock.now()
        const revoked = await consents.revoke(accountId, clientId, now, tx)
        const links = await repository.cutLinks({ accountId, clientId }, false, now, tx)
        found = revoked || links.length > 0
        const consent: SessionFact[] = revoked ? [{ type: 'consent.revoked', accountId, clientId }] : []
        return state({ sessions: [], links }, true, [...consent, ...grantFacts(links, reason)], tx)
      }, tx)
      return found
    },

    /** Revokes one grant, for instance because its code or refresh token was used twice. */
    async revokeGrant(grantId: string, reason: string, tx?: Tx): Promise<AfterCommit> {
      return act(async (tx) => {
        const links = await repository.cutLinks({ grantId }, false, clock.now(), tx)
        return state({ sessions: [], links }, false, grantFacts(links, reason), tx)
      }, tx)
    },

    /** Ends up to `atMost` sessions that are over by age or silence. Their browsers' cookies are dead already. */
    async endOver(now: Date, atMost: number): Promise<number> {
      let count = 0
      await act(async (tx) => {
        const sessions = await repository.endOver(cutoffs(now, deps.limits), atMost, now, tx)
        count = sessions.length
        if (count === 0) return { sessions: [], links: [] }
        const links = await repository.cutLinks({ sessionUids: sessions.map(({ uid }) => uid) }, true, now, tx)
        return state(
          { sessions, links },
          END_REASONS.expired.notifies,
          sessions.map((session) => expiredFact(session, links)),
          tx,
        )
      })
      return count
    },
  }
}

function afterwards(
  { outbox, accounts, engine, warn }: SessionDeps,
  { sessions, links, advanced }: Changes,
): AfterCommit {
  return async () => {
    outbox.wake()
    const grants = new Set(links.filter(({ revoked }) => revoked).map(({ grantId }) => grantId))
    const results = await Promise.allSettled([
      advanced === undefined ? undefined : accounts.publish(advanced),
      ...sessions.map(({ uid }) => engine.destroySession(uid)),
      ...[...grants].map((grantId) => engine.destroyGrant(grantId)),
    ])
    for (const result of results) {
      if (result.status === 'rejected') warn(result.reason, 'the OIDC state was not changed; the facts will repeat it')
    }
  }
}

/** What the consumer of the fact repeats. Carried by the fact, since a deleted account leaves no rows to look it up in. */
function effectsOf({ sessions, links }: Changes): { sessions: string[]; grants: string[] } {
  return {
    sessions: sessions.map(({ uid }) => uid),
    grants: [...new Set(links.filter(({ revoked }) => revoked).map(({ grantId }) => grantId))],
  }
}

function expiredFact(session: Ended, links: readonly CutLink[]): SessionFact {
  const own = { sessions: [session], links: links.filter(({ sessionUid }) => sessionUid === session.uid) }
  const data = { uid: session.uid, reason: 'expired' }
  return { type: 'session.ended', accountId: session.accountId, actor: 'system', data, sealed: effectsOf(own) }
}

function grantFacts(links: readonly CutLink[], reason: string): SessionFact[] {
  const byGrant = new Map(links.map((link) => [link.grantId, link]))
  return [...byGrant.values()].map(({ grantId, accountId, clientId }) => ({
    type: 'grant.revoked',
    accountId,
    clientId,
    data: { grantId, reason },
  }))
}

/** One fact for each reached client and `sid` that can be told (OIDC Back-Channel Logout 1.0 §2.5). */
async function logoutFacts({ clients }: SessionDeps, links: readonly CutLink[], tx: Tx): Promise<SessionFact[]> {
  const facts: SessionFact[] = []
  const told = new Map<string, boolean>()
  const seen = new Set<string>()
  for (const { accountId, clientId, sid } of links) {
    const key = `${clientId} ${sid}`
    if (seen.has(key)) continue
    seen.add(key)
    if (!told.has(clientId)) told.set(clientId, (await clients.backchannelUri(clientId, tx)) !== undefined)
    if (told.get(clientId)) facts.push({ type: 'logout.requested', accountId, clientId, data: { sid, sub: accountId } })
  }
  return facts
}
