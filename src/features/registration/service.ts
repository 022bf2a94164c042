/**
 * The rules of registration. Every registration makes a pending account, whether the address has an account already or
 * not: same answer, same statements, same hashes (A31, A32). What differs is the mail, which only the mailbox's owner sees;
 * a pending account cannot sign in outside of its own conversation, so nothing else can tell the two apart either.
 */
import type { AccountView, FieldError, RegistrationField } from '../../interaction/step.ts'
import type { Challenge } from '../../platform/challenge.ts'
import type { Tx } from '../../platform/postgres.ts'
import { failureOf, type RequestGuard } from '../abuse/types.ts'
import type { ReadEmail } from '../identifiers/types.ts'
import { type Claims, readProfile } from './types.ts'

export interface RegistrationDeps {
  readonly guard: RequestGuard
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly clock: { now(): Date }
  /** Whether an account may begin without a password: the code of the mail is then its proof, now and later. */
  readonly password: 'optional' | 'required'
  readonly accounts: {
    createPending(
      account: { email: string; locale?: string | undefined; profile?: Claims },
      tx: Tx,
    ): Promise<AccountView>
  }
  readonly readEmail: ReadEmail
  /** Whether only a provider signs people of the address in. */
  readonly isClosed: (email: string) => Promise<boolean>
  readonly passwords: {
    readonly minLength: number
    prepare(
      password: string,
      ownWords: readonly (string | undefined)[],
    ): Promise<{ readonly ok: true; readonly hash: string } | { readonly ok: false; readonly code: string }>
    store(accountId: string, hash: string, tx: Tx): Promise<unknown>
  }
}

export type RegistrationService = ReturnType<typeof createRegistrationService>

export type Registered =
  | { readonly ok: true; readonly account: AccountView; readonly hasPassword: boolean }
  | {
      readonly ok: false
      readonly code: string
      readonly field?: string
      readonly others?: readonly FieldError[]
      readonly retryAfter?: number
      readonly challenge?: Challenge
      /** An address whose domain has a provider, and no other way: that is where its account is made. */
      readonly elsewhere?: string
    }

interface Typed {
  readonly email: string
  readonly password: string
  readonly claims: Claims
}

interface Circumstances {
  readonly ip: string
  readonly clientId: string
  readonly locale: string
  /** A solved puzzle or a ticket, when the page asked for one. */
  readonly proof?: string | undefined
  /** What the client asks for; nothing else that was typed is stored (A87). */
  readonly fields: readonly RegistrationField[]
}

export function createRegistrationService(deps: RegistrationDeps) {
  const { guard, transaction, accounts, readEmail, passwords, clock } = deps

  /** The password's hash; undefined for an account without one. */
  async function secret(password: string, ownWords: readonly (string | undefined)[]) {
    if (password === '' && deps.password === 'optional') return { ok: true, hash: undefined } as const
    return passwords.prepare(password, ownWords)
  }

  return {
    /** Makes a pending account with its password and profile, all or nothing. */
    async register(typed: Typed, from: Circumstances): Promise<Registered> {
      const { ip, clientId, proof, locale, fields } = from
      const email = await readEmail(typed.email, from)
      const { profile, wrong } = readProfile(fields, typed.claims, clock.now().toISOString().slice(0, 10))
      if (email === undefined) wrong.unshift({ code: 'email_invalid', field: 'email' })
      const [first, ...others] = wrong
      if (email === undefined || first !== undefined) return { ok: false, code: 'email_invalid', ...first, others }
      const attempt = { flow: 'register', identifier: email, ip, clientId, proof } as const
      const admitted = await guard.admit(attempt)
      if (!admitted.ok) return failureOf(admitted)
      if (await deps.isClosed(email)) return { ok: false, code: 'stale', elsewhere: email }
      const ownWords = [profile.name, profile.given_name, profile.family_name, profile.nickname]
      const prepared = await secret(typed.password, [email, ...ownWords])
      if (!prepared.ok) {
        const challenge = await guard.challengeAgain(attempt, admitted)
        return { ok: false, code: prepared.code, field: 'password', ...(challenge && { challenge }) }
      }
      const { hash } = prepared
      const account = await transaction(async (tx) => {
        const pending = await accounts.createPending({ email, locale, profile }, tx)
        if (hash !== undefined) await passwords.store(pending.accountId, hash, tx)
        return pending
      })
      return { ok: true, account, hasPassword: hash !== undefined }
    },
  }
}
