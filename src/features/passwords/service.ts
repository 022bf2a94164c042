/** How a password is chosen and stored, and how one is verified so that known and unknown, live and disabled identifiers cost and answer the same. */
import { AppError } from '../../errors.ts'
import type { AccountView } from '../../interaction/step.ts'
import type { Outbox } from '../../platform/outbox.ts'
import type { PasswordHash } from '../../platform/password_hash.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Admission, Admitted, Attempt, SignInGuard } from '../abuse/types.ts'
import type { PasswordRepository } from './repository.ts'
import { createRules, normalise, type RulesDeps, verifiable } from './rules.ts'
import type { Credential, FirstSet, OwnWords, Prepared, Tried, Verified } from './types.ts'

export interface PasswordDeps {
  readonly repository: PasswordRepository
  readonly passwordHash: Pick<PasswordHash, 'hash' | 'verify' | 'verifyDummy' | 'needsRehash'>
  readonly guard: SignInGuard
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: Pick<Outbox, 'record' | 'insert'>
  readonly clock: { now(): Date }
  /** Names failures in a row without showing the address in the store. */
  readonly mac: (value: string) => string
  readonly settings: Pick<RulesDeps, 'minLength' | 'brandWords'> & {
    /** Tries at one identifier that may be under way at once. */
    readonly perIdentifier: number
  }
  readonly weaknessOf: RulesDeps['weaknessOf']
  /** Whether a password is known from a breach elsewhere. Absent where nobody could tell. */
  readonly isBreached?: ((password: string) => Promise<boolean>) | undefined
  /** Tells the owner of an account that its password is known from a breach. */
  readonly tellBreached?: ((account: AccountView, tx: Tx) => Promise<void>) | undefined
  /** Whether only a provider signs the account in: no password of it is right. */
  readonly isClosed?: ((account: AccountView) => Promise<boolean>) | undefined
  readonly signIn?: ((result: 'failure' | 'limited', method: 'pwd') => void) | undefined
}

export type PasswordService = ReturnType<typeof createPasswordService>

export function createPasswordService(deps: PasswordDeps) {
  const { repository, passwordHash, clock, settings } = deps
  const verify = verification(deps)
  const problemOf = createRules({ ...settings, weaknessOf: deps.weaknessOf })
  const prepare = async (password: string, words: OwnWords): Promise<Prepared> => {
    const code = await problemOf(password, words)
    if (code !== undefined) return { ok: false, code }
    const normal = normalise(password)
    if (await deps.isBreached?.(normal)) return { ok: false, code: 'password_breached' }
    return { ok: true, hash: await passwordHash.hash(normal, { account: deps.mac(words[0] ?? '') }) }
  }

  return {
    /** Checks a new password against the policy and hashes it. Call it before a transaction, never inside. */
    prepare,

    /** Stores a new password. Its fact, and ending sessions, is the caller's act in the same transaction. */
    store: (accountId: string, hash: string, tx: Tx): Promise<void> =>
      repository.store(accountId, hash, clock.now(), tx),
    findProven: repository.findProven,
    findByEmail: repository.findByEmail,
    findForUpdate: repository.findForUpdate,

    /** Whether the account has a password: without one it is signed in to by codes. */
    isSet: async (accountId: string): Promise<boolean> =>
      (await repository.findByAccount(accountId))?.hash !== undefined,

    /** Stores the first password of an account, `facts` with it. One that has got a password meanwhile keeps it. */
    async setFirst(account: AccountView, password: string, also: (tx: Tx) => Promise<void>): Promise<FirstSet> {
      const { accountId, email, name } = account
      const prepared = await prepare(password, [email, name])
      if (!prepared.ok) return prepared
      return deps.transaction(async (tx): Promise<FirstSet> => {
        const credential = await repository.findForUpdate(accountId, tx)
        if (credential === undefined || credential.hash !== undefined)
          return { ok: false, code: 'password_set_already' }
        await repository.store(accountId, prepared.hash, clock.now(), tx)
        await also(tx)
        return { ok: true }
      })
    },

    /** Verifies a sign-in. One look-up and one hash whatever is behind the identifier (canonical). */
    verifyIdentifier: (identifier: string, password: string, from: Origin): Promise<Verified> =>
      verify(attempt(identifier, from), (name) => repository.findTried(identifier, name), password),

    /** Verifies the password of a known account, under the same limits: no page is a way around them (A35). */
    async verifyAccount(accountId: string, password: string, from: Origin): Promise<Verified> {
      const credential = await repository.findByAccount(accountId)
      const look = async (name: string) => ({ credential, failures: await repository.failuresAt(name) })
      return verify({ ...attempt(credential?.account.email ?? accountId, from), signedIn: true }, look, password)
    },
  }
}

/** Where a try comes from. */
type Origin = Pick<Attempt, 'ip' | 'clientId' | 'proof' | 'deviceToken'>

function attempt(identifier: string, { ip, clientId, proof, deviceToken }: Origin): Attempt {
  return { flow: 'sign_in', identifier, ip, clientId, proof, deviceToken }
}

/** Wrong passwords in a row after which strangers have one try an hour (NIST SP 800-63B-4 §3.2.2). */
const MOST_FAILURES = 100

function verification(deps: PasswordDeps) {
  const { passwordHash, transaction, outbox, repository, guard, settings, signIn } = deps
  // As many as may be under way at once could all be verified after the count was read.
  const freely = Math.max(MOST_FAILURES - settings.perIdentifier, MOST_FAILURES / 2)

  /** Whether it may be looked at: the counters that anybody shares, then the failures in a row at this address. */
  async function admit(tried: Attempt, look: () => Promise<Tried>): Promise<Admission & Partial<Tried>> {
    const admitted = await guard.admit(tried)
    if (!admitted.ok) return admitted
    const found = await look()
    const slowly = found.failures > freely ? await guard.admitSlowly(tried, admitted) : admitted
    return slowly.ok ? { ...slowly, ...found } : slowly
  }

  async function rejected(tried: Attempt, name: string, admitted: Admitted & Partial<Tried>): Promise<Verified> {
    signIn?.('failure', 'pwd')
    const accountId = admitted.credential?.account.accountId
    const facts = outbox.insert([{ type: 'password.rejected', accountId, clientId: tried.clientId }])
    const [challenge] = await Promise.all([
      guard.failed(tried, admitted),
      repository.countFailure(name, deps.clock.now(), facts),
    ])
    return { ok: false, rejected: true, ...(challenge && { challenge }) }
  }

  return async function verify(
    tried: Attempt,
    look: (name: string) => Promise<Tried>,
    password: string,
  ): Promise<Verified> {
    const name = deps.mac(tried.identifier)
    const admitted = await admit(tried, () => look(name))
    if (!admitted.ok) {
      signIn?.('limited', 'pwd')
      return admitted
    }
    const { credential, failures = 0 } = admitted
    const typed = verifiable(password)
    const right = typed !== undefined && (await matches(passwordHash, credential, typed, name))
    if (credential === undefined || !right || !credential.account.active) return rejected(tried, name, admitted)
    if (tried.signedIn !== true && (await deps.isClosed?.(credential.account))) return rejected(tried, name, admitted)
    await guard.passed(tried, admitted)
    if (failures > 0) await repository.forgetFailures(name)
    const { hash = '', account } = credential
    const fresh = passwordHash.needsRehash(hash) ? await rehash(passwordHash, typed, name) : undefined
    if (fresh !== undefined) await transaction((tx) => repository.rehash(account.accountId, hash, fresh, tx))
    // Nobody waits for it, and what fails is done at a later sign-in.
    compareWithBreaches(deps, credential, fresh ?? hash, typed).catch(() => {})
    return { ok: true, account }
  }
}

/** The password under today's parameters; undefined when the queue is full: who was let in is not turned away for it. */
async function rehash(passwordHash: PasswordDeps['passwordHash'], password: string, name: string) {
  try {
    return await passwordHash.hash(password, { account: name, priority: 'sign_in' })
  } catch (error) {
    if (error instanceof AppError) return undefined
    throw error
  }
}

/** A password that was fine when it was chosen may have become known since. */
const COMPARED_DAYS = 30

/**
 * Compares a password that was just shown with those known from breaches, once a month, and tells its owner (credential
 * stuffing begins with such pairs). Only then does anybody have the password to compare.
 */
async function compareWithBreaches(
  { isBreached, repository, transaction, outbox, clock, tellBreached }: PasswordDeps,
  { account, breachCheckedAt }: Credential,
  hash: string,
  password: string,
): Promise<void> {
  const now = clock.now()
  const before = new Date(now.getTime() - COMPARED_DAYS * 86_400_000)
  if (isBreached === undefined || (breachCheckedAt !== undefined && breachCheckedAt >= before)) return
  const known = await isBreached(password)
  await transaction(async (tx) => {
    const isFirst = await repository.noteBreachCheck(account.accountId, hash, now, before, tx)
    if (!isFirst || !known) return
    await outbox.record([{ type: 'password.breached', accountId: account.accountId }], tx)
    await tellBreached?.(account, tx)
  })
}

/** One hash in every case, so that time does not tell who has an account (A32). */
function matches(
  passwordHash: PasswordDeps['passwordHash'],
  credential: Credential | undefined,
  password: string,
  name: string,
): Promise<boolean> {
  const hash = credential?.hash
  const share = { account: name }
  return hash === undefined ? passwordHash.verifyDummy(password, share) : passwordHash.verify(hash, password, share)
}
