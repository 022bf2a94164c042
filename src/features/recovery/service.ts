/**
 * The rules of recovery: a code proves the mailbox, the mailbox allows a new password, the new password ends everything
 * that was open. For an address without an account the same code is made and the same errand recorded, for nobody (A31).
 */
import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import type { AccountView } from '../../interaction/step.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Beginning } from '../accounts/types.ts'
import type { CodeRequest, CodeTarget } from '../email_codes/types.ts'
import type { Tell } from '../notices/types.ts'
import { type Credential, stampOf } from '../passwords/types.ts'

export interface RecoveryDeps {
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void>; wake(): void }
  readonly issuer: string
  readonly notices: { readonly tell: Tell }
  readonly accounts: {
    createPending(account: Beginning, tx: Tx): Promise<AccountView>
    proveEmail(id: string, email: string, tx: Tx): Promise<AccountView | undefined>
    view(id: string, tx: Tx): Promise<AccountView | undefined>
    publish(id: string): Promise<void>
  }
  readonly passwords: {
    findByEmail(email: string): Promise<Credential | undefined>
    findForUpdate(accountId: string, tx: Tx): Promise<Credential | undefined>
    prepare(
      password: string,
      ownWords: readonly (string | undefined)[],
    ): Promise<{ readonly ok: true; readonly hash: string } | { readonly ok: false; readonly code: string }>
    store(accountId: string, hash: string, tx: Tx): Promise<unknown>
  }
  readonly sessions: {
    /** Ends every session, revokes every grant and advances the epoch; the returned function is for after the commit. */
    endAll(
      accountId: string,
      reason: 'password_recovered',
      options: { exceptUid?: string | undefined },
      tx: Tx,
    ): Promise<() => Promise<void>>
  }
}

export type RecoveryService = ReturnType<typeof createRecoveryService>

/** Where a recovery stands: the address that was typed, and the conversation. */
export interface Asked {
  readonly cid: string
  readonly uid: string
  readonly email: string
  /** The brand of the client that is signed in to. */
  readonly brand?: string | undefined
}

/** How the page looks on which the new password was chosen; the mail looks like it. */
export interface Page {
  readonly locale: string
  readonly brand?: string | undefined
}

export type Recovered =
  | { readonly ok: true; readonly account: AccountView }
  | { readonly ok: false; readonly code: string }

export function createRecoveryService(deps: RecoveryDeps) {
  const { passwords, issuer } = deps

  async function find(email: string): Promise<Credential | undefined> {
    const credential = await passwords.findByEmail(email)
    return credential?.account.active ? credential : undefined
  }

  return {
    /** What a code of this conversation is bound to, with the account that it recovers. */
    async target({
      cid,
      email,
    }: Asked): Promise<{ target: CodeTarget; account: AccountView | undefined; stamp: string }> {
      const credential = await find(email)
      const stamp = stampOf(credential)
      return { target: { purpose: 'recover', cid, to: email, bound: stamp }, account: credential?.account, stamp }
    },

    async request(asked: Asked, from: { ip: string; locale: string }): Promise<CodeRequest> {
      const credential = await find(asked.email)
      const { cid, uid, email, brand } = asked
      return {
        ...{ purpose: 'recover', cid, to: email, bound: stampOf(credential) },
        ip: from.ip,
        // Mails speak the language of the account they go to; whoever asks need not be its owner.
        locale: credential?.account.locale ?? from.locale,
        brand,
        accountId: credential?.account.accountId,
        mail: {
          to: credential === undefined ? null : email,
          template: 'recovery/recover',
          carriesCode: true,
          values: (code) => ({ url: `${issuer}/interaction/${uid}/recover_code?code=${code}` }),
        },
      }
    },

    newPassword: (account: AccountView, stamp: string, password: string, page: Page): Promise<Recovered> =>
      newPassword(deps, account, stamp, password, page),
  }
}

/**
 * Stores the new password if nothing changed since the code was used: the stamp is compared on the locked row, so that one
 * proof of the mailbox sets one password, whatever is submitted in parallel (A24).
 */
async function newPassword(
  deps: RecoveryDeps,
  { accountId, email, name }: AccountView,
  stamp: string,
  password: string,
  page: Page,
): Promise<Recovered> {
  const { transaction, passwords, accounts, sessions, outbox, notices } = deps
  const prepared = await passwords.prepare(password, [email, name])
  if (!prepared.ok) return prepared
  const done = await transaction(async (tx) => {
    const now = await passwords.findForUpdate(accountId, tx)
    if (now?.account.active !== true || stampOf(now) !== stamp) return undefined
    const owned = now.account.emailVerified ? now.account : await beginAnew(accounts, email, page.locale, tx)
    if (owned === undefined) return undefined
    const id = owned.accountId
    await passwords.store(id, prepared.hash, tx)
    const after = await sessions.endAll(id, 'password_recovered', {}, tx)
    const changed: Fact = { type: 'account.password_changed', accountId: id, data: { reason: 'recovery' } }
    await outbox.record([changed], tx)
    await notices.tell('recovered', owned, page, tx)
    // Read last: the epoch that the new sign-in must carry.
    const account = await accounts.view(id, tx)
    return account === undefined ? undefined : { account, after }
  }).catch((error: unknown) => {
    if (error instanceof AppError && error.code === 'already_exists') return undefined
    throw error
  })
  if (done === undefined) return { ok: false, code: 'stale' }
  await accounts.publish(done.account.accountId)
  outbox.wake()
  await done.after()
  return { ok: true, account: done.account }
}

/**
 * Whoever registered an address may not have been its owner. The owner gets an account of their own, and the one that was
 * never proven goes with all that was planted in it: password, name, the identity of a provider (A01, A09).
 */
async function beginAnew(accounts: RecoveryDeps['accounts'], email: string, locale: string, tx: Tx) {
  const { accountId } = await accounts.createPending({ email, locale }, tx)
  return accounts.proveEmail(accountId, email, tx)
}
