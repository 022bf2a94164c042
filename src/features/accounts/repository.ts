/** Rows of `accounts`, and what the key/value store keeps of them for every request. */
import type { Knex } from 'knex'
import { AppError } from '../../errors.ts'
import type { AccountView } from '../../interaction/step.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import type { OpenPersonal, PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import {
  type Account,
  type AccountLifecycle,
  type AccountState,
  EMAIL_HASH,
  later,
  openPersonal,
  PERSONAL,
  type Profile,
  type Provenance,
} from './types.ts'

export type AccountRepository = ReturnType<typeof accountRepository>

interface AccountRow {
  readonly id: string
  readonly email_hash: string
  readonly sealed_personal: string
  readonly email_verified_at: Date | null
  readonly state: AccountLifecycle
  readonly password_changed_at?: Date | null
  readonly epoch: number
  readonly locale: string | null
  readonly created_at: Date
  readonly updated_at: Date
  readonly factors: readonly string[]
  readonly second_factor_required: boolean
  readonly enrolment_skips: number
  readonly nudge_after: Date | null
}

/** The look-up of every userinfo request: only what is needed, since the driver parses each column. */
const FIND = `
  select a.id, a.email_hash, a.sealed_personal, a.email_verified_at, a.state, a.epoch, a.locale, a.created_at, a.updated_at,
    a.factors, a.second_factor_required, a.enrolment_skips, a.nudge_after, p.changed_at as password_changed_at
  from accounts a left join passwords p on p.account_id = a.id
  where a.id = ?`
/** With a name PostgreSQL parses and plans it once for each connection. */
const PREPARED = { name: 'account_by_id' }

export function accountRepository(db: Knex, personal: PersonalData) {
  return { ...reads(db, personal), ...proofs(personal), ...changes(personal) }
}

/** An address and a profile on their way into the table. */
async function sealed(
  personal: PersonalData,
  { id, email, profile, provenance }: Pick<Account, 'id' | 'email' | 'profile' | 'provenance'>,
) {
  const hash = await personal.index(email, EMAIL_HASH)
  const content = JSON.parse(JSON.stringify({ email, profile, provenance }))
  return { email_hash: hash, sealed_personal: personal.seal(content, PERSONAL, id) }
}

function reads(db: Knex, personal: PersonalData) {
  return {
    /** The account, with the time of its password: what was proven by an older one is void. */
    async find(id: string, tx?: Tx): Promise<Account | undefined> {
      // As text: the builder would cost more than the rest of a userinfo request's look-up.
      const { rows } = await (tx ?? db).raw<{ rows: AccountRow[] }>(FIND, [id]).options(PREPARED)
      return await map(personal, rows[0], tx)
    },

    /** Locks the row until the transaction ends. */
    async findForUpdate(id: string, tx: Tx): Promise<Account | undefined> {
      return await map(personal, await tx<AccountRow>('accounts').where({ id }).forUpdate().first(), tx)
    },

    /** The account that has proven the address; else the newest that claims it. */
    async findByEmail(email: string, tx?: Tx): Promise<Account | undefined> {
      const hash = await personal.index(email, EMAIL_HASH)
      const row = await (tx ?? db)<AccountRow>('accounts')
        .where({ email_hash: hash })
        .orderByRaw('email_verified_at is null, created_at desc, id desc')
        .first()
      return await map(personal, row, tx, email)
    },

    /** Whether an account other than `exceptId` has proven the address. */
    async emailTaken(email: string, exceptId: string, tx?: Tx): Promise<boolean> {
      const hash = await personal.index(email, EMAIL_HASH)
      const row = await (tx ?? db)<AccountRow>('accounts')
        .where({ email_hash: hash })
        .whereNotNull('email_verified_at')
        .whereNot({ id: exceptId })
        .first('id')
      return row !== undefined
    },

    /** Newest first, `atMost` of them; for operators. */
    async list(atMost: number): Promise<Account[]> {
      const rows = await db<AccountRow>('accounts').orderBy('created_at', 'desc').limit(atMost)
      return await personal.read((open) => rows.map((row) => toAccount(row, open)))
    },
  }
}

function proofs(personal: PersonalData) {
  return {
    async insert(account: Account, tx: Tx): Promise<void> {
      await tx('accounts').insert({
        id: account.id,
        ...(await sealed(personal, account)),
        email_verified_at: account.emailVerifiedAt ?? null,
        state: account.state,
        epoch: account.epoch,
        locale: account.locale ?? null,
        created_at: account.createdAt,
        updated_at: account.updatedAt,
      })
    },

    /**
     * Marks the address as proven, and a pending account as active. Only while the account still has that address, so that
     * a code sent to one mailbox never proves another (A25).
     */
    async prove(id: string, email: string, now: Date, tx: Tx): Promise<Account | undefined> {
      const hash = await personal.index(email, EMAIL_HASH)
      const [row] = await tx<AccountRow>('accounts')
        .where({ id, email_hash: hash })
        .whereIn('state', ['pending', 'active'])
        .update({ email_verified_at: now, state: 'active', updated_at: now })
        .returning('*')
      return await map(personal, row, tx, email)
    },

    /** Deletes what only claims the address; returns the ids. */
    async deletePendingOf(email: string, exceptId: string, tx: Tx): Promise<string[]> {
      const claiming = { email_hash: await personal.index(email, EMAIL_HASH), state: 'pending' }
      const rows = await tx<AccountRow>('accounts').where(claiming).whereNot({ id: exceptId }).delete().returning('id')
      return rows.map(({ id }) => id)
    },

    /** Corrects the address of an account that has proven none. `before` was locked and read in this transaction. */
    async correctPending(before: Account, email: string, now: Date, tx: Tx): Promise<Account | undefined> {
      const [row] = await tx<AccountRow>('accounts')
        .where({ id: before.id, state: 'pending' })
        .update({ ...(await sealed(personal, { ...before, email })), updated_at: now })
        .returning('*')
      return await map(personal, row, tx)
    },

    /**
     * Gives an active account another address, proven at `now`. `before` was locked and read in this transaction. A unique
     * violation when somebody else has proven the address.
     */
    async changeEmail(before: Account, email: string, now: Date, tx: Tx): Promise<Account | undefined> {
      const [row] = await tx<AccountRow>('accounts')
        .where({ id: before.id, state: 'active' })
        .update({ ...(await sealed(personal, { ...before, email })), email_verified_at: now, updated_at: now })
        .returning('*')
      return await map(personal, row, tx)
    },
  }
}

function changes(personal: PersonalData) {
  return {
    /** `before` was locked and read in this transaction. */
    async update(
      before: Account,
      changes: {
        readonly locale?: string | undefined
        readonly profile?: Profile | undefined
        readonly provenance?: Provenance | undefined
      },
      now: Date,
      tx: Tx,
    ): Promise<void> {
      const { locale, profile, provenance } = changes
      await tx('accounts')
        .where({ id: before.id })
        .update({
          updated_at: now,
          ...(locale === undefined ? {} : { locale }),
          ...(profile === undefined ? {} : await sealed(personal, { ...before, profile, provenance })),
        })
    },

    async setState(id: string, to: AccountLifecycle, now: Date, tx: Tx): Promise<void> {
      await tx('accounts').where({ id }).update({ state: to, updated_at: now })
    },

    async advanceEpoch(id: string, now: Date, tx: Tx): Promise<Account | undefined> {
      const [row] = await tx<AccountRow>('accounts')
        .where({ id })
        .update({ epoch: tx.raw('epoch + 1'), updated_at: now })
        .returning('*')
      return await map(personal, row, tx)
    },

    async delete(id: string, tx: Tx): Promise<void> {
      await tx('accounts').where({ id }).delete()
    },

    /** Says whether there was one. */
    async deletePending(id: string, tx: Tx): Promise<boolean> {
      return (await tx('accounts').where({ id, state: 'pending' }).delete()) === 1
    },

    /** Deletes up to `atMost` pending accounts made before `before`; returns their ids. */
    async deletePendingBefore(before: Date, atMost: number, tx: Tx): Promise<string[]> {
      const { rows } = await tx.raw<{ rows: { id: string }[] }>(
        `delete from accounts where id in (
           select id from accounts where state = 'pending' and created_at < ? order by created_at limit ?
           for update skip locked
         ) returning id`,
        [before, atMost],
      )
      return rows.map(({ id }) => id)
    },
  }
}

/** A store that fell back to an older copy may be believed for so long. */
const STATE_SECONDS = 900
const ATTEMPTS = 10

/** The states of accounts as the key/value store holds them. */
export function accountStates(kv: Pick<KeyValue, 'get' | 'add' | 'read' | 'swap'>) {
  const key = (id: string) => `account:${id}`
  const parse = (value: string) => JSON.parse(value) as AccountState

  const find = async (id: string): Promise<AccountState | undefined> => {
    const stored = await kv.get(key(id))
    return stored === undefined ? undefined : parse(stored)
  }

  /** Only if none is there; says whether it was. */
  const add = (id: string, state: AccountState): Promise<boolean> =>
    kv.add(key(id), JSON.stringify(state), STATE_SECONDS)

  /** Writes the state through unless a later one is there already: two changes may arrive here in any order. */
  const write = async (id: string, state: AccountState): Promise<void> => {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const stored = await kv.read(key(id))
      if (stored !== undefined && later(parse(stored.value), state)) return
      if (await kv.swap(key(id), stored?.version ?? 0, JSON.stringify(state), STATE_SECONDS)) return
    }
    throw new AppError('temporarily_unavailable', { detail: 'account state is contended', retryAfter: 1 })
  }

  /**
   * The state that is there afterwards: this one, unless a later one is. An earlier one is of a process that died between a
   * change and telling of it: the new password would prove nothing until a consumer of facts comes.
   */
  const keep = async (id: string, state: AccountState): Promise<AccountState> => {
    if (await add(id, state)) return state
    const known = await find(id)
    if (known === undefined || !later(state, known)) return known ?? state
    await write(id, state)
    return (await find(id)) ?? state
  }

  return { find, add, write, keep }
}

async function map(
  personal: PersonalData,
  row: AccountRow | undefined,
  tx?: Tx,
  found?: string,
): Promise<Account | undefined> {
  return row === undefined ? undefined : personal.read((open) => toAccount(row, open, found), tx)
}

function toAccount(row: AccountRow, open: OpenPersonal, found?: string): Account {
  return {
    id: row.id,
    ...openPersonal(open, row, found),
    emailVerifiedAt: row.email_verified_at ?? undefined,
    state: row.state,
    epoch: row.epoch,
    locale: row.locale ?? undefined,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    passwordChangedAt: row.password_changed_at ?? undefined,
    factors: row.factors,
    secondFactorRequired: row.second_factor_required,
    enrolmentSkips: row.enrolment_skips,
    nudgeAfter: row.nudge_after ?? undefined,
  }
}

/** What steps and pages see of a row. */
export function toView(account: Account): AccountView {
  return {
    accountId: account.id,
    email: account.email,
    emailVerified: account.emailVerifiedAt !== undefined,
    active: account.state === 'active' || account.state === 'pending',
    epoch: account.epoch,
    name: typeof account.profile.name === 'string' ? account.profile.name : undefined,
    locale: account.locale,
    factors: account.factors,
    secondFactorRequired: account.secondFactorRequired,
    enrolmentSkips: account.enrolmentSkips,
    nudgeAfter: account.nudgeAfter?.getTime(),
  }
}
