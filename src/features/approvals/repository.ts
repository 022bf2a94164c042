/** Rows of `approvals`. The id that the client holds is stored as a hash, and sealed for the engine to be told by it. */
import type { Knex } from 'knex'
import { sha256 } from '../../platform/ids.ts'
import type { OpenPersonal, PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Agreement } from '../consents/types.ts'
import { type Approval, type Decision, type Proven, SEALED_REQUEST } from './types.ts'

interface Row {
  readonly id: string
  readonly account_id: string | null
  readonly client_id: string
  readonly sealed_request: string
  readonly agreed: string
  readonly acr: string
  readonly second_factor: boolean
  readonly asked_at: Date
  readonly expires_at: Date
  readonly decision: Decision | null
  readonly proof: string | null
  readonly told_at: Date | null
}

export type ApprovalRepository = ReturnType<typeof approvalRepository>

export type NewApproval = Omit<Approval, 'decision' | 'proof' | 'toldAt'>

export function approvalRepository(db: Knex, personal: PersonalData) {
  const opened = (rows: readonly Row[], tx?: Tx) =>
    personal.read((open) => rows.map((row) => toApproval(row, open)), tx)
  return {
    /** Requests about one account come one after the other, or each would see room for itself. False without an account. */
    async lockAccount(accountId: string, tx: Tx): Promise<boolean> {
      const { rows } = await tx.raw('select 1 from accounts where id = ? for no key update', [accountId])
      return rows.length > 0
    },

    async countOpen(accountId: string, now: Date, tx?: Tx): Promise<number> {
      const { rows } = await (tx ?? db).raw(
        'select count(*)::int as open from approvals where account_id = ? and decided_at is null and expires_at > ?',
        [accountId, now],
      )
      return rows[0].open
    },

    async insert(approval: NewApproval, tx: Tx): Promise<void> {
      const { id, authReqId, bindingMessage } = approval
      await tx('approvals').insert({
        ...{ id, account_id: approval.accountId ?? null, client_id: approval.clientId },
        request_hash: sha256(authReqId),
        sealed_request: personal.seal({ authReqId, bindingMessage: bindingMessage ?? null }, SEALED_REQUEST, id),
        ...{ agreed: JSON.stringify(approval.agreed), acr: approval.acr, second_factor: approval.secondFactor },
        ...{ asked_at: approval.askedAt, expires_at: approval.expiresAt },
      })
    },

    async find(id: string): Promise<Approval | undefined> {
      return (await opened(await db('approvals').where({ id })))[0]
    },

    async findByRequest(authReqId: string): Promise<Approval | undefined> {
      return (await opened(await db('approvals').where({ request_hash: sha256(authReqId) })))[0]
    },

    /** What waits for the account, the latest first. */
    async listOpen(accountId: string, now: Date): Promise<Approval[]> {
      const rows: Row[] = await db('approvals')
        .where({ account_id: accountId })
        .whereNull('decided_at')
        .where('expires_at', '>', now)
        .orderBy('asked_at', 'desc')
      return opened(rows)
    },

    /** Of two tabs, or two people at two browsers, exactly one decides. */
    async decide(
      { id, accountId }: { readonly id: string; readonly accountId: string },
      { decision, proof }: { readonly decision: Decision; readonly proof: Proven },
      now: Date,
      tx: Tx,
    ): Promise<boolean> {
      const { rows } = await tx.raw(
        `update approvals set decision = ?, decided_at = ?, proof = ?
         where id = ? and account_id = ? and decided_at is null and expires_at > ? returning id`,
        [decision, now, JSON.stringify(proof), id, accountId, now],
      )
      return rows.length === 1
    },

    /** Notes once that the engine has the answer. */
    async told(id: string, now: Date, tx: Tx): Promise<boolean> {
      const { rows } = await tx.raw('update approvals set told_at = ? where id = ? and told_at is null returning id', [
        now,
        id,
      ])
      return rows.length === 1
    },

    async deleteExpired(before: Date, atMost: number): Promise<number> {
      const { rows } = await db.raw(
        'delete from approvals where id in (select id from approvals where expires_at < ? limit ?) returning id',
        [before, atMost],
      )
      return rows.length
    },
  }
}

function toApproval(row: Row, open: OpenPersonal): Approval {
  const request = open(row.sealed_request, SEALED_REQUEST, row.id) as {
    authReqId: string
    bindingMessage: string | null
  }
  return {
    ...{ id: row.id, accountId: row.account_id ?? undefined, clientId: row.client_id },
    ...{ authReqId: request.authReqId, bindingMessage: request.bindingMessage ?? undefined },
    ...{ agreed: JSON.parse(row.agreed) as Agreement, acr: row.acr, secondFactor: row.second_factor },
    ...{ askedAt: row.asked_at, expiresAt: row.expires_at, decision: row.decision ?? undefined },
    proof: row.proof === null ? undefined : (JSON.parse(row.proof) as Proven),
    toldAt: row.told_at ?? undefined,
  }
}
