/** The rules of brands: who may change them, what is kept in the process, what pages are given. */
import { isDeepStrictEqual } from 'node:util'
import type { Fact } from '../../events.ts'
import { type Brand, type CompiledBrand, compileBrand, contentHash, PLAIN_BRAND } from '../../platform/brand.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Invalidation } from '../../platform/invalidation.ts'
import type { Outbox } from '../../platform/outbox.ts'
import { type Contrast, describeContrast } from '../../platform/palette.ts'
import type { Picture } from '../../platform/picture.ts'
import type { Tx } from '../../platform/postgres.ts'
import { createRowCache } from '../../platform/row_cache.ts'
import { brandError } from './errors.ts'
import type { BrandRepository } from './repository.ts'
import {
  type BrandDeclaration,
  checkedCss,
  checkedLogo,
  checkedSettings,
  hardToRead,
  isBrandId,
  merge,
  readDeclaration,
  type Wanted,
  type Wording,
} from './schema.ts'
import {
  BRANDS_TOPIC,
  type BrandRecord,
  type BrandSettings,
  DEFAULT_BRAND,
  type LogoRecord,
  type LogoVariant,
} from './types.ts'

export interface BrandsDeps {
  readonly repository: BrandRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: Pick<Outbox, 'record'>
  readonly invalidation: Invalidation
  readonly clock: Clock
  readonly wording: Wording
  readonly readFile: (path: string) => Promise<Buffer>
  /** Told when a brand cannot be read: the page is shown all the same. */
  readonly warn: (error: unknown, message: string) => void
}

export type BrandsService = ReturnType<typeof createBrandsService>

export function createBrandsService(deps: BrandsDeps) {
  const write = createWriter(deps)
  return { ...lookups(deps), ...commands(deps, write), ...declarations(deps) }
}

const LOGOS = 100

/** Reads on the path of pages. */
function lookups(deps: BrandsDeps) {
  const { repository, invalidation } = deps
  const brands = createRowCache<{ record: BrandRecord } & CompiledBrand>({
    load: async (id) => {
      const record = await repository.find(id)
      return record === undefined || record.disabledAt !== undefined ? undefined : { record, ...compileBrand(record) }
    },
    fingerprint: ({ record }) => JSON.stringify(record),
    invalidation,
    topic: BRANDS_TOPIC,
  })
  // Kept by the hash of their content: they cannot be out of date.
  const logos = createRowCache<Buffer>({
    load: (key) => {
      const [id = '', variant] = key.split(' ')
      return repository.findLogo(id, variant === 'dark' ? 'dark' : 'light')
    },
    fingerprint: contentHash,
    invalidation: { subscribe: () => {}, healthy: () => true, ask: async () => {} },
    topic: BRANDS_TOPIC,
    atMost: LOGOS,
  })
  const find = async (id: string) => (isBrandId(id) ? brands.get(id) : undefined)
  let last = PLAIN_BRAND
  const findDefault = async (): Promise<Brand> => {
    last = (await find(DEFAULT_BRAND))?.brand ?? PLAIN_BRAND
    return last
  }
  return {
    /**
     * What a page shows: the brand of this id, or the default one when it is not there. Never fails: the page that says
     * that the store is away needs a brand too, and shows the one that was last known.
     */
    async page(id: string = DEFAULT_BRAND): Promise<Brand> {
      try {
        return (id === DEFAULT_BRAND ? undefined : (await find(id))?.brand) ?? (await findDefault())
      } catch (error) {
        deps.warn(error, 'the brand could not be read')
        return last
      }
    },

    /** The default brand as it was last seen. */
    lastDefault: (): Brand => last,

    stylesheet: async (id: string) => (await find(id))?.stylesheet,

    /** The present logo with its bytes. */
    async logo(id: string, variant: LogoVariant): Promise<(LogoRecord & { readonly body: Buffer }) | undefined> {
      const logo = (await find(id))?.record.logos[variant]
      const body = logo === undefined ? undefined : await logos.get(`${id} ${variant} ${logo.hash}`)
      return logo === undefined || body === undefined ? undefined : { ...logo, body }
    },

    /** Whether a client may name it. */
    async exists(id: string, tx: Tx): Promise<boolean> {
      const record = await repository.find(id, tx)
      return id === DEFAULT_BRAND || (record !== undefined && record.disabledAt === undefined)
    },

    list: (): Promise<BrandRecord[]> => repository.list(),
    /** One brand as stored, disabled or not, past the cache. */
    show: (id: string): Promise<BrandRecord | undefined> => repository.find(id),
  }
}

/** Commands change what commands made. Each change and its fact are one transaction; caches hear of it after the commit. */
function createWriter({ repository, transaction, invalidation }: BrandsDeps) {
  return async <T>(id: string, work: (tx: Tx, record: BrandRecord | undefined) => Promise<T>): Promise<T> => {
    if (!isBrandId(id)) throw brandError('invalid_brand', `${JSON.stringify(id)} cannot be the id of a brand`)
    const result = await transaction(async (tx) => {
      await repository.lock(tx)
      const record = await repository.find(id, tx)
      if (record?.managed === 'file') {
        throw brandError('brand_managed_by_file', `brand ${id} is declared: change the configuration`)
      }
      return work(tx, record)
    })
    await invalidation.publish(BRANDS_TOPIC, id)
    return result
  }
}

type Write = ReturnType<typeof createWriter>

function commands(deps: BrandsDeps, write: Write) {
  const { repository, outbox, clock } = deps
  const state = (fact: Fact, tx: Tx) => outbox.record([fact], tx)
  return {
    /**
     * Makes the brand, or changes some of its settings; `null` takes one away. Maps (colours, links, texts) are changed
     * member by member. @returns pairs of colours that are hard to read
     * @throws AppError invalid_brand with every problem, one a line
     */
    set(id: string, given: { readonly [setting: string]: unknown }): Promise<readonly Contrast[]> {
      return write(id, async (tx, record) => {
        const settings = checkedSettings(merge(record?.settings ?? {}, given), deps.wording)
        if (record === undefined) {
          await repository.insert({ id, settings, managed: 'command', now: clock.now() }, tx)
          await state(fact('brand.created', id, 'operator'), tx)
        } else {
          await repository.updateSettings(id, settings, clock.now(), tx)
          await state(updated(id, changedNames(record.settings, settings), 'operator'), tx)
        }
        return hardToRead(settings)
      })
    },

    /** Sets or removes the custom CSS. @returns undefined when there is no such brand */
    async setCss(id: string, text: string | undefined): Promise<true | undefined> {
      const css = text === undefined ? '' : checkedCss(text)
      return write(id, async (tx, record) => {
        if (record === undefined) return undefined
        await repository.updateCss(id, css, clock.now(), tx)
        await state(updated(id, ['css'], 'operator'), tx)
        return true
      })
    },

    /** Sets or removes a logo. @returns undefined when there is no such brand (or logo to remove) */
    async setLogo(id: string, variant: LogoVariant, file: Buffer | undefined): Promise<true | undefined> {
      const picture = file === undefined ? undefined : checkedLogo(file)
      return write(id, async (tx, record) => {
        if (record === undefined || (picture === undefined && record.logos[variant] === undefined)) return undefined
        if (picture === undefined) await repository.deleteLogo(id, variant, clock.now(), tx)
        else await saveLogo(deps, { brandId: id, variant, picture }, tx)
        await state(updated(id, [logoName(variant)], 'operator'), tx)
        return true
      })
    },

    /** Deletes the brand; clients that name it show the default one. @returns whether there was one */
    remove(id: string): Promise<boolean> {
      return write(id, async (tx, record) => {
        if (record === undefined) return false
        await repository.delete(id, tx)
        await state(fact('brand.deleted', id, 'operator'), tx)
        return true
      })
    },
  }
}

/** What the configuration file declares. */
function declarations(deps: BrandsDeps) {
  const { repository, clock } = deps
  return {
    /**
     * Brings the declared brands into the database, at start and under the migration lock, before the clients that name
     * them: new and changed ones are written, those which left the file are disabled. An unchanged file writes nothing.
     * @returns the ids that changed, to `announce` after the commit, and what is hard to read
     * @throws AppError invalid_brand with every problem of every declaration, one a line
     */
    async syncDeclared(
      declared: readonly BrandDeclaration[],
      tx: Tx,
    ): Promise<{ changed: string[]; warnings: string[] }> {
      const problems: string[] = []
      const wanted: Wanted[] = []
      for (const declaration of declared) {
        const found = await readDeclaration(declaration, deps.wording, deps.readFile)
        if ('problems' in found)
          problems.push(...found.problems.map((problem) => `brands.${declaration.id}.${problem}`))
        else wanted.push(found)
      }
      if (problems.length > 0) throw brandError('invalid_brand', problems.join('\n'))
      await repository.lock(tx)
      const current = new Map((await repository.list(tx)).map((record) => [record.id, record]))
      const facts: Fact[] = []
      for (const brand of wanted) facts.push(...(await sync(deps, brand, current.get(brand.id), tx)))
      const ids = new Set(wanted.map(({ id }) => id))
      for (const { id, managed, disabledAt } of current.values()) {
        if (managed !== 'file' || disabledAt !== undefined || ids.has(id)) continue
        await repository.updateDisabled(id, true, clock.now(), tx)
        facts.push(fact('brand.disabled', id, 'system', { reason: 'left_file' }))
      }
      if (facts.length > 0) await deps.outbox.record(facts, tx)
      const warnings = wanted.flatMap(({ id, settings }) =>
        hardToRead(settings).map((pair) => `brands.${id}.colours: ${describeContrast(pair)}`),
      )
      return { changed: [...new Set(facts.map(({ data }) => String(data?.brand)))], warnings }
    },

    /** Tells all instances that these brands have changed. */
    async announce(ids: readonly string[]): Promise<void> {
      for (const id of ids) await deps.invalidation.publish(BRANDS_TOPIC, id)
    },
  }
}

/** Writes what differs from what is there, and says what was. */
async function sync(deps: BrandsDeps, wanted: Wanted, current: BrandRecord | undefined, tx: Tx): Promise<Fact[]> {
  const { repository } = deps
  const { id, settings, css, logos } = wanted
  const now = deps.clock.now()
  if (current?.managed === 'command') {
    throw brandError('brand_exists', `brands.${id}: was made by a command; choose another id, or delete it there`)
  }
  if (current === undefined) await repository.insert({ id, settings, managed: 'file', now }, tx)
  const changed = changedNames(current?.settings ?? settings, settings)
  if (changed.length > 0) await repository.updateSettings(id, settings, now, tx)
  if (css !== (current?.css ?? '')) {
    await repository.updateCss(id, css, now, tx)
    changed.push('css')
  }
  for (const variant of ['light', 'dark'] as const) {
    const picture = logos[variant]
    const hash = picture === undefined ? undefined : contentHash(picture.body)
    if (hash === current?.logos[variant]?.hash) continue
    if (picture === undefined) await repository.deleteLogo(id, variant, now, tx)
    else await saveLogo(deps, { brandId: id, variant, picture }, tx)
    changed.push(logoName(variant))
  }
  if (current === undefined) return [fact('brand.created', id, 'system')]
  const facts = changed.length > 0 ? [updated(id, changed, 'system')] : []
  if (current.disabledAt !== undefined) {
    await repository.updateDisabled(id, false, now, tx)
    facts.push(fact('brand.enabled', id, 'system'))
  }
  return facts
}

function saveLogo(
  { repository, clock }: BrandsDeps,
  logo: { brandId: string; variant: LogoVariant; picture: Picture },
  tx: Tx,
): Promise<void> {
  return repository.saveLogo({ ...logo, hash: contentHash(logo.picture.body), now: clock.now() }, tx)
}

const logoName = (variant: LogoVariant) => (variant === 'light' ? 'logo' : 'logo_dark')

function changedNames(before: BrandSettings, after: BrandSettings): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])] as (keyof BrandSettings)[]
  return names.filter((name) => !isDeepStrictEqual(before[name], after[name])).sort()
}

function fact(type: Fact['type'], brand: string, actor: string, data: Fact['data'] = {}): Fact {
  return { type, actor, data: { brand, ...data } }
}

function updated(brand: string, changed: readonly string[], actor: string): Fact {
  return fact('brand.updated', brand, actor, { changed })
}
