/** Rows of `agent_uses`: one for each account and agent. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'
import type { AgentUse } from './types.ts'

export type AgentRepository = ReturnType<typeof agentRepository>

interface Row {
  readonly account_id: string
  readonly client_id: string
  readonly used_at: Date
}

const toUse = (row: Row): AgentUse => ({ accountId: row.account_id, clientId: row.client_id, usedAt: row.used_at })

export function agentRepository(db: Knex) {
  return {
    async listByAccount(accountId: string): Promise<AgentUse[]> {
      const rows: Row[] = await db('agent_uses').where({ account_id: accountId })
      return rows.map(toUse)
    },

    /** Keeps the later time: instances write in any order. An account that is gone meanwhile is passed over. */
    async insertUses(uses: readonly AgentUse[]): Promise<void> {
      await db.raw(
        `insert into agent_uses (account_id, client_id, used_at)
         select used.account_id, used.client_id, used.used_at
         from unnest(?::text[], ?::text[], ?::timestamptz[]) as used (account_id, client_id, used_at)
         join accounts on accounts.id = used.account_id
         on conflict (account_id, client_id) do update set used_at = greatest(agent_uses.used_at, excluded.used_at)`,
        [
          uses.map(({ accountId }) => accountId),
          uses.map(({ clientId }) => clientId),
          uses.map(({ usedAt }) => usedAt.toISOString()),
        ],
      )
    },

    /** Takes up to `atMost` rows that were last used before, so that of several instances one deals with each. */
    async deleteUnused(before: Date, atMost: number, tx: Tx): Promise<AgentUse[]> {
      const { rows } = await tx.raw<{ rows: Row[] }>(
        `delete from agent_uses where (account_id, client_id) in (
           select account_id, client_id from agent_uses where used_at < ? order by used_at limit ? for update skip locked)
         returning account_id, client_id, used_at`,
        [before, atMost],
      )
      return rows.map(toUse)
    },
  }
}
