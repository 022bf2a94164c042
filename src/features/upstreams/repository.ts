/** Rows of `upstreams`. */
import type { Knex } from 'knex'
import type { OpenPersonal, PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { UpstreamSettings } from './schema.ts'
import { SEALED_SETTINGS, type UpstreamManaged, type UpstreamRecord } from './types.ts'

interface UpstreamRow {
  readonly name: string
  readonly sealed_settings: string
  readonly managed: UpstreamManaged
  readonly disabled_at: Date | null
  readonly disabled_by: UpstreamManaged | null
  readonly created_at: Date
  readonly updated_at: Date
}

export type UpstreamRepository = ReturnType<typeof upstreamRepository>
type Row = UpstreamRecord<UpstreamSettings>

/** Serialises writers that decide from what they have read: declared providers at start, commands. */
const LOCK = 4_207_160_433

export function upstreamRepository(db: Knex, personal: PersonalData) {
  const seal = (name: string, settings: UpstreamSettings) =>
    personal.seal(JSON.parse(JSON.stringify(settings)), SEALED_SETTINGS, name)
  return {
    /** Waits for other writers until the transaction ends. */
    async lock(tx: Tx): Promise<void> {
      await tx.raw('select pg_advisory_xact_lock(?)', [LOCK])
    },

    async find(name: string, tx?: Tx): Promise<Row | undefined> {
      const row = await (tx ?? db)<UpstreamRow>('upstreams').where({ name }).first()
      return row === undefined ? undefined : personal.read((open) => toRecord(row, open), tx)
    },

    /** In the order in which they were made, which is that of their buttons. */
    async list(tx?: Tx): Promise<Row[]> {
      const rows = await (tx ?? db)<UpstreamRow>('upstreams').orderBy(['created_at', 'name'])
      return personal.read((open) => rows.map((row) => toRecord(row, open)), tx)
    },

    /** A unique violation when the name is taken. */
    async insert(upstream: Pick<Row, 'name' | 'settings' | 'managed'>, now: Date, tx: Tx): Promise<void> {
      const { name, settings, managed } = upstream
      const sealed = seal(name, settings)
      await tx('upstreams').insert({ name, sealed_settings: sealed, managed, created_at: now, updated_at: now })
    },

    async updateSettings(name: string, settings: UpstreamSettings, now: Date, tx: Tx): Promise<void> {
      await tx('upstreams')
        .where({ name })
        .update({ sealed_settings: seal(name, settings), updated_at: now })
    },

    /** `by` nobody: it is on. */
    async updateDisabled(name: string, by: UpstreamManaged | undefined, now: Date, tx: Tx): Promise<void> {
      const disabled = { disabled_at: by === undefined ? null : now, disabled_by: by ?? null }
      await tx('upstreams')
        .where({ name })
        .update({ ...disabled, updated_at: now })
    },

    async delete(name: string, tx: Tx): Promise<boolean> {
      return (await tx('upstreams').where({ name }).delete()) === 1
    },
  }
}

function toRecord(row: UpstreamRow, open: OpenPersonal): Row {
  return {
    name: row.name,
    settings: open(row.sealed_settings, SEALED_SETTINGS, row.name) as unknown as UpstreamSettings,
    managed: row.managed,
    disabledAt: row.disabled_at ?? undefined,
    disabledBy: row.disabled_by ?? undefined,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}
