/** What other rooms may know of a sign-in. */
import Bowser from 'bowser'
import type { Fact } from '../../events.ts'
import type { Proof, SessionLimits } from '../../interaction/step.ts'

/** One sign-in of one account in one browser. */
export interface Session {
  readonly uid: string
  readonly accountId: string
  readonly amr: readonly string[]
  /** Upstream providers that have vouched in it. */
  readonly upstreams?: readonly string[] | undefined
  /** Made on a shared computer: its cookie goes with the browser. */
  readonly transient: boolean
  readonly ip?: string | undefined
  /** ISO 3166-1 alpha-2, where a trusted proxy told it. */
  readonly country?: string | undefined
  readonly userAgent?: string | undefined
  readonly createdAt: Date
  readonly authenticatedAt: Date
  readonly seenAt: Date
  readonly endedAt?: Date | undefined
  readonly limits?: SessionLimits | undefined
}

/** A session as its owner sees it: the device in words instead of the user agent, what was shown, and whom it reached. */
export interface SessionView extends ListedSession {
  readonly device: Device
}

/** Where the sign-in came from and with what: sealed, each for itself, since the address is forgotten earlier. */
export const SEALED_IP = { table: 'sessions', key: 'uid', column: 'sealed_ip' } as const
export const SEALED_USER_AGENT = { table: 'sessions', key: 'uid', column: 'sealed_user_agent' } as const

/** A live session with what its owner wants to know of it. */
export interface ListedSession extends Session {
  /** Methods that were shown in it, as the levels name them. */
  readonly methods: readonly string[]
  /** Clients that hold a live grant from it. */
  readonly clientIds: readonly string[]
}

/** Links that were cut or told of a logout. `revoked` is false for an offline grant that survives. */
export interface CutLink {
  readonly accountId: string
  readonly clientId: string
  readonly sid: string
  readonly grantId: string
  readonly sessionUid: string
  readonly revoked: boolean
}

/** Which links an end touches: those of some sessions, of an account, of an account's client, or of one grant. */
export type LinkSelector =
  | { readonly sessionUids: readonly string[] }
  | { readonly accountId: string; readonly exceptUid?: string | undefined }
  | { readonly accountId: string; readonly clientId: string }
  | { readonly everybodyAt: string }
  | { readonly grantId: string }

/** Whose sessions an upstream provider's word opened: those from a session of its own (by hash), or an account's. */
export type UpstreamSelector = { readonly session: string } | { readonly accountId: string }

/** A session with what was shown in it. */
export interface ProvenSession {
  readonly uid: string
  readonly proofs: readonly Proof[]
}

/** A session that was ended. */
export interface Ended {
  readonly uid: string
  readonly accountId: string
}

/** Empty strings where the user agent tells nothing. Never trusted, only shown. */
export interface Device {
  readonly browser: string
  readonly system: string
  readonly kind: 'desktop' | 'mobile' | 'tablet' | 'unknown'
}

/** The moment, and after how many seconds of life and of silence a live session is over, unless its own limits are lower. */
export interface Cutoffs {
  readonly now: Date
  readonly absoluteSeconds: number
  readonly idleSeconds: number
  /** Silence is measured with so many seconds of slack, since it is not noted at each request. */
  readonly slackSeconds: number
}

/** Whether a session is over by its age or its silence. */
export function isOver({ createdAt, seenAt, limits: own }: Session, over: Cutoffs): boolean {
  const absolute = Math.min(over.absoluteSeconds, own?.absoluteSeconds ?? Number.POSITIVE_INFINITY)
  const idle = Math.min(over.idleSeconds, own?.idleSeconds ?? Number.POSITIVE_INFINITY) + over.slackSeconds
  const secondsSince = (then: Date) => (over.now.getTime() - then.getTime()) / 1000
  return secondsSince(createdAt) > absolute || secondsSince(seenAt) > idle
}

/** What a finished conversation hands over. */
export interface OpenSession {
  /** The session this browser has already, when it has one. */
  readonly uid?: string | undefined
  readonly accountId: string
  readonly proofs: readonly Proof[]
  readonly amr: readonly string[]
  readonly transient: boolean
  /** Where the brand that it began under ends it earlier than the settings do. */
  readonly limits?: SessionLimits | undefined
  readonly ip?: string | undefined
  /** ISO 3166-1 alpha-2, where a trusted proxy told it. */
  readonly country?: string | undefined
  readonly userAgent?: string | undefined
  /** Hash of the token that names the browser. */
  readonly device?: string | undefined
  readonly now: Date
  /** To be stated in the same insert as the session's own fact. */
  readonly facts?: readonly Fact[] | undefined
}

/** A client reached from a session, with the engine's Grant it got there. */
export interface ClientLink {
  readonly sessionUid: string
  readonly accountId: string
  readonly clientId: string
  /** The `sid` of this client's ID tokens (OIDC Back-Channel Logout 1.0 §2.1). */
  readonly sid: string
  readonly grantId: string
  /** `offline_access` was granted: the grant outlives a plain logout. */
  readonly offline: boolean
  readonly scope: string
}

/** What a client holds by a session. */
export interface SignIn {
  readonly grantId: string
  readonly sessionUid: string
}

/** The instants before which every session is over: what an index can find. */
export function beginningOf({ now, absoluteSeconds, idleSeconds, slackSeconds }: Cutoffs): Date[] {
  return [absoluteSeconds, idleSeconds + slackSeconds].map((seconds) => new Date(now.getTime() - seconds * 1000))
}

/** Limits of a session of its own, as columns. */
export function limitsOf({ limits }: OpenSession) {
  return [limits?.idleSeconds ?? null, limits?.absoluteSeconds ?? null]
}

/** What one client holds of one account at present. */
export interface ConnectedClient {
  readonly clientId: string
  readonly offline: boolean
  readonly since: Date
  readonly scopes: readonly string[]
}

/**
 * Why a session ended, and what follows. `keepsOffline`: grants with `offline_access` survive (OIDC Back-Channel Logout
 * 1.0 §2.7 says they should when a person only signs out; an attacker's must not when the account is being secured).
 * `notifies`: reached clients get a logout token; a session that merely grew old tells nobody.
 */
export const END_REASONS = {
  logout: { keepsOffline: true, notifies: true },
  account_switched: { keepsOffline: true, notifies: true },
  expired: { keepsOffline: true, notifies: false },
  upstream_logout: { keepsOffline: true, notifies: true },
  ended_by_account: { keepsOffline: false, notifies: true },
  ended_by_operator: { keepsOffline: false, notifies: true },
  revoked_by_client: { keepsOffline: false, notifies: true },
  password_changed: { keepsOffline: false, notifies: true },
  disowned: { keepsOffline: false, notifies: true },
  email_restored: { keepsOffline: false, notifies: true },
  factors_removed: { keepsOffline: false, notifies: true },
  password_recovered: { keepsOffline: false, notifies: true },
  factor_changed: { keepsOffline: false, notifies: true },
  account_disabled: { keepsOffline: false, notifies: true },
  account_deleted: { keepsOffline: false, notifies: true },
} as const satisfies Record<string, { keepsOffline: boolean; notifies: boolean }>

export type EndReason = keyof typeof END_REASONS

export interface EndAllOptions {
  /** The session that lives on. */
  readonly exceptUid?: string | undefined
  /** Who does it, when it is not the account. */
  readonly actor?: string | undefined
}

/** Repeats in the OIDC state what the transaction has stated. Only to be called after the commit; never throws. */
export type AfterCommit = () => Promise<void>

/** The facts that this room states; `consent.revoked` because revoking a client is one act here. */
export type SessionFact = Fact & {
  readonly type:
    | 'session.started'
    | 'session.reauthenticated'
    | 'session.ended'
    | 'sessions.ended'
    | 'grant.revoked'
    | 'logout.requested'
    | 'consent.revoked'
}

/** The device in words, from the user agent. It names a session for its owner and decides nothing. */
export function deviceOf(userAgent: string | undefined): Device {
  if (userAgent === undefined || userAgent === '') return { browser: '', system: '', kind: 'unknown' }
  const { browser, os, platform } = Bowser.parse(userAgent)
  const kind = platform.type
  return {
    browser: browser.name ?? '',
    system: os.name ?? '',
    kind: kind === 'desktop' || kind === 'mobile' || kind === 'tablet' ? kind : 'unknown',
  }
}
