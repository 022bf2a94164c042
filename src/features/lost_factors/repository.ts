/** Rows of `factor_removals`: of each account one is open at the most. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'
import type { Approval, Removal } from './types.ts'

export type RemovalRepository = ReturnType<typeof removalRepository>

interface RemovalRow {
  readonly account_id: string
  readonly requested_at: Date
  readonly due_at: Date
}

interface ApprovedRow extends RemovalRow {
  readonly approvals: readonly { readonly name: string; readonly at: string }[]
}

type Outcome = 'completed' | 'cancelled' | 'lapsed'

export function removalRepository(db: Knex) {
  return {
    /** The account's open request, unless it was due before `lapsedBefore`. */
    async findOpen(accountId: string, lapsedBefore: Date): Promise<Removal | undefined> {
      return map(await open(db).where({ account_id: accountId }).where('due_at', '>', lapsedBefore).first())
    },

    /**
     * Opens a request unless one is open that was not due before `lapsedBefore`; says whether it did. Of many at once exactly
     * one does.
     */
    async insert(id: string, { accountId, requestedAt, dueAt }: Removal, lapsedBefore: Date, tx: Tx): Promise<boolean> {
      await open(tx)
        .where({ account_id: accountId })
        .where('due_at', '<=', lapsedBefore)
        .update(ended('lapsed', requestedAt))
      const { rows } = await tx.raw(
        `insert into factor_removals (id, account_id, requested_at, due_at) values (?, ?, ?, ?)
         on conflict (account_id) where ended_at is null do nothing returning id`,
        [id, accountId, requestedAt, dueAt],
      )
      return rows.length === 1
    },

    /** Ends the open request of an account, if it is due by `dueBy` and was not before `lapsedBefore`. */
    async complete(
      accountId: string,
      { dueBy, lapsedBefore }: { readonly dueBy: Date; readonly lapsedBefore: Date },
      tx: Tx,
    ): Promise<boolean> {
      const changed = await open(tx)
        .where({ account_id: accountId })
        .where('due_at', '<=', dueBy)
        .where('due_at', '>', lapsedBefore)
        .update(ended('completed', dueBy))
      return changed === 1
    },

    /** Ends the open request of an account; false when there is none. */
    async cancel(accountId: string, now: Date, tx: Tx): Promise<boolean> {
      const changed = await open(tx).where({ account_id: accountId }).update(ended('cancelled', now))
      return changed === 1
    },

    /** The open request of an account with what was approved of it; locked until the transaction ends. */
    async findForUpdate(
      accountId: string,
      lapsedBefore: Date,
      tx: Tx,
    ): Promise<(Removal & { readonly approvals: readonly Approval[] }) | undefined> {
      const row: ApprovedRow | undefined = await open(tx)
        .where({ account_id: accountId })
        .where('due_at', '>', lapsedBefore)
        .forUpdate()
        .first()
      if (row === undefined) return undefined
      return { ...toRemoval(row), approvals: row.approvals.map(({ name, at }) => ({ name, at: new Date(at) })) }
    },

    async setApprovals(accountId: string, approvals: readonly Approval[], tx: Tx): Promise<void> {
      await open(tx)
        .where({ account_id: accountId })
        .update({ approvals: JSON.stringify(approvals) })
    },

    /** Ends the waiting of the open request; its owner needs no reminder any more. */
    async release(accountId: string, now: Date, tx: Tx): Promise<void> {
      await open(tx).where({ account_id: accountId }).update({ due_at: now, reminded_at: now })
    },

    /** Takes one request whose owner is to be reminded: due before `dueBefore`, made before `madeBefore`. */
    async takeReminder(
      { now, dueBefore, madeBefore }: { readonly now: Date; readonly dueBefore: Date; readonly madeBefore: Date },
      tx: Tx,
    ): Promise<Removal | undefined> {
      const { rows } = await tx.raw<{ rows: RemovalRow[] }>(
        `update factor_removals set reminded_at = ? where id = (
           select id from factor_removals
           where ended_at is null and reminded_at is null and due_at <= ? and due_at > ? and requested_at <= ?
           order by due_at limit 1 for update skip locked)
         returning *`,
        [now, dueBefore, now, madeBefore],
      )
      return map(rows[0])
    },

    /** Ends requests that nobody completed; returns their accounts. */
    async lapse(lapsedBefore: Date, now: Date, atMost: number, tx: Tx): Promise<string[]> {
      const { rows } = await tx.raw<{ rows: RemovalRow[] }>(
        `update factor_removals set ended_at = ?, outcome = 'lapsed' where id in (
           select id from factor_removals where ended_at is null and due_at <= ? limit ? for update skip locked)
         returning *`,
        [now, lapsedBefore, atMost],
      )
      return rows.map((row) => row.account_id)
    },
  }
}

function open(db: Knex) {
  return db('factor_removals').whereNull('ended_at')
}

function ended(outcome: Outcome, at: Date) {
  return { ended_at: at, outcome }
}

function map(row: RemovalRow | undefined): Removal | undefined {
  return row === undefined ? undefined : toRemoval(row)
}

function toRemoval(row: RemovalRow): Removal {
  return { accountId: row.account_id, requestedAt: row.requested_at, dueAt: row.due_at }
}
