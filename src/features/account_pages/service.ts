/** What a person may do to their own account, and what each act drags along. */
import { AppError } from '../../errors.ts'
import type { Fact, Json } from '../../events.ts'
import type { ClientView } from '../../interaction/step.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import type { Agreement, Consent, Permission } from '../consents/types.ts'
import type { AfterCommit, ConnectedClient, EndReason, SessionView } from '../sessions/types.ts'
import type { Act, Profile } from './types.ts'

/** The end of something tried elsewhere: done, or a code for the page. */
export type Tried =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: string; readonly retryAfter?: number | undefined }

export interface AccountPagesDeps {
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void>; wake(): void }
  readonly clock: { now(): Date }
  readonly issuer: string
  /** The client of these pages themselves: it is not listed and cannot be revoked. */
  readonly ownClientId: string
  readonly accounts: {
    profile(accountId: string): Promise<{ readonly [claim: string]: unknown }>
    updateProfile(accountId: string, profile: Profile, tx: Tx): Promise<unknown>
    setLocale(accountId: string, locale: string, tx: Tx): Promise<unknown>
    /** Throws AppError `already_exists` when another account has proven the address. */
    changeEmail(accountId: string, email: string, tx: Tx): Promise<unknown>
    /** Deletes the account and what hangs on it. */
    remove(accountId: string, tx: Tx): Promise<unknown>
    canonicalEmail(input: string): string | undefined
  }
  readonly passwords: {
    /** Counts against the limits of this account and this address. */
    verify(account: { accountId: string; email: string; ip: string }, password: string): Promise<Tried>
    /** Why a new password cannot be; undefined when it can. */
    refuse(password: string, ownWords: readonly string[]): string | undefined
    /** Hashes; to be done before a transaction is open. */
    hash(password: string): Promise<string>
    store(accountId: string, hash: string, tx: Tx): Promise<unknown>
  }
  readonly emailCodes: {
    issue(request: { key: string; to: string; locale: string; accountId: string }): Promise<Tried>
    check(key: string, code: string): Promise<Tried>
  }
  readonly emailChanges: {
    /** The address that a session is about to prove. Kept by the server, so that a code proves the address it went to. */
    put(sessionUid: string, email: string): Promise<void>
    get(sessionUid: string): Promise<string | undefined>
    drop(sessionUid: string): Promise<void>
    /** One more mail to a new address on this account's behalf. */
    allow(accountId: string): Promise<{ allowed: boolean; retryAfter: number }>
  }
  readonly sessions: {
    list(accountId: string): Promise<SessionView[]>
    connectedClients(accountId: string): Promise<ConnectedClient[]>
    end(uid: string, reason: EndReason): Promise<unknown>
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
  }
  readonly clients: { view(clientId: string): Promise<ClientView | undefined> }
}

export type AccountActs = ReturnType<typeof createAccountActs>

/** A client as its row on the page shows it. */
export interface ClientRow {
  readonly client: ClientView
  readonly permissions: readonly Permission[]
  readonly offline: boolean
  readonly since: Date
}

export function createAccountActs(deps: AccountPagesDeps) {
  return {
    ...personal(deps),
    ...passwordAct(deps),
    ...emailActs(deps),
    ...sessionActs(deps),
    ...clientActs(deps),
    ...ending(deps),
  }
}

const done: Act = { ok: true, value: undefined }

function personal({ transaction, outbox, accounts }: AccountPagesDeps) {
  return {
    profile: (accountId: string) => accounts.profile(accountId),

    async saveProfile({ accountId }: SignedIn, profile: Profile): Promise<void> {
      const fields = Object.keys(profile)
      await transaction(async (tx) => {
        await accounts.updateProfile(accountId, profile, tx)
        await outbox.record([{ type: 'account.profile_changed', accountId, data: { fields } }], tx)
      })
    },

    async saveLocale({ accountId }: SignedIn, locale: string): Promise<void> {
      await transaction(async (tx) => {
        await accounts.setLocale(accountId, locale, tx)
        await outbox.record([{ type: 'account.profile_changed', accountId, data: { fields: ['locale'] } }], tx)
      })
    },
  }
}

function passwordAct(deps: AccountPagesDeps) {
  const { transaction, outbox, passwords, sessions } = deps
  return {
    /** Changes the password; ends all other sessions and their refresh tokens when asked to, in the same transaction. */
    async changePassword(
      { accountId, sessionUid, account }: SignedIn,
      form: { current: string; password: string; others: boolean },
      request: { ip: string; locale: string },
    ): Promise<Act> {
      const verified = await passwords.verify({ accountId, email: account.email, ip: request.ip }, form.current)
      if (!verified.ok) return { ...verified, field: 'current' }
      const code = passwords.refuse(form.password, [account.email, account.name ?? ''])
      if (code !== undefined) return { ok: false, code, field: 'password' }
      const hash = await passwords.hash(form.password)
      const after = await transaction(async (tx) => {
        await passwords.store(accountId, hash, tx)
        const notice = noticeOf(deps, 'password_changed', account.email, account.locale ?? request.locale)
        await outbox.record(
          [
            { type: 'account.password_changed', accountId },
            { ...notice, accountId },
          ],
          tx,
        )
        return form.others ? sessions.endAll(accountId, 'password_changed', { exceptUid: sessionUid }, tx) : undefined
      })
      await after?.()
      return done
    },
  }
}

function emailActs(deps: AccountPagesDeps) {
  const { transaction, outbox, accounts, emailCodes, emailChanges } = deps

  async function send({ accountId, sessionUid }: SignedIn, to: string, locale: string): Promise<Act> {
    const { allowed, retryAfter } = await emailChanges.allow(accountId)
    if (!allowed) return { ok: false, code: 'too_many_requests', retryAfter }
    const sent = await emailCodes.issue({ key: codeKey(sessionUid, to), to, locale, accountId })
    return sent.ok ? done : sent
  }

  return {
    pendingEmail: ({ sessionUid }: SignedIn): Promise<string | undefined> => emailChanges.get(sessionUid),

    /**
     * Sends a code to the new address; the old one stays until it is proven. Whether another account has the address is
     * not told before the person has shown that the mailbox is theirs.
     */
    async startEmailChange(signedIn: SignedIn, input: string, locale: string): Promise<Act> {
      const email = accounts.canonicalEmail(input)
      if (email === undefined) return { ok: false, code: 'email_invalid', field: 'email' }
      if (email === signedIn.account.email) return { ok: false, code: 'email_same', field: 'email' }
      await emailChanges.put(signedIn.sessionUid, email)
      return send(signedIn, email, locale)
    },

    async resendEmailCode(signedIn: SignedIn, locale: string): Promise<Act> {
      const email = await emailChanges.get(signedIn.sessionUid)
      return email === undefined ? { ok: false, code: 'email_change_gone' } : send(signedIn, email, locale)
    },

    cancelEmailChange: ({ sessionUid }: SignedIn): Promise<void> => emailChanges.drop(sessionUid),

    /** Proves the new address, and tells the old one. */
    async confirmEmailChange({ accountId, sessionUid, account }: SignedIn, code: string, locale: string): Promise<Act> {
      const email = await emailChanges.get(sessionUid)
      if (email === undefined) return { ok: false, code: 'email_change_gone' }
      const checked = await emailCodes.check(codeKey(sessionUid, email), code)
      if (!checked.ok) return { ...checked, field: 'code' }
      try {
        await transaction(async (tx) => {
          await accounts.changeEmail(accountId, email, tx)
          const notice = noticeOf(deps, 'email_changed', account.email, account.locale ?? locale)
          await outbox.record(
            [
              { type: 'account.email_changed', accountId },
              { ...notice, accountId },
            ],
            tx,
          )
        })
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'already_exists') throw error
        return { ok: false, code: 'email_taken' }
      } finally {
        await emailChanges.drop(sessionUid)
      }
      return done
    },
  }
}

/** The address is part of the key: a code sent to one address can never prove another, whatever is submitted in parallel. */
function codeKey(sessionUid: string, email: string): string {
  return `${sessionUid}:${email}`
}

function sessionActs({ sessions }: AccountPagesDeps) {
  return {
    sessions: (accountId: string): Promise<SessionView[]> => sessions.list(accountId),

    /** Ends one session of this account. False when it is nobody's or somebody else's. */
    async endSession({ accountId }: SignedIn, uid: string): Promise<boolean> {
      const own = (await sessions.list(accountId)).some((session) => session.uid === uid)
      if (own) await sessions.end(uid, 'ended_by_account')
      return own
    },

    async endOthers({ accountId, sessionUid }: SignedIn): Promise<void> {
      await sessions.endAll(accountId, 'ended_by_account', { exceptUid: sessionUid })
    },

    /** A plain sign-out of this browser. */
    signOut: ({ sessionUid }: SignedIn): Promise<unknown> => sessions.end(sessionUid, 'logout'),
  }
}

function clientActs({ sessions, consents, clients, ownClientId }: AccountPagesDeps) {
  return {
    /** Every client that may do something: agreed to, or holding a grant. */
    async clients(accountId: string): Promise<ClientRow[]> {
      const [agreed, connected] = await Promise.all([
        consents.listByAccount(accountId),
        sessions.connectedClients(accountId),
      ])
      const ids = new Set([...agreed, ...connected].map(({ clientId }) => clientId))
      ids.delete(ownClientId)
      const rows = [...ids].map(async (clientId): Promise<ClientRow> => {
        const consent = agreed.find((row) => row.clientId === clientId)
        const grant = connected.find((row) => row.clientId === clientId)
        const client = (await clients.view(clientId)) ?? { clientId, name: clientId, firstParty: false }
        const agreement = consent ?? { scopes: grant?.scopes ?? [], claims: [], resources: {} }
        const since = consent?.grantedAt ?? grant?.since ?? new Date(0)
        return { client, permissions: consents.permissionsOf(agreement), offline: grant?.offline ?? false, since }
      })
      return (await Promise.all(rows)).sort((a, b) => a.client.name.localeCompare(b.client.name))
    },

    /** False when the client holds nothing of this account. */
    async revokeClient({ accountId }: SignedIn, clientId: string): Promise<boolean> {
      return clientId !== ownClientId && sessions.revokeClient(accountId, clientId)
    },
  }
}

function ending(deps: AccountPagesDeps) {
  const { transaction, outbox, accounts, sessions } = deps
  return {
    /** Deletes the account after its e-mail was typed again: sessions, grants and rows at once, the clients are told. */
    async deleteAccount({ accountId, account }: SignedIn, confirmation: string, locale: string): Promise<Act> {
      if (accounts.canonicalEmail(confirmation) !== account.email) {
        return { ok: false, code: 'confirmation_wrong', field: 'confirmation' }
      }
      const after = await transaction(async (tx) => {
        const ended = await sessions.endAll(accountId, 'account_deleted', {}, tx)
        await accounts.remove(accountId, tx)
        const notice = noticeOf(deps, 'account_deleted', account.email, account.locale ?? locale)
        await outbox.record(
          [
            { type: 'account.deleted', accountId },
            { ...notice, accountId },
          ],
          tx,
        )
        return ended
      })
      await after()
      return done
    },
  }
}

type Notice = 'password_changed' | 'email_changed' | 'account_deleted'

/** A mail that tells an address what was done; the address itself is sealed and erased once the mail is sent. */
function noticeOf({ clock, issuer }: AccountPagesDeps, event: Notice, to: string, locale: string): Fact {
  const at = new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeStyle: 'long', timeZone: 'UTC' }).format(
    clock.now(),
  )
  const url = event === 'account_deleted' ? {} : { url: `${issuer}/account` }
  const values: { [key: string]: Json } = { event, at, ...url }
  const template = 'accounts/security_notice'
  return { type: 'mail.requested', data: { template }, sealed: { to, template, locale, values } }
}
