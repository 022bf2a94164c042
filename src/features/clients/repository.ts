/** SQL of clients and their secrets. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'
import type { ClientMetadata, ClientRecord, ClientSecret, Managed } from './types.ts'

interface SecretJson {
  id: string
  hash: string
  managed: Managed
  created_at: string
  expires_at: string | null
  last_used_at: string | null
}

interface ClientRow {
  id: string
  metadata: ClientMetadata
  managed: Managed
  disabled_at: Date | string | null
  created_at: Date | string
  updated_at: Date | string
  last_used_at: Date | string | null
  secrets: SecretJson[]
}

/** Serialises writers that decide from what they have read: declared clients at start, commands. */
const LOCK = 4_207_160_431

const SELECT = `
  select c.*, coalesce(
    (select jsonb_agg(to_jsonb(s) order by s.created_at, s.id) from client_secrets s where s.client_id = c.id), '[]'
  ) as secrets
  from clients c`

export type ClientRepository = ReturnType<typeof clientRepository>

/** @param db the root handle; writes go through the transaction they are given. */
export function clientRepository(db: Knex) {
  return {
    /** Waits for other writers until the transaction ends. */
    async lock(tx: Tx): Promise<void> {
      await tx.raw('select pg_advisory_xact_lock(?)', [LOCK])
    },

    /** The client with all its secrets, disabled or not, in one statement: requests may wait for it. */
    async find(clientId: string, tx?: Tx): Promise<ClientRecord | undefined> {
      const { rows } = await (tx ?? db).raw<{ rows: ClientRow[] }>(`${SELECT} where c.id = ?`, [clientId])
      return rows[0] === undefined ? undefined : toRecord(rows[0])
    },

    /** All clients, by id. There are as many as operators registered: no paging. */
    async list(tx?: Tx): Promise<ClientRecord[]> {
      const { rows } = await (tx ?? db).raw<{ rows: ClientRow[] }>(`${SELECT} order by c.id`)
      return rows.map(toRecord)
    },

    /** CORS origins of the enabled clients, each once. */
    async listOrigins(tx?: Tx): Promise<string[]> {
      const { rows } = await (tx ?? db).raw<{ rows: { origin: string }[] }>(
        `select distinct jsonb_array_elements_text(metadata->'cors_origins') as origin
         from clients where disabled_at is null order by origin`,
      )
      return rows.map((row) => row.origin)
    },

    /** @throws the driver's unique violation when the id is taken */
    async insert(client: { metadata: ClientMetadata; managed: Managed; now: Date }, tx: Tx): Promise<void> {
      const { metadata, managed, now } = client
      await tx('clients').insert({
        id: metadata.client_id,
        metadata: JSON.stringify(metadata),
        managed,
        created_at: now,
        updated_at: now,
      })
    },

    async updateMetadata(metadata: ClientMetadata, now: Date, tx: Tx): Promise<void> {
      await tx('clients')
        .where({ id: metadata.client_id })
        .update({ metadata: JSON.stringify(metadata), updated_at: now })
    },

    /** @returns false when the client was in that state already, or is not there */
    async updateDisabled(clientId: string, disabled: boolean, now: Date, tx: Tx): Promise<boolean> {
      const rows = await tx('clients')
        .where({ id: clientId })
        .where('disabled_at', disabled ? 'is' : 'is not', null)
        .update({ disabled_at: disabled ? now : null, updated_at: now }, ['id'])
      return rows.length > 0
    },

    /** With its secrets. */
    delete: (clientId: string, tx: Tx): Promise<number> => tx('clients').where({ id: clientId }).delete(),

    async insertSecret(clientId: string, secret: ClientSecret, tx: Tx): Promise<void> {
      await tx('client_secrets').insert({
        id: secret.id,
        client_id: clientId,
        hash: secret.hash,
        managed: secret.managed,
        created_at: secret.createdAt,
        expires_at: secret.expiresAt ?? null,
      })
    },

    /** Lets these secrets end at `at`, unless they end before. */
    async updateSecretExpiry(ids: readonly string[], at: Date, tx: Tx): Promise<void> {
      await tx('client_secrets')
        .whereIn('id', [...ids])
        .where((either) => either.whereNull('expires_at').orWhere('expires_at', '>', at))
        .update({ expires_at: at })
    },

    /** Notes uses, all in one statement. Instances report in any order: the latest time stays. */
    async updateUses(table: 'clients' | 'client_secrets', uses: ReadonlyMap<string, Date>, tx: Tx): Promise<void> {
      await tx.raw(
        `update ?? t set last_used_at = greatest(t.last_used_at, used.at)
         from unnest(?::text[], ?::timestamptz[]) as used (id, at) where t.id = used.id`,
        [table, [...uses.keys()], [...uses.values()]],
      )
    },

    async deleteSecrets(ids: readonly string[], tx: Tx): Promise<void> {
      if (ids.length > 0)
        await tx('client_secrets')
          .whereIn('id', [...ids])
          .delete()
    },

    /** Removes secrets that ended before `now`, at most `atMost`. @returns how many */
    async deleteExpiredSecrets(now: Date, atMost: number, tx: Tx): Promise<number> {
      const ended = tx('client_secrets').select('id').where('expires_at', '<', now).limit(atMost)
      const rows = await tx('client_secrets').whereIn('id', ended).delete(['id'])
      return rows.length
    },
  }
}

function toRecord(row: ClientRow): ClientRecord {
  return deepFreeze({
    clientId: row.id,
    metadata: row.metadata,
    managed: row.managed,
    secrets: row.secrets.map(toSecret),
    disabledAt: row.disabled_at === null ? undefined : new Date(row.disabled_at),
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
    lastUsedAt: row.last_used_at === null ? undefined : new Date(row.last_used_at),
  })
}

function toSecret(row: SecretJson): ClientSecret {
  return {
    id: row.id,
    hash: row.hash,
    managed: row.managed,
    createdAt: new Date(row.created_at),
    expiresAt: row.expires_at === null ? undefined : new Date(row.expires_at),
    lastUsedAt: row.last_used_at === null ? undefined : new Date(row.last_used_at),
  }
}

/** Records are shared by all requests of the process. */
function deepFreeze<T>(value: T): T {
  if (value === null || typeof value !== 'object' || Object.isFrozen(value)) return value
  for (const item of Object.values(value)) deepFreeze(item)
  return Object.freeze(value)
}
