/** Rows of `agent_uses`: one for each account and agent; and of `agent_delegations`: one for each service and resource, too. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'
import type { AgentUse, Delegation, DelegationKey, StoredDelegation } from './types.ts'

export type AgentRepository = ReturnType<typeof agentRepository>

interface Row {
  readonly account_id: string
  readonly client_id: string
  readonly used_at: Date
}

interface DelegationRow {
  readonly actor_client_id: string
  readonly subject_client_id: string
  readonly resource: string
  readonly scopes: readonly string[]
  readonly first_used_at: Date
  readonly last_used_at: Date
  readonly revoked_at: Date | null
}

const toDelegation = (row: DelegationRow): StoredDelegation => ({
  actorClientId: row.actor_client_id,
  subjectClientId: row.subject_client_id,
  resource: row.resource,
  scopes: row.scopes,
  firstUsedAt: row.first_used_at,
  lastUsedAt: row.last_used_at,
  revokedAt: row.revoked_at ?? undefined,
})

const columnsOf = ({ accountId, actorClientId, subjectClientId }: DelegationKey) => ({
  ...{ account_id: accountId, actor_client_id: actorClientId, subject_client_id: subjectClientId },
})

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

    ...delegationRows(db),
  }
}

function delegationRows(db: Knex) {
  return {
    async listDelegations(accountId: string): Promise<StoredDelegation[]> {
      const rows: DelegationRow[] = await db('agent_delegations')
        .where({ account_id: accountId })
        .orderBy(['actor_client_id', 'subject_client_id', 'resource'])
      return rows.map(toDelegation)
    },

    /**
     * Notes an exchange, unless the person took back one of those that act; then nothing is written and it says false. One
     * row that was taken back stands for the service as a whole, so that another resource server is no way around. A row
     * that is taken back while this waits for it is looked at again (read committed), and refuses too.
     */
    async delegate(delegation: Delegation, now: Date, tx: Tx): Promise<boolean> {
      const { accountId, subjectClientId, agents, acting, resource, scopes } = delegation
      const { rows } = await tx.raw<{ rows: { taken: boolean; noted: number }[] }>(
        `with taken as (
           select from agent_delegations where account_id = ? and subject_client_id = ?
             and actor_client_id = any(?::text[]) and revoked_at is not null
         ), noted as (
           insert into agent_delegations (account_id, actor_client_id, subject_client_id, resource, scopes,
             first_used_at, last_used_at)
           select accounts.id, each.agent, ?, ?, ?::jsonb, ?::timestamptz, ?::timestamptz
           from accounts, unnest(?::text[]) as each (agent)
           where accounts.id = ? and not exists (select from taken) order by each.agent
           on conflict (account_id, subject_client_id, actor_client_id, resource) do update set
             scopes = (select jsonb_agg(distinct v order by v)
               from jsonb_array_elements_text(agent_delegations.scopes || excluded.scopes) as each (v)),
             last_used_at = greatest(agent_delegations.last_used_at, excluded.last_used_at)
           where agent_delegations.revoked_at is null
           returning 1
         )
         select exists (select from taken) as taken, (select count(*)::int from noted) as noted`,
        [
          ...[accountId, subjectClientId, [...acting]],
          ...[subjectClientId, resource, JSON.stringify(scopes), now.toISOString(), now.toISOString()],
          ...[[...agents], accountId],
        ],
      )
      return rows[0]?.taken === false && rows[0].noted === agents.length
    },

    /** Whether the person took one of them back. */
    async isTakenBack(accountId: string, subjectClientId: string, acting: readonly string[]): Promise<boolean> {
      const row: object | undefined = await db('agent_delegations')
        .where({ account_id: accountId, subject_client_id: subjectClientId })
        .whereIn('actor_client_id', [...acting])
        .whereNotNull('revoked_at')
        .first('actor_client_id')
      return row !== undefined
    },

    /** The resource servers at which it acted; none when there was nothing to take back. */
    async revokeDelegations(key: DelegationKey, now: Date, tx: Tx): Promise<string[]> {
      const rows: { resource: string }[] = await tx('agent_delegations')
        .where(columnsOf(key))
        .whereNull('revoked_at')
        .update({ revoked_at: now }, ['resource'])
      return rows.map(({ resource }) => resource).sort()
    },

    /** The same for what was taken back. */
    async allowDelegations(key: DelegationKey, tx: Tx): Promise<string[]> {
      const rows: { resource: string }[] = await tx('agent_delegations')
        .where(columnsOf(key))
        .whereNotNull('revoked_at')
        .update({ revoked_at: null }, ['resource'])
      return rows.map(({ resource }) => resource).sort()
    },
  }
}
