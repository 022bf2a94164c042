/**
 * The rules of passwords: which may be chosen (NIST SP 800-63B-4 §3.1.1, ASVS 6.2), and how one is verified so that known
 * and unknown, live and disabled identifiers cost and answer the same.
 */
import { createRequire } from 'node:module'
import type { ZxcvbnFactory } from '@zxcvbn-ts/core'
import { AppError } from '../../errors.ts'
import type { AccountView } from '../../interaction/step.ts'
import type { Outbox } from '../../platform/outbox.ts'
import type { PasswordHash } from '../../platform/password_hash.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Admission, Admitted, Attempt, SignInGuard } from '../abuse/types.ts'
import type { PasswordRepository } from './repository.ts'
import type { Credential, FirstSet, OwnWords, PasswordProblem, Prepared, Tried, Verified } from './types.ts'

export interface PasswordDeps {
  readonly repository: PasswordRepository
  readonly passwordHash: Pick<PasswordHash, 'hash' | 'verify' | 'verifyDummy' | 'needsRehash'>
  readonly guard: SignInGuard
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: Pick<Outbox, 'record' | 'insert'>
  readonly clock: { now(): Date }
  /** Names failures in a row without showing the address in the store. */
  readonly mac: (value: string) => string
  readonly settings: {
    /** Least code points of a new password: 8, or 15 where it is the only factor (NIST SP 800-63B-4). */
    readonly minLength: number
    /** Words of the product that make a password guessable. */
    readonly brandWords: () => Promise<readonly string[]>
    /** Tries at one identifier that may be under way at once. */
    readonly perIdentifier: number
  }
  /** Whether a password is known from a breach elsewhere. Absent where nobody could tell. */
  readonly isBreached?: ((password: string) => Promise<boolean>) | undefined
  /** Tells the owner of an account that its password is known from a breach. */
  readonly tellBreached?: ((account: AccountView, tx: Tx) => Promise<void>) | undefined
  /** Whether only a provider signs the account in: no password of it is right. */
  readonly isClosed?: ((account: AccountView) => Promise<boolean>) | undefined
  readonly signIn?: ((result: 'failure' | 'limited', method: 'pwd') => void) | undefined
}

export type PasswordService = ReturnType<typeof createPasswordService>

const LONGEST = 256
/** Beyond it nothing is normalised or hashed: hashing cost must not follow what a requester sends (A102). */
const MOST_BYTES = 1024

export function createPasswordService(deps: PasswordDeps) {
  const { repository, passwordHash, clock, settings } = deps
  const verify = verification(deps)
  const prepare = async (password: string, words: OwnWords): Promise<Prepared> => {
    const code = problemOf(password, settings.minLength, [...words, ...(await settings.brandWords())])
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

/** Composed and decomposed spellings of one password are the same password (NIST SP 800-63B-4 §3.1.1.2). */
function normalise(password: string): string {
  return password.toWellFormed().normalize('NFC')
}

/** The password as it is hashed; undefined when it can be nobody's, which needs no hash to know. */
function verifiable(password: string): string | undefined {
  if (password === '' || Buffer.byteLength(password) > MOST_BYTES) return undefined
  const normal = normalise(password)
  return [...normal].length > LONGEST || Buffer.byteLength(normal) > MOST_BYTES ? undefined : normal
}

/** Why a new password may not be chosen. A code point is a character; there are no rules of composition. */
export function problemOf(password: string, minLength: number, words: OwnWords): PasswordProblem | undefined {
  if (Buffer.byteLength(password) > MOST_BYTES) return 'password_too_long'
  const normal = normalise(password)
  const { length } = [...normal]
  if (length < minLength) return 'password_too_short'
  if (length > LONGEST || Buffer.byteLength(normal) > MOST_BYTES) return 'password_too_long'
  const own = ownWords(words)
  if (madeOf(normal, own)) return 'password_contains_own_words'
  return strengthProblem(normal, own)
}

/** Words of at least four characters, as people write them into passwords. */
function ownWords(words: OwnWords): string[] {
  const parts = words.flatMap((word) => {
    const lower = (word ?? '').normalize('NFKC').toLowerCase()
    const [local = '', domain = ''] = lower.split('@')
    // The last label of a domain is nobody's own word.
    const labels = lower.includes('@') ? [local, ...domain.split('.').slice(0, -1)] : []
    return [lower, ...labels, ...lower.split(/[^\p{L}\p{N}]+/u)]
  })
  return [...new Set(parts)].filter((part) => [...part].length >= 4).sort((a, b) => b.length - a.length)
}

/** Whether little but own words is left: fewer than six other letters or digits. */
function madeOf(password: string, own: readonly string[]): boolean {
  const lower = password.toLowerCase()
  const rest = own.reduce((left, word) => left.replaceAll(word, ' '), lower)
  return rest !== lower && [...rest.replaceAll(/[^\p{L}\p{N}]/gu, '')].length < 6
}

/** The estimate's cost grows steeply with length and substitutions: with these it stays under 100 ms for any input. */
const HEAD = 32
const SUBSTITUTIONS = 4
const WEAKEST_ALLOWED = 2

function strengthProblem(password: string, own: readonly string[]): PasswordProblem | undefined {
  const head = estimate(password.slice(0, HEAD), own)
  if (head === undefined) return undefined
  // A long password with a weak beginning is judged by its end as well.
  return password.length > HEAD && estimate(password.slice(-HEAD), own) === undefined ? undefined : head
}

function estimate(password: string, own: readonly string[]): PasswordProblem | undefined {
  const { score, sequence } = zxcvbn().check(password, [...own])
  const whole = sequence.length === 1 ? sequence[0] : undefined
  if (score >= WEAKEST_ALLOWED && whole?.pattern !== 'dictionary') return undefined
  const isOwn = sequence.some((match) => match.dictionaryName === 'userInputs')
  return isOwn ? 'password_contains_own_words' : 'password_too_common'
}

const require = createRequire(import.meta.url)

let factory: ZxcvbnFactory | undefined

/** Loaded when first needed: unpacking the dictionaries takes a tenth of a second of every command's start. */
function zxcvbn(): ZxcvbnFactory {
  if (factory !== undefined) return factory
  const core = require('@zxcvbn-ts/core') as typeof import('@zxcvbn-ts/core')
  const common = require('@zxcvbn-ts/language-common') as typeof import('@zxcvbn-ts/language-common')
  const english = require('@zxcvbn-ts/language-en') as typeof import('@zxcvbn-ts/language-en')
  factory = new core.ZxcvbnFactory({
    dictionary: { ...common.dictionary, ...english.dictionary },
    graphs: common.adjacencyGraphs,
    l33tMaxSubstitutions: SUBSTITUTIONS,
    maxLength: HEAD,
  })
  return factory
}

/** Builds the dictionaries of common passwords (a fifth of a second), so that the first registration need not wait. */
export function loadDictionaries(): void {
  zxcvbn()
}
