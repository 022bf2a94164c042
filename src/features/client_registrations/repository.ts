/** SQL of initial access tokens and of what registered by them. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'
import type { InitialToken, Registration } from './types.ts'

interface TokenRow {
  id: string
  policy: string
  uses_left: number
  clients: number
  created_at: Date
  expires_at: Date
  revoked_at: Date | null
}

interface RegistrationRow {
  client_id: string
  token_id: string
  policy: string
  access_token_hash: string | null
  software_statement: string | null
  registered_at: Date
  expires_at: Date | null
}

const SELECT_TOKENS = `
  select t.*, (
    select count(*)::int from client_registrations r
    where r.token_id = t.id and (r.expires_at is null or r.expires_at > ?)
  ) as clients
  from initial_access_tokens t`

const LIVE = 'revoked_at is null and expires_at > ?'

export type RegistrationRepository = ReturnType<typeof registrationRepository>

/** @param db the root handle; writes go through the transaction they are given. */
export function registrationRepository(db: Knex) {
  return { ...tokens(db), ...registrations(db) }
}

function tokens(db: Knex) {
  return {
    async insertToken(token: Omit<InitialToken, 'clients'>, hash: string, tx: Tx): Promise<void> {
      const { id, policy, usesLeft, createdAt, expiresAt } = token
      const times = { created_at: createdAt, expires_at: expiresAt }
      await tx('initial_access_tokens').insert({ id, hash, policy, uses_left: usesLeft, ...times })
    },

    /** Newest first. */
    async listTokens(now: Date, tx?: Tx): Promise<InitialToken[]> {
      const { rows } = await (tx ?? db).raw<{ rows: TokenRow[] }>(`${SELECT_TOKENS} order by t.created_at desc, t.id`, [
        now,
      ])
      return rows.map(toToken)
    },

    /** The token when it is neither ended nor used up. Nothing is spent. */
    async findLive(hash: string, now: Date): Promise<InitialToken | undefined> {
      const where = `where t.hash = ? and t.uses_left > 0 and ${LIVE}`
      const { rows } = await db.raw<{ rows: TokenRow[] }>(`${SELECT_TOKENS} ${where}`, [now, hash, now])
      return rows[0] === undefined ? undefined : toToken(rows[0])
    },

    /** Takes one use: of many at once as many succeed as there are uses (A34). Others wait for this transaction. */
    async spend(id: string, now: Date, tx: Tx): Promise<InitialToken | undefined> {
      const { rows } = await tx.raw<{ rows: { id: string }[] }>(
        `update initial_access_tokens set uses_left = uses_left - 1
         where id = ? and uses_left > 0 and ${LIVE} returning id`,
        [id, now],
      )
      if (rows[0] === undefined) return undefined
      const found = await tx.raw<{ rows: TokenRow[] }>(`${SELECT_TOKENS} where t.id = ?`, [now, id])
      return found.rows[0] === undefined ? undefined : toToken(found.rows[0])
    },

    /** Whether it changed; undefined when there is no such token. */
    async revokeToken(id: string, now: Date, tx: Tx): Promise<boolean | undefined> {
      const row = await tx('initial_access_tokens').where({ id }).forUpdate().first('revoked_at')
      if (row === undefined) return undefined
      const live = tx('initial_access_tokens').where({ id }).whereNull('revoked_at')
      return (await live.update({ revoked_at: now }, ['id'])).length > 0
    },
  }
}

function registrations(db: Knex) {
  return {
    async insert(registration: Registration, tx: Tx): Promise<void> {
      await tx('client_registrations').insert({
        client_id: registration.clientId,
        token_id: registration.tokenId,
        policy: registration.policy,
        access_token_hash: registration.accessTokenHash,
        software_statement: registration.softwareStatement ?? null,
        registered_at: registration.registeredAt,
        expires_at: registration.expiresAt ?? null,
      })
    },

    /** In a transaction the row is held: of two changes at once the second sees what the first has left. */
    async find(clientId: string, tx?: Tx): Promise<Registration | undefined> {
      const query = (tx ?? db)('client_registrations').where({ client_id: clientId })
      const row: RegistrationRow | undefined = await (tx === undefined ? query.first() : query.forUpdate().first())
      return row === undefined ? undefined : toRegistration(row)
    },

    async update(
      clientId: string,
      accessTokenHash: string,
      softwareStatement: string | undefined,
      tx: Tx,
    ): Promise<void> {
      await tx('client_registrations')
        .where({ client_id: clientId })
        .update({ access_token_hash: accessTokenHash, software_statement: softwareStatement ?? null })
    },

    /** Ends a registration access token wherever it belongs. @returns the client it was of */
    async endAccessToken(hash: string, tx: Tx): Promise<string | undefined> {
      const rows: { client_id: string }[] = await tx('client_registrations')
        .where({ access_token_hash: hash })
        .update({ access_token_hash: null }, ['client_id'])
      return rows[0]?.client_id
    },

    /** Enabled clients whose time is over. */
    async listDue(now: Date, atMost: number): Promise<string[]> {
      const { rows } = await db.raw<{ rows: { client_id: string }[] }>(
        `select r.client_id from client_registrations r join clients c on c.id = r.client_id
         where r.expires_at <= ? and c.disabled_at is null order by r.expires_at limit ?`,
        [now, atMost],
      )
      return rows.map((row) => row.client_id)
    },
  }
}

function toToken(row: TokenRow): InitialToken {
  return {
    id: row.id,
    policy: row.policy,
    usesLeft: row.uses_left,
    clients: row.clients,
    createdAt: new Date(row.created_at),
    expiresAt: new Date(row.expires_at),
    revokedAt: row.revoked_at === null ? undefined : new Date(row.revoked_at),
  }
}

function toRegistration(row: RegistrationRow): Registration {
  return {
    clientId: row.client_id,
    tokenId: row.token_id,
    policy: row.policy,
    accessTokenHash: row.access_token_hash ?? undefined,
    softwareStatement: row.software_statement ?? undefined,
    registeredAt: new Date(row.registered_at),
    expiresAt: row.expires_at === null ? undefined : new Date(row.expires_at),
  }
}
