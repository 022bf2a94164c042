/** SQL of signing keys. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'
import type { KeyAlg, KeyRecord } from './types.ts'

interface KeyRow {
  kid: string
  alg: KeyAlg
  public_jwk: KeyRecord['publicJwk']
  sealed_private: string
  created_at: Date
  signs_from: Date
  retires_at: Date | null
}

/** Serialises writers: one set is made at the first start, one successor at a rotation. */
const LOCK = 4_207_160_432

export type KeyRepository = ReturnType<typeof keyRepository>

/** @param db the root handle; writes go through the transaction they are given. */
export function keyRepository(db: Knex) {
  return {
    /** Waits for other writers until the transaction ends. */
    async lock(tx: Tx): Promise<void> {
      await tx.raw('select pg_advisory_xact_lock(?)', [LOCK])
    },

    /** All keys, in the order they begin to sign. */
    async list(tx?: Tx): Promise<KeyRecord[]> {
      const rows: KeyRow[] = await (tx ?? db)('signing_keys').orderBy(['signs_from', 'kid'])
      return rows.map(toRecord)
    },

    async insert(key: KeyRecord, tx: Tx): Promise<void> {
      await tx('signing_keys').insert({
        kid: key.kid,
        alg: key.alg,
        public_jwk: JSON.stringify(key.publicJwk),
        sealed_private: key.sealedPrivate,
        created_at: key.createdAt,
        signs_from: key.signsFrom,
        retires_at: key.retiresAt ?? null,
      })
    },

    async updateRetirement(kids: readonly string[], at: Date, tx: Tx): Promise<void> {
      await tx('signing_keys')
        .whereIn('kid', [...kids])
        .where((either) => either.whereNull('retires_at').orWhere('retires_at', '>', at))
        .update({ retires_at: at })
    },

    /** Replaces a sealed value, unless somebody else has. @returns whether it did */
    async updateSealed(kid: string, before: string, after: string, tx: Tx): Promise<boolean> {
      const rows = await tx('signing_keys')
        .where({ kid, sealed_private: before })
        .update({ sealed_private: after }, ['kid'])
      return rows.length > 0
    },

    /** Forgets keys that retired before `at`. @returns how many */
    async deleteRetired(at: Date, tx: Tx): Promise<number> {
      const rows = await tx('signing_keys').where('retires_at', '<', at).delete(['kid'])
      return rows.length
    },
  }
}

function toRecord(row: KeyRow): KeyRecord {
  return {
    kid: row.kid,
    alg: row.alg,
    publicJwk: row.public_jwk,
    sealedPrivate: row.sealed_private,
    createdAt: new Date(row.created_at),
    signsFrom: new Date(row.signs_from),
    retiresAt: row.retires_at === null ? undefined : new Date(row.retires_at),
  }
}
