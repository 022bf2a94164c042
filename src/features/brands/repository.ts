/** SQL of brands and their logos. */
import type { Knex } from 'knex'
import type { Picture } from '../../platform/picture.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { BrandManaged, BrandRecord, BrandSettings, LogoRecord, LogoVariant } from './types.ts'

interface BrandRow {
  id: string
  settings: BrandSettings
  css: string
  managed: BrandManaged
  disabled_at: Date | string | null
  created_at: Date | string
  updated_at: Date | string
  logos: (LogoRecord & { variant: LogoVariant })[]
}

/** Serialises writers that decide from what they have read: declared brands at start, commands. */
const LOCK = 4_207_160_432

const SELECT = `
  select b.*, coalesce(
    (select jsonb_agg(jsonb_build_object('variant', l.variant, 'type', l.type, 'width', l.width, 'height', l.height,
       'hash', l.hash) order by l.variant desc) from brand_logos l where l.brand_id = b.id), '[]'
  ) as logos
  from brands b`

export type BrandRepository = ReturnType<typeof brandRepository>

/** @param db the root handle; writes go through the transaction they are given. */
export function brandRepository(db: Knex) {
  return {
    /** Waits for other writers until the transaction ends. */
    async lock(tx: Tx): Promise<void> {
      await tx.raw('select pg_advisory_xact_lock(?)', [LOCK])
    },

    /** The brand without the bytes of its logos, disabled or not. */
    async find(id: string, tx?: Tx): Promise<BrandRecord | undefined> {
      const { rows } = await (tx ?? db).raw<{ rows: BrandRow[] }>(`${SELECT} where b.id = ?`, [id])
      return rows[0] === undefined ? undefined : toRecord(rows[0])
    },

    /** All brands, by id. There are as many as operators made: no paging. */
    async list(tx?: Tx): Promise<BrandRecord[]> {
      const { rows } = await (tx ?? db).raw<{ rows: BrandRow[] }>(`${SELECT} order by b.id`)
      return rows.map(toRecord)
    },

    /** @throws the driver's unique violation when the id is taken */
    async insert(brand: { id: string; settings: BrandSettings; managed: BrandManaged; now: Date }, tx: Tx) {
      const { id, settings, managed, now } = brand
      await tx('brands').insert({
        id,
        settings: JSON.stringify(settings),
        managed,
        created_at: now,
        updated_at: now,
      })
    },

    async updateSettings(id: string, settings: BrandSettings, now: Date, tx: Tx): Promise<void> {
      await tx('brands')
        .where({ id })
        .update({ settings: JSON.stringify(settings), updated_at: now })
    },

    async updateCss(id: string, css: string, now: Date, tx: Tx): Promise<void> {
      await tx('brands').where({ id }).update({ css, updated_at: now })
    },

    async updateDisabled(id: string, disabled: boolean, now: Date, tx: Tx): Promise<void> {
      await tx('brands')
        .where({ id })
        .update({ disabled_at: disabled ? now : null, updated_at: now })
    },

    async delete(id: string, tx: Tx): Promise<void> {
      await tx('brands').where({ id }).delete()
    },

    /** The bytes of a logo of an enabled brand. */
    async findLogo(brandId: string, variant: LogoVariant): Promise<Buffer | undefined> {
      const [row] = (await db('brand_logos as l')
        .join('brands as b', 'b.id', 'l.brand_id')
        .where({ 'l.brand_id': brandId, 'l.variant': variant, 'b.disabled_at': null })
        .select('l.body')) as { body: Uint8Array }[]
      return row === undefined ? undefined : Buffer.from(row.body)
    },

    async saveLogo(
      logo: { brandId: string; variant: LogoVariant; picture: Picture; hash: string; now: Date },
      tx: Tx,
    ): Promise<void> {
      const { brandId, variant, picture, hash, now } = logo
      const { type, body } = picture
      const [width, height] = [Math.round(picture.width), Math.round(picture.height)]
      await tx('brand_logos')
        .insert({ brand_id: brandId, variant, type, width, height, hash, body })
        .onConflict(['brand_id', 'variant'])
        .merge()
      await tx('brands').where({ id: brandId }).update({ updated_at: now })
    },

    /** @returns whether there was one */
    async deleteLogo(brandId: string, variant: LogoVariant, now: Date, tx: Tx): Promise<boolean> {
      const rows = await tx('brand_logos').where({ brand_id: brandId, variant }).delete(['variant'])
      await tx('brands').where({ id: brandId }).update({ updated_at: now })
      return rows.length > 0
    },
  }
}

function toRecord(row: BrandRow): BrandRecord {
  const { id, settings, css, managed } = row
  const logos = Object.fromEntries(row.logos.map(({ variant, ...logo }) => [variant, logo]))
  return {
    ...{ id, settings, css, managed, logos },
    disabledAt: row.disabled_at === null ? undefined : new Date(row.disabled_at),
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
  }
}
