/** Rows of `consents`: one live row for each account and client. */
import type { Knex } from 'knex'
import type { Statement } from '../../platform/outbox.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Agreement, Consent, ResourceScopes } from './types.ts'

export type ConsentRepository = ReturnType<typeof consentRepository>

export function consentRepository(db: Knex) {
  return {
    async find(accountId: string, clientId: string, tx?: Tx): Promise<Consent | undefined> {
      const query = (tx ?? db)<ConsentRow>('consents')
      const row = await query.where({ account_id: accountId, client_id: clientId }).whereNull('revoked_at').first()
      return row === undefined ? undefined : toConsent(row as ConsentRow)
    },

    async listByAccount(accountId: string, tx?: Tx): Promise<Consent[]> {
      const query = (tx ?? db)<ConsentRow>('consents')
      const rows = await query.where({ account_id: accountId }).whereNull('revoked_at').orderBy('client_id')
      return (rows as ConsentRow[]).map(toConsent)
    },

    /** Adds to what was agreed before and states the facts: one statement, so that two tabs never lose one another's answer. */
    async grant(
      id: string,
      accountId: string,
      clientId: string,
      added: Agreement,
      now: Date,
      facts: Statement,
    ): Promise<Consent> {
      const { rows } = await db.raw(
        `with facts as (${facts.sql})
         insert into consents (id, account_id, client_id, scopes, claims, resources, granted_at, updated_at)
         values (?, ?, ?, ?::jsonb, ?::jsonb, ?::jsonb, ?, ?)
         on conflict (account_id, client_id) where revoked_at is null do update set
           scopes = (select coalesce(jsonb_agg(distinct v order by v), '[]')
             from jsonb_array_elements_text(consents.scopes || excluded.scopes) as each (v)),
           claims = (select coalesce(jsonb_agg(distinct v order by v), '[]')
             from jsonb_array_elements_text(consents.claims || excluded.claims) as each (v)),
           resources = (select coalesce(jsonb_object_agg(key, scopes), '{}') from (
             select key, jsonb_agg(distinct v order by v) as scopes from (
               select key, value from jsonb_each(consents.resources)
               union all select key, value from jsonb_each(excluded.resources)
             ) as pairs, jsonb_array_elements_text(pairs.value) as each (v) group by key) as merged),
           updated_at = excluded.updated_at
         returning *`,
        [
          ...facts.bindings,
          ...[id, accountId, clientId],
          ...[JSON.stringify(added.scopes), JSON.stringify(added.claims), JSON.stringify(added.resources)],
          ...[now, now],
        ],
      )
      return toConsent(rows[0])
    },

    /** False when there was no live row. */
    async revoke(accountId: string, clientId: string, now: Date, tx: Tx): Promise<boolean> {
      const where = { account_id: accountId, client_id: clientId }
      return (await tx('consents').where(where).whereNull('revoked_at').update({ revoked_at: now }, ['id'])).length > 0
    },

    /** Of every account; returns the accounts. */
    async revokeAll(clientId: string, now: Date, tx: Tx): Promise<string[]> {
      const live = tx('consents').where({ client_id: clientId }).whereNull('revoked_at')
      const rows: { account_id: string }[] = await live.update({ revoked_at: now }, ['account_id'])
      return rows.map((row) => row.account_id)
    },
  }
}

interface ConsentRow {
  account_id: string
  client_id: string
  scopes: string[]
  claims: string[]
  resources: ResourceScopes
  granted_at: Date
  updated_at: Date
}

function toConsent(row: ConsentRow): Consent {
  return {
    accountId: row.account_id,
    clientId: row.client_id,
    scopes: row.scopes,
    claims: row.claims,
    resources: row.resources,
    grantedAt: row.granted_at,
    updatedAt: row.updated_at,
  }
}
