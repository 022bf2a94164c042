/** Rows of `passwords`, read together with the account they belong to, and of `password_failures`. */
import type { Knex } from 'knex'
import type { Statement } from '../../platform/outbox.ts'
import type { OpenPersonal, PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import { EMAIL_HASH, openPersonal } from '../accounts/types.ts'
import type { Credential, Tried } from './types.ts'

export type PasswordRepository = ReturnType<typeof passwordRepository>

interface CredentialRow {
  readonly id: string
  readonly sealed_personal: string
  readonly email_verified_at: Date | null
  readonly state: string
  readonly epoch: number
  readonly locale: string | null
  readonly hash: string | null
  readonly changed_at: Date | null
  readonly breach_checked_at: Date | null
  readonly factors: readonly string[]
  readonly second_factor_required: boolean
  readonly enrolment_skips: number
  readonly nudge_after: Date | null
}

const COLUMNS = `
  a.id, a.sealed_personal, a.email_verified_at, a.state, a.epoch, a.locale, p.hash, p.changed_at, p.breach_checked_at,
    a.factors, a.second_factor_required, a.enrolment_skips, a.nudge_after`
const SELECT = `select ${COLUMNS} from accounts a left join passwords p on p.account_id = a.id`

/** One row whether there is an account or not, and whether it was guessed at or not. */
const TRIED = `
  select ${COLUMNS}, coalesce(f.failures, 0) as failures
  from (select ?::text as email_hash, ?::text as identifier) as typed
  left join accounts a on a.email_hash = typed.email_hash and a.email_verified_at is not null
  left join passwords p on p.account_id = a.id
  left join password_failures f on f.identifier = typed.identifier`

const COUNT_FAILURE = `
  insert into password_failures (identifier, failures, failed_at) values (?, 1, ?)
  on conflict (identifier) do update
    set failures = password_failures.failures + 1, failed_at = excluded.failed_at`

const PURGE_FAILURES = `
  delete from password_failures where identifier in (
    select identifier from password_failures where failed_at < ? order by failed_at limit ? for update skip locked
  ) returning 1`

export function passwordRepository(db: Knex, personal: PersonalData) {
  const hashOf = (email: string) => personal.index(email, EMAIL_HASH)
  const credential = (row: CredentialRow | undefined, found?: string, tx?: Tx) =>
    personal.read((open) => (row?.id ? toCredential(row, open, found) : undefined), tx)
  const one = async (sql: string, id: string, tx?: Tx): Promise<Credential | undefined> => {
    const { rows } = await (tx ?? db).raw<{ rows: CredentialRow[] }>(sql, [id])
    return credential(rows[0], undefined, tx)
  }
  const oneOf = async (sql: string, email: string): Promise<Credential | undefined> => {
    const { rows } = await db.raw<{ rows: CredentialRow[] }>(sql, [await hashOf(email)])
    return credential(rows[0], email)
  }
  return {
    /** The account that has proven the address. Those that only claim it cannot sign in. */
    findProven: (email: string): Promise<Credential | undefined> =>
      oneOf(`${SELECT} where a.email_hash = ? and a.email_verified_at is not null`, email),

    /** The account that has proven the address, and the failures in a row at the address (by its keyed hash). */
    async findTried(email: string, identifier: string): Promise<Tried> {
      type Row = CredentialRow & { readonly failures: number }
      const { rows } = await db.raw<{ rows: Row[] }>(TRIED, [await hashOf(email), identifier])
      const [row] = rows
      return { credential: await credential(row, email), failures: row?.failures ?? 0 }
    },

    async failuresAt(identifier: string): Promise<number> {
      const row = await db('password_failures').where({ identifier }).first('failures')
      return row === undefined ? 0 : Number(row.failures)
    },

    /** One more failure in a row, and its facts: one statement, of which all or nothing is done. */
    async countFailure(identifier: string, now: Date, facts: Statement): Promise<void> {
      await db.raw(`with facts as (${facts.sql}) ${COUNT_FAILURE}`, [...facts.bindings, identifier, now])
    },

    async forgetFailures(identifier: string): Promise<void> {
      await db('password_failures').where({ identifier }).delete()
    },

    /** Deletes at most `atMost` counts that nobody has added to since `before`; returns how many. */
    async purgeFailures(before: Date, atMost: number): Promise<number> {
      const { rows } = await db.raw<{ rows: unknown[] }>(PURGE_FAILURES, [before, atMost])
      return rows.length
    },

    /** The account that has proven the address, else the newest that claims it. */
    findByEmail: (email: string): Promise<Credential | undefined> =>
      oneOf(
        `${SELECT} where a.email_hash = ? order by a.email_verified_at is null, a.created_at desc, a.id desc limit 1`,
        email,
      ),

    findByAccount: (accountId: string): Promise<Credential | undefined> => one(`${SELECT} where a.id = ?`, accountId),

    /**
     * Locks the account until the transaction ends, and only then reads: of two changes at once the second sees the first.
     * (In one statement it would wait for the lock with a password that it had read before.)
     */
    async findForUpdate(accountId: string, tx: Tx): Promise<Credential | undefined> {
      await tx.raw('select 1 from accounts where id = ? for update', [accountId])
      return one(`${SELECT} where a.id = ?`, accountId, tx)
    },

    /** Notes that the password of this hash was compared with known ones. False when it was changed, or compared, meanwhile. */
    async noteBreachCheck(accountId: string, hash: string, now: Date, checkedBefore: Date, tx: Tx): Promise<boolean> {
      const changed = await tx('passwords')
        .where({ account_id: accountId, hash })
        .where((due) => due.whereNull('breach_checked_at').orWhere('breach_checked_at', '<', checkedBefore))
        .update({ breach_checked_at: now })
      return changed === 1
    },

    /** A new password has just been compared with those known from breaches. */
    async store(accountId: string, hash: string, now: Date, tx: Tx): Promise<void> {
      await tx('passwords')
        .insert({ account_id: accountId, hash, changed_at: now, breach_checked_at: now })
        .onConflict('account_id')
        .merge(['hash', 'changed_at', 'breach_checked_at'])
    },

    /** Replaces a hash of the same password. Nothing happens when the password was changed meanwhile. */
    async rehash(accountId: string, before: string, hash: string, tx: Tx): Promise<void> {
      await tx('passwords').where({ account_id: accountId, hash: before }).update({ hash })
    },
  }
}

function toCredential(row: CredentialRow, open: OpenPersonal, found?: string): Credential {
  const { email, profile } = openPersonal(open, row, found)
  return {
    account: {
      accountId: row.id,
      email,
      emailVerified: row.email_verified_at !== null,
      active: row.state === 'active' || row.state === 'pending',
      epoch: row.epoch,
      name: typeof profile.name === 'string' ? profile.name : undefined,
      locale: row.locale ?? undefined,
      passwordAt: row.changed_at?.getTime(),
      factors: row.factors,
      secondFactorRequired: row.second_factor_required,
      enrolmentSkips: row.enrolment_skips,
      nudgeAfter: row.nudge_after?.getTime(),
    },
    hash: row.hash ?? undefined,
    changedAt: row.changed_at ?? undefined,
    breachCheckedAt: row.breach_checked_at ?? undefined,
  }
}
