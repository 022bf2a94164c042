/**
 * The rules of passkeys. A challenge is kept here for one ceremony of one conversation or session, and taken by the first
 * answer to it, right or wrong. Whoever shows a passkey is its owner, whatever address was typed before; an answer that
 * fails is told nothing but that (A47).
 */
import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import type { AccountView } from '../../interaction/step.ts'
import { providerOf } from '../../platform/aaguids.ts'
import { networkOf } from '../../platform/client_network.ts'
import type { KeyValue, Limit } from '../../platform/key_value.ts'
import { type Tx, uniqueViolation } from '../../platform/postgres.ts'
import {
  type Answer,
  challengeOf,
  newChallenge,
  readAnswer,
  readCreation,
  type WebAuthn,
} from '../../platform/webauthn.ts'
import type { ChangeFactor, FactorChange, SetFactor } from '../enrolment/types.ts'
import type { PasskeyRepository } from './repository.ts'
import type { Holder, Passkey, Registered } from './types.ts'

export interface PasskeyDeps {
  readonly repository: PasskeyRepository
  readonly webauthn: WebAuthn
  readonly kv: Pick<KeyValue, 'add' | 'take' | 'hit'>
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly clock: { now(): Date }
  readonly newId: () => string
  readonly accounts: { view(accountId: string): Promise<AccountView | undefined> }
  readonly passwords: { isSet(accountId: string): Promise<boolean> }
  readonly changeFactor: ChangeFactor
  readonly setFactor: SetFactor
  /** Whether these methods, of which an account has no others, sign in at all. */
  readonly signsIn: (methods: readonly string[]) => boolean
  /** Failures of one network in a window, before none of its answers is looked at. */
  readonly limit: { readonly perAddress: number; readonly windowSeconds: number }
  readonly signIn?: ((result: string, method: string) => void) | undefined
}

export type PasskeyService = ReturnType<typeof createPasskeyService>

export type Shown =
  | { readonly ok: true; readonly account: AccountView }
  | {
      readonly ok: false
      readonly code: 'passkey_failed' | 'too_many_requests'
      readonly retryAfter?: number
      /** A credential that is nobody's, for the browser to forget. */
      readonly unknown?: string
    }

export const METHOD = 'passkey'
export const LONGEST_NAME = 60
const CHALLENGE_SECONDS = 300
const MOST = 50

type Purpose = 'assert' | 'create'
type Change = Pick<FactorChange, 'page' | 'sessionUid'>
/** Why an answer was refused, for the ledger only. */
type Refusal = 'malformed' | 'challenge' | 'unknown' | 'owner' | 'account' | 'invalid' | 'counter'

export function createPasskeyService(deps: PasskeyDeps) {
  const challenges = challengesOf(deps)
  return { ...options(deps, challenges), ...answers(deps, challenges), ...holdings(deps) }
}

function challengesOf({ kv }: Pick<PasskeyDeps, 'kv'>) {
  const key = (challenge: string) => `passkey_challenge:${challenge}`
  const bound = (purpose: Purpose, { id, accountId = '' }: Holder) => `${purpose}\n${id}\n${accountId}`
  return {
    async issue(purpose: Purpose, holder: Holder): Promise<string> {
      const challenge = newChallenge()
      await kv.add(key(challenge), bound(purpose, holder), CHALLENGE_SECONDS)
      return challenge
    },
    /** Of many answers at once exactly one takes it; in another place or for another purpose it is used up for nothing. */
    async take(challenge: string, purpose: Purpose, holder: Holder): Promise<boolean> {
      return (await kv.take(key(challenge))) === bound(purpose, holder)
    },
  }
}

type Challenges = ReturnType<typeof challengesOf>

function options({ repository, webauthn }: PasskeyDeps, challenges: Challenges) {
  const { rpId, algorithms } = webauthn
  const timeout = CHALLENGE_SECONDS * 1000
  const descriptor = ({ credentialId: id, transports }: Passkey) => ({ type: 'public-key', id, transports })
  return {
    /**
     * PublicKeyCredentialRequestOptionsJSON. Without an account the browser offers what it has: the same options whoever is
     * meant, since nothing of anybody is looked up (A31).
     */
    async requestOptions(holder: Holder) {
      webauthn.warmUp()
      const own = holder.accountId === undefined ? [] : await repository.list(holder.accountId)
      const challenge = await challenges.issue('assert', holder)
      return { challenge, rpId, timeout, userVerification: 'required', allowCredentials: own.map(descriptor) }
    },

    /** PublicKeyCredentialCreationOptionsJSON. `rpName` is what the authenticator shows. */
    async creationOptions(holder: Holder, account: AccountView, rpName: string) {
      webauthn.warmUp()
      const own = await repository.list(account.accountId)
      return {
        rp: { id: rpId, name: rpName },
        user: { id: handleOf(account.accountId), name: account.email, displayName: account.name ?? account.email },
        challenge: await challenges.issue('create', { ...holder, accountId: account.accountId }),
        pubKeyCredParams: algorithms.map((alg) => ({ type: 'public-key', alg })),
        timeout,
        excludeCredentials: own.map(descriptor),
        authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
        attestation: 'none',
      }
    },
  }
}

interface Answers {
  show(text: string, holder: Holder, from: { readonly ip: string; readonly clientId: string }): Promise<Shown>
}

function answers(deps: PasskeyDeps, challenges: Challenges): Answers {
  const { repository, webauthn, kv, transaction, outbox, clock, accounts } = deps
  const ofNetwork = (ip: string): Limit => ({
    key: `{passkey}:ip:${networkOf(ip)}`,
    limit: deps.limit.perAddress,
    windowSeconds: deps.limit.windowSeconds,
  })

  /** The passkey of a right answer and its account, or why it is none. */
  async function judge(answer: Answer | undefined, holder: Holder): Promise<Judged> {
    const challenge = answer === undefined ? undefined : challengeOf(answer)
    if (answer === undefined || challenge === undefined) return { refusal: 'malformed' }
    if (!(await challenges.take(challenge, 'assert', holder))) return { refusal: 'challenge' }
    const passkey = await repository.findByCredential(answer.id)
    if (passkey === undefined) return { refusal: 'unknown' }
    const { accountId } = passkey
    const refuse = (refusal: Refusal) => ({ refusal, accountId })
    const handle = answer.response.userHandle ?? undefined
    // A passkey that says who is there must say so; beside an account that is known already it must not be another's.
    if (handle === undefined ? holder.accountId === undefined : handle !== handleOf(accountId)) return refuse('owner')
    if (holder.accountId !== undefined && holder.accountId !== accountId) return refuse('owner')
    const assertion = await webauthn.asserted(answer, challenge, passkey)
    if (assertion === undefined) return refuse('invalid')
    const account = await accounts.view(accountId)
    if (account === undefined || !account.active || !account.emailVerified) return refuse('account')
    return (await repository.use(passkey.id, assertion, clock.now())) ? { account } : refuse('counter')
  }

  return {
    /**
     * Who shows a passkey: the account of `holder`, or whose it is. Tries count by network only, after they have failed: no
     * stranger keeps an owner out, and guessing is hopeless anyway (A38).
     */
    async show(text, holder, { ip, clientId }) {
      const { allowed, retryAfter } = await kv.hit([{ ...ofNetwork(ip), peek: true }])
      if (!allowed) return { ok: false, code: 'too_many_requests', retryAfter }
      const answer = readAnswer(text)
      const judged = await judge(answer, holder)
      if ('account' in judged) return { ok: true, account: judged.account }
      const { refusal, accountId } = judged
      deps.signIn?.('failure', METHOD)
      await kv.hit([ofNetwork(ip)])
      await transaction((tx) =>
        outbox.record([{ type: 'passkey.rejected', accountId, clientId, data: { reason: refusal } }], tx),
      )
      const unknown = refusal === 'unknown' ? answer?.id : undefined
      return { ok: false, code: 'passkey_failed', ...(unknown && { unknown }) }
    },
  }
}

type Judged = { readonly account: AccountView } | { readonly refusal: Refusal; readonly accountId?: string }

function holdings(deps: PasskeyDeps) {
  return {
    list: deps.repository.list,
    register: registration(deps),
    rename: renaming(deps),
    remove: removal(deps),
    removeLost: removalOfAll(deps),
  }
}

function registration(deps: PasskeyDeps) {
  const { repository, webauthn, transaction, clock, newId, changeFactor } = deps
  const challenges = challengesOf(deps)
  /** Makes the credential that answers a challenge of this holder the account's. */
  return async (text: string, holder: Holder, account: AccountView, change: Change): Promise<Registered> => {
    const { accountId } = account
    const failed = { ok: false, code: 'passkey_setup_failed' } as const
    const creation = readCreation(text)
    const challenge = creation === undefined ? undefined : challengeOf(creation)
    if (creation === undefined || challenge === undefined) return failed
    if (!(await challenges.take(challenge, 'create', { ...holder, accountId }))) return failed
    const credential = await webauthn.created(creation, challenge)
    if (credential === undefined) return failed
    const name = providerOf(credential.aaguid) ?? ''
    const passkey = { ...credential, id: newId(), accountId, name, createdAt: clock.now(), usedAt: undefined }
    try {
      const after = await transaction(async (tx) => {
        const kind = { change: 'added', notice: 'passkey_added', method: METHOD } as const
        const effects = await changeFactor({ account, ...kind, ...change }, tx)
        if ((await repository.list(accountId, tx)).length >= MOST) throw new AppError('too_many_requests')
        await repository.insert(passkey, tx)
        return effects
      })
      if (typeof after === 'function') await after()
      return { ok: true }
    } catch (error) {
      if (uniqueViolation(error)) return { ok: false, code: 'passkey_known' }
      if (error instanceof AppError && error.code === 'too_many_requests')
        return { ok: false, code: 'passkey_too_many' }
      throw error
    }
  }
}

function renaming({ repository, transaction, outbox }: PasskeyDeps) {
  /** False when it is nobody's or somebody else's (A49). */
  return (accountId: string, id: string, name: string): Promise<boolean> =>
    transaction(async (tx) => {
      const renamed = await repository.rename(accountId, id, name, tx)
      if (renamed) await outbox.record([{ type: 'factor.updated', accountId, data: { method: METHOD } }], tx)
      return renamed
    })
}

function removal({ repository, transaction, passwords, changeFactor, signsIn }: PasskeyDeps) {
  /**
   * Takes a passkey off the account. `absent` when it is nobody's or somebody else's (A49); refused when it is what the
   * account cannot do without.
   */
  return async (account: AccountView, id: string, change: Change): Promise<Removed> => {
    const { accountId, factors } = account
    const left = [...factors.filter((name) => name !== METHOD), 'email_code']
    const ways = (await passwords.isSet(accountId)) ? [...left, 'pwd'] : left
    const kind = { change: 'removed', notice: 'passkey_removed', method: METHOD } as const
    try {
      const done = await transaction(async (tx) => {
        const remains = async () => {
          const own = await repository.list(accountId, tx)
          if (!own.some((passkey) => passkey.id === id)) throw new AppError('not_found')
          if (own.length === 1 && !signsIn(ways)) throw new AppError('already_exists')
          return own.length > 1
        }
        const effects = await changeFactor({ account, remains, ...kind, ...change }, tx)
        if (typeof effects === 'function') await repository.delete(accountId, id, tx)
        return effects
      })
      if (typeof done === 'string') return done
      await done()
      return 'removed'
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      if (error.code === 'not_found') return 'absent'
      if (error.code === 'already_exists') return 'passkey_last_way_in'
      throw error
    }
  }
}

function removalOfAll({ repository, outbox, setFactor }: PasskeyDeps) {
  /** After the waiting of whoever has lost their factors. */
  return async (accountId: string, tx: Tx): Promise<void> => {
    if ((await setFactor(accountId, METHOD, false, tx)) === undefined) return
    if (await repository.deleteAll(accountId, tx)) {
      await outbox.record([{ type: 'factor.removed', accountId, data: { method: METHOD, reason: 'lost' } }], tx)
    }
  }
}

export type Removed = 'removed' | 'absent' | 'last_factor' | 'passkey_last_way_in'

/** The user handle (WebAuthn L3 §5.4.3): the account's own id, which is nothing about the person. */
function handleOf(accountId: string): string {
  return Buffer.from(accountId, 'utf8').toString('base64url')
}
