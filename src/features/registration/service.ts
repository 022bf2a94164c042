/**
 * The rules of registration. Every registration makes a pending account, whether the address has an account already or
 * not: same answer, same statements, same hashes (A31, A32). What differs is the mail, which only the mailbox's owner sees;
 * a pending account cannot sign in outside of its own conversation, so nothing else can tell the two apart either.
 */
import type { AccountView } from '../../interaction/step.ts'
import { networkOf } from '../../platform/client_network.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { ReadEmail } from '../identifiers/types.ts'

export interface RegistrationDeps {
  readonly kv: Pick<KeyValue, 'hit'>
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly accounts: {
    createPending(account: { email: string; locale?: string | undefined }, tx: Tx): Promise<AccountView>
  }
  readonly readEmail: ReadEmail
  readonly passwords: {
    readonly minLength: number
    prepare(
      password: string,
      ownWords: readonly string[],
    ): Promise<{ readonly ok: true; readonly hash: string } | { readonly ok: false; readonly code: string }>
    store(accountId: string, hash: string, tx: Tx): Promise<unknown>
  }
}

export type RegistrationService = ReturnType<typeof createRegistrationService>

export type Registered =
  | { readonly ok: true; readonly account: AccountView }
  | { readonly ok: false; readonly code: string; readonly field?: 'email' | 'password'; readonly retryAfter?: number }

const PER_ADDRESS = 60
const WINDOW_SECONDS = 600

export function createRegistrationService(deps: RegistrationDeps) {
  const { kv, transaction, accounts, readEmail, passwords } = deps
  return {
    /** Makes a pending account with its password, all or nothing. */
    async register(
      typed: { readonly email: string; readonly password: string },
      from: { readonly ip: string; readonly clientId: string; readonly locale: string },
    ): Promise<Registered> {
      const email = await readEmail(typed.email, from)
      if (email === undefined) return { ok: false, code: 'email_invalid', field: 'email' }
      const { allowed, retryAfter } = await kv.hit([
        { key: `register:ip:${networkOf(from.ip)}`, limit: PER_ADDRESS, windowSeconds: WINDOW_SECONDS },
      ])
      if (!allowed) return { ok: false, code: 'too_many_requests', retryAfter }
      const prepared = await passwords.prepare(typed.password, [email])
      if (!prepared.ok) return { ok: false, code: prepared.code, field: 'password' }
      const account = await transaction(async (tx) => {
        const pending = await accounts.createPending({ email, locale: from.locale }, tx)
        await passwords.store(pending.accountId, prepared.hash, tx)
        return pending
      })
      return { ok: true, account }
    },
  }
}
