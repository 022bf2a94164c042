/** Rows of `consents`, one live row for each account and client, and of `consent_details`, one for each object agreed to. */
import type { Knex } from 'knex'
import type { Json } from '../../events.ts'
import type { Detail } from '../../platform/authorization_details.ts'
import type { Statement } from '../../platform/outbox.ts'
import type { OpenPersonal, PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import {
  type AgreedDetail,
  type Agreement,
  type Consent,
  type ResourceScopes,
  SEALED_DETAIL,
  type StoredDetail,
} from './types.ts'

export type ConsentRepository = ReturnType<typeof consentRepository>

export function consentRepository(db: Knex, personal: PersonalData) {
  const counting = (now: Date) =>
    db('consent_details')
      .whereNull('revoked_at')
      .where((lasts) => lasts.whereNull('expires_at').orWhere('expires_at', '>', now))
  const sealed = ({ id, type, digest, detail, text, locale, expiresAt }: AgreedDetail) => ({
    ...{ id, type, digest, locale, expires_at: expiresAt?.toISOString() ?? null },
    sealed_detail: personal.seal({ detail: { ...detail } as Json, text }, SEALED_DETAIL, id),
  })
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
      added: Agreement & { readonly details?: readonly AgreedDetail[] },
      now: Date,
      facts: Statement,
    ): Promise<Consent> {
      const { rows } = await db.raw(
        `with facts as (${facts.sql}), details as (
           insert into consent_details
             (id, account_id, client_id, type, digest, sealed_detail, locale, granted_at, expires_at)
           select id, ?, ?, type, digest, sealed_detail, locale, ?, expires_at from jsonb_to_recordset(?::jsonb)
             as each (id text, type text, digest text, sealed_detail text, locale text, expires_at timestamptz))
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
          ...[accountId, clientId, now, JSON.stringify((added.details ?? []).map(sealed))],
          ...[id, accountId, clientId],
          ...[JSON.stringify(added.scopes), JSON.stringify(added.claims), JSON.stringify(added.resources)],
          ...[now, now],
        ],
      )
      return toConsent(rows[0])
    },

    /** Which grant was made of them: it is there only after them. */
    async bindDetails(ids: readonly string[], grantId: string): Promise<void> {
      await db('consent_details')
        .whereIn('id', [...ids])
        .update({ grant_id: grantId })
    },

    /** Which of the digests were agreed to, were not taken back and are not over. */
    async liveDetails({ accountId, clientId, digests }: Looked, now: Date) {
      const rows: Pick<DetailRow, 'digest' | 'expires_at'>[] = await counting(now)
        .where({ account_id: accountId, client_id: clientId })
        .whereIn('digest', [...digests])
        .select('digest', 'expires_at')
      return rows.map(({ digest, expires_at }) => ({ digest, expiresAt: expires_at ?? undefined }))
    },

    /** What counts still, newest first. */
    async listDetails(accountId: string, now: Date): Promise<StoredDetail[]> {
      const rows: DetailRow[] = await counting(now)
        .where({ account_id: accountId })
        .orderBy([{ column: 'granted_at', order: 'desc' }, 'id'])
        .limit(MOST_LISTED)
      return personal.read((open) => rows.map((row) => toDetail(row, open)))
    },

    /** False when there was no live row. */
    async revoke(accountId: string, clientId: string, now: Date, tx: Tx): Promise<boolean> {
      const where = { account_id: accountId, client_id: clientId }
      await tx('consent_details').where(where).whereNull('revoked_at').update({ revoked_at: now })
      return (await tx('consents').where(where).whereNull('revoked_at').update({ revoked_at: now }, ['id'])).length > 0
    },

    /** Of every account; returns the accounts. */
    async revokeAll(clientId: string, now: Date, tx: Tx): Promise<string[]> {
      await tx('consent_details').where({ client_id: clientId }).whereNull('revoked_at').update({ revoked_at: now })
      const live = tx('consents').where({ client_id: clientId }).whereNull('revoked_at')
      const rows: { account_id: string }[] = await live.update({ revoked_at: now }, ['account_id'])
      return rows.map((row) => row.account_id)
    },
  }
}

interface Looked {
  readonly accountId: string
  readonly clientId: string
  readonly digests: readonly string[]
}

/** More than anybody reads. */
const MOST_LISTED = 100

interface DetailRow {
  readonly id: string
  readonly client_id: string
  readonly grant_id: string | null
  readonly type: string
  readonly digest: string
  readonly sealed_detail: string
  readonly locale: string
  readonly granted_at: Date
  readonly expires_at: Date | null
  readonly revoked_at: Date | null
}

function toDetail(row: DetailRow, open: OpenPersonal): StoredDetail {
  const { detail, text } = open(row.sealed_detail, SEALED_DETAIL, row.id) as unknown as { detail: Detail; text: string }
  return {
    ...{ id: row.id, clientId: row.client_id, type: row.type, digest: row.digest, detail, text, locale: row.locale },
    grantId: row.grant_id ?? undefined,
    grantedAt: row.granted_at,
    expiresAt: row.expires_at ?? undefined,
    revokedAt: row.revoked_at ?? undefined,
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
