/** What the account pages ask of the other rooms, show, let a person say about themselves, and how an act ends. */
import type { Fact } from '../../events.ts'
import type { AccountView, ClientView } from '../../interaction/step.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import type { Checked } from '../../platform/one_time_codes.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { OwnClaim } from '../accounts/types.ts'
import type { DelegationKey, StoredDelegation } from '../agents/types.ts'
import type { Agreement, Consent, Permission, StoredDetail } from '../consents/types.ts'
import type { CodeRequest, CodeTarget } from '../email_codes/types.ts'
import type { ReadEmail } from '../identifiers/types.ts'
import type { Tell } from '../notices/types.ts'
import type { Realms } from '../realms/types.ts'
import type { AfterCommit, ConnectedClient, EndReason, SessionView } from '../sessions/types.ts'

/** Claims by name, as they are stored. */
export type Claims = { readonly [claim: string]: unknown }

export interface AccountPagesDeps {
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void>; wake(): void }
  readonly clock: { now(): Date }
  readonly notices: { readonly tell: Tell }
  /** The client of these pages themselves: it is not listed and cannot be revoked. */
  readonly ownClientId: string
  /** Keeps the address that a session is about to prove. */
  readonly kv: Pick<KeyValue, 'get' | 'set' | 'delete'>
  readonly accounts: {
    find(accountId: string): Promise<{ readonly profile: Claims } | undefined>
    /** States the change. A given profile replaces the one before. */
    update(accountId: string, changes: { locale?: string; profile?: Claims }, tx: Tx): Promise<unknown>
    /** States the change. Throws AppError `already_exists` when another account has proven the address. */
    changeEmail(accountId: string, email: string, tx: Tx): Promise<AccountView | undefined>
    /** Deletes the account and all that hangs on it, ends its sessions and states both, with `also` in one transaction. */
    remove(accountId: string, also: (tx: Tx) => Promise<void>): Promise<boolean>
    canonicalEmail(input: unknown): string | undefined
  }
  readonly readEmail: ReadEmail
  readonly realms: Pick<Realms, 'closes' | 'closesAddress'>
  readonly passwords: {
    isSet(accountId: string): Promise<boolean>
    /** Refuses when there is a password by then; `also` is done in the same transaction. */
    setFirst(
      account: AccountView,
      password: string,
      also: (tx: Tx) => Promise<void>,
    ): Promise<{ readonly ok: true } | { readonly ok: false; readonly code: string }>
    /** Counts against the limits of the account and of the address. */
    verifyAccount(
      accountId: string,
      password: string,
      from: { ip: string; clientId?: string | undefined },
    ): Promise<{ readonly ok: true } | { readonly ok: false; readonly retryAfter?: number | undefined }>
    /** Judges and hashes a new password; to be done before a transaction is open. */
    prepare(
      password: string,
      ownWords: readonly (string | undefined)[],
    ): Promise<{ readonly ok: true; readonly hash: string } | { readonly ok: false; readonly code: string }>
    store(accountId: string, hash: string, tx: Tx): Promise<unknown>
  }
  readonly emailCodes: {
    /** Seconds to wait when a code left for the same mailbox a moment ago. Throws AppError `too_many_requests`. */
    resend(request: CodeRequest): Promise<number | undefined>
    resendIn(target: CodeTarget): Promise<number>
    check(target: CodeTarget, typed: string): Promise<Checked>
  }
  readonly sessions: {
    list(accountId: string): Promise<SessionView[]>
    connectedClients(accountId: string): Promise<ConnectedClient[]>
    end(uid: string, reason: 'ended_by_account'): Promise<unknown>
    endAll(
      accountId: string,
      reason: EndReason,
      options: { exceptUid?: string | undefined },
      tx?: Tx,
    ): Promise<AfterCommit>
    revokeClient(accountId: string, clientId: string): Promise<boolean>
  }
  readonly consents: {
    listByAccount(accountId: string): Promise<Consent[]>
    permissionsOf(agreement: Agreement): Permission[]
    detailsByAccount(accountId: string): Promise<StoredDetail[]>
  }
  readonly clients: { view(clientId: string): Promise<ClientView | undefined> }
  readonly approvals: { countOpen(accountId: string): Promise<number> }
  readonly agents: {
    lastUses(accountId: string): Promise<ReadonlyMap<string, Date>>
    delegations(accountId: string): Promise<StoredDelegation[]>
    /** Both say false when there is nothing to change. */
    takeBack(key: DelegationKey): Promise<boolean>
    allowAgain(key: DelegationKey): Promise<boolean>
  }
}

/** What a person says on the profile page; all else in a form is dropped (A87). `undefined` removes the claim. */
export type Profile = { readonly [claim in OwnClaim]: string | undefined }

/** A session as its row on the page shows it. */
export type SessionRow = SessionView & { readonly clients: readonly string[] }

/** A client as its row on the page shows it. */
export interface ClientRow {
  readonly client: ClientView
  readonly permissions: readonly Permission[]
  /** What was agreed to in detail, newest first. */
  readonly details: readonly StoredDetail[]
  readonly offline: boolean
  readonly since: Date
  /** When an agent last acted; undefined for other clients, and for one that has not acted yet. */
  readonly usedAt: Date | undefined
}

/** An agent that acts through services, without a consent of its own, as its card on the page shows it. */
export interface DelegateRow {
  readonly client: ClientView
  readonly ways: readonly {
    readonly through: ClientView
    readonly at: readonly StoredDelegation[]
  }[]
}
