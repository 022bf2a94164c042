/**
 * Recovery codes: ten of 50 random bits, each good once (A40). Kept is a hash of each, bound to the account and sealed: a
 * dump of the database tells nothing, and unlike under a bare MAC the codes outlive a change of the secret keys. They are
 * shown once; until then they wait, sealed, for ten minutes with the one conversation or session that made them.
 */
import { randomInt } from 'node:crypto'
import type { Fact } from '../../events.ts'
import { hasSecondFactor } from '../../interaction/levels.ts'
import type { AccountView } from '../../interaction/step.ts'
import { equal, sha256 } from '../../platform/ids.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { TryLimits } from '../../platform/try_limits.ts'
import type { SetFactor } from '../enrolment/types.ts'
import type { Resealer } from '../keys/types.ts'
import type { Tell } from '../notices/types.ts'
import type { RecoveryCodeRepository, SealedCode } from './repository.ts'
import type { Holder, RecoveryCodes, Redeemed } from './types.ts'

export interface RecoveryCodeDeps {
  readonly repository: RecoveryCodeRepository
  readonly kv: Pick<KeyValue, 'get' | 'set' | 'add' | 'take' | 'delete'>
  readonly secretBox: {
    seal(plaintext: string, purpose: string): string
    open(sealed: string, purpose: string): string
  }
  readonly tries: TryLimits
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly clock: { now(): Date }
  readonly newId: () => string
  readonly notices: { readonly tell: Tell }
  readonly setFactor: SetFactor
}

export type RecoveryCodeService = ReturnType<typeof createRecoveryCodeService>

export const METHOD = 'recovery_code'
const SEAL = 'recovery_code'
const SHOWN_SEAL = 'recovery_codes_shown'
const SHOWN_SECONDS = 600
const COUNT = 10
const LENGTH = 10
/** Crockford's: no letter looks like a digit, and 32 of them are five bits each. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

interface Page {
  readonly locale: string
  readonly brand?: string | undefined
}

export function createRecoveryCodeService(deps: RecoveryCodeDeps) {
  const { repository } = deps
  return {
    /** The account's set; undefined when it has none. */
    async find(accountId: string): Promise<RecoveryCodes | undefined> {
      const found = await repository.find(accountId)
      return found === undefined ? undefined : { left: found.codes.length, madeAt: found.madeAt }
    },

    redeem: (account: AccountView, typed: string, page: Page & { readonly clientId: string }): Promise<Redeemed> =>
      redeem(deps, account, typed, page),
    ...making(deps),

    /** In the transaction that takes the last second factor off the account. */
    clear: repository.delete,
    reseal: resealer(deps),
  }
}

function making(deps: RecoveryCodeDeps) {
  const { kv, secretBox } = deps
  const seal = (codes: readonly string[]) => secretBox.seal(JSON.stringify(codes), SHOWN_SEAL)
  const open = (sealed: string) => JSON.parse(secretBox.open(sealed, SHOWN_SEAL)) as string[]
  const key = ({ id, accountId }: Holder) => `recovery_codes:${accountId}:${id}`
  const shown = async (holder: Holder): Promise<readonly string[] | undefined> => {
    const sealed = await kv.get(key(holder))
    return sealed === undefined ? undefined : open(sealed)
  }
  return {
    /** The codes that wait for "I have saved them"; the same until then, for ten minutes. */
    shown,

    /** Codes to be shown that are the account's only once they are saved. */
    async draft(holder: Holder): Promise<readonly string[]> {
      const codes = newCodes()
      return (await kv.add(key(holder), seal(codes), SHOWN_SECONDS)) ? codes : ((await shown(holder)) ?? codes)
    },

    /** Makes the draft the account's. False when it is too old, or was taken already. */
    async save(holder: Holder, account: AccountView, page: Page): Promise<boolean> {
      const sealed = await kv.take(key(holder))
      return sealed === undefined ? false : store(deps, account, open(sealed), page)
    },

    /** New codes in the place of all earlier ones, at once. False for an account that has nothing they could stand in for. */
    async regenerate(holder: Holder, account: AccountView, page: Page): Promise<boolean> {
      const codes = newCodes()
      if (!(await store(deps, account, codes, page))) return false
      await kv.set(key(holder), seal(codes), SHOWN_SECONDS)
      return true
    },

    /** They were saved: nobody is shown them again. */
    forget: (holder: Holder): Promise<void> => kv.delete(key(holder)),
  }
}

async function store(deps: RecoveryCodeDeps, account: AccountView, codes: readonly string[], page: Page) {
  const { repository, secretBox, transaction, outbox, clock, newId, setFactor } = deps
  const { accountId } = account
  const sealed = codes.map(
    (code): SealedCode => ({ id: newId(), sealedHash: secretBox.seal(hashOf(accountId, code), SEAL) }),
  )
  return transaction(async (tx) => {
    const factors = await setFactor(accountId, METHOD, true, tx)
    if (factors === undefined || !hasSecondFactor({ factors })) return false
    await repository.replace(accountId, sealed, clock.now(), tx)
    const type = account.factors.includes(METHOD) ? 'factor.updated' : 'factor.added'
    const data = { method: METHOD, count: codes.length }
    await outbox.record([{ type, accountId, data }], tx)
    await deps.notices.tell('recovery_codes_created', account, page, tx)
    return true
  })
}

/** Whether this is one of the account's codes; it is used up by being right, and its owner is told. */
async function redeem(
  deps: RecoveryCodeDeps,
  account: AccountView,
  typed: string,
  { clientId, ...page }: Page & { readonly clientId: string },
): Promise<Redeemed> {
  const { repository, secretBox, tries, transaction, outbox, clock, setFactor } = deps
  const { accountId } = account
  const found = await repository.find(accountId)
  const retryAfter = await tries.enter(METHOD, accountId, found?.failures ?? 0)
  if (retryAfter !== undefined) return { ok: false, code: 'too_many_requests', retryAfter }
  const hash = hashOf(accountId, typed)
  const match = found?.codes.filter(({ sealedHash }) => equal(secretBox.open(sealedHash, SEAL), hash))[0]
  const left = await transaction(async (tx) => {
    const rest = match === undefined ? undefined : await repository.use(accountId, match.id, clock.now(), tx)
    if (rest === undefined) {
      await repository.countFailure(accountId, tx)
      await outbox.record([{ type: 'recovery_code.rejected', accountId, clientId }], tx)
      return undefined
    }
    if (rest === 0) await setFactor(accountId, METHOD, false, tx)
    const fact: Fact = { type: 'factor.updated', accountId, clientId, data: { method: METHOD, left: rest } }
    await outbox.record([fact], tx)
    await deps.notices.tell('recovery_code_used', account, page, tx, { left: rest })
    return rest
  })
  if (left === undefined) return { ok: false, code: 'recovery_code_invalid' }
  await tries.passed(METHOD, accountId)
  return { ok: true, left }
}

/** Seals every code again under the newest secret key. */
function resealer({ repository }: Pick<RecoveryCodeDeps, 'repository'>): Resealer {
  return async (reseal, tx) => {
    let count = 0
    for (const { id, sealedHash } of await repository.list(tx)) {
      const sealed = reseal(sealedHash, SEAL)
      if (sealed !== undefined && (await repository.updateSealed(id, sealedHash, sealed, tx))) count++
    }
    return count
  }
}

/** As they are shown: `ABCDE-FGHJK`. */
function newCodes(): string[] {
  const letter = () => ALPHABET[randomInt(ALPHABET.length)] ?? ''
  const letters = () => Array.from({ length: LENGTH }, letter).join('')
  return Array.from({ length: COUNT }, letters).map((code) => `${code.slice(0, LENGTH / 2)}-${code.slice(LENGTH / 2)}`)
}

function hashOf(accountId: string, code: string): string {
  return sha256(`${accountId}\n${canonical(code)}`)
}

/** One spelling of what a person reads from paper: any case, blanks and dashes anywhere, letters that look like digits. */
function canonical(typed: string): string {
  const plain = typed
    .normalize('NFKC')
    .toUpperCase()
    .replace(/[\s\p{Pd}]/gu, '')
  return plain.replaceAll('O', '0').replace(/[IL]/g, '1')
}
