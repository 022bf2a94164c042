import { beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import type { BrandRepository } from '../../../src/features/brands/repository.ts'
import type { BrandDeclaration } from '../../../src/features/brands/schema.ts'
import { createBrandsService } from '../../../src/features/brands/service.ts'
import type { BrandRecord, LogoRecord } from '../../../src/features/brands/types.ts'
import { createLocalInvalidation } from '../../../src/platform/invalidation.ts'
import type { Tx } from '../../../src/platform/postgres.ts'
import { createViews } from '../../../src/platform/views.ts'
import { png } from '../../support/png.ts'

const NOW = new Date('2026-11-25T10:00:00Z')
const TX = {} as Tx
const views = createViews({ viewsDir: 'views' })
const SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 1"><path d="M0 0"/></svg>'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Rows in memory, with a count of what was read and written. */
function createRows() {
  const rows = new Map<string, Mutable<BrandRecord>>()
  const bytes = new Map<string, Buffer>()
  const counts = { reads: 0, logoReads: 0, writes: 0 }
  const change = (id: string, changes: Partial<BrandRecord>, now: Date) => {
    const row = rows.get(id)
    if (row !== undefined) rows.set(id, { ...row, ...changes, updatedAt: now })
    counts.writes++
  }
  const repository: BrandRepository = {
    lock: async () => {},
    find: async (id) => {
      counts.reads++
      return rows.get(id)
    },
    list: async () => [...rows.values()],
    insert: async ({ id, settings, managed, now }) => {
      const row = { id, settings, managed, css: '', logos: {}, disabledAt: undefined, createdAt: now, updatedAt: now }
      rows.set(id, row)
      counts.writes++
    },
    updateSettings: async (id, settings, now) => change(id, { settings }, now),
    updateCss: async (id, css, now) => change(id, { css }, now),
    updateDisabled: async (id, disabled, now) => change(id, { disabledAt: disabled ? now : undefined }, now),
    delete: async (id) => void rows.delete(id),
    findLogo: async (id, variant) => {
      counts.logoReads++
      return bytes.get(`${id} ${variant}`)
    },
    saveLogo: async ({ brandId, variant, picture, hash, now }) => {
      const { body, ...rest } = picture
      bytes.set(`${brandId} ${variant}`, body)
      const logo: LogoRecord = { ...rest, hash }
      change(brandId, { logos: { ...rows.get(brandId)?.logos, [variant]: logo } }, now)
    },
    deleteLogo: async (id, variant, now) => {
      const { [variant]: gone, ...rest } = rows.get(id)?.logos ?? {}
      change(id, { logos: rest }, now)
      return gone !== undefined
    },
  }
  return { rows, counts, repository }
}

describe('brands', () => {
  let store: ReturnType<typeof createRows>
  let facts: Fact[]
  let warned: string[]
  let files: { [path: string]: Buffer }
  let broken: Error | undefined
  let service: ReturnType<typeof createBrandsService>

  beforeEach(() => {
    store = createRows()
    facts = []
    warned = []
    files = {}
    broken = undefined
    const { repository } = store
    service = createBrandsService({
      repository: {
        ...repository,
        find: async (id, tx) => {
          if (broken !== undefined) throw broken
          return repository.find(id, tx)
        },
      },
      transaction: (work) => work(TX),
      outbox: { record: async (stated) => void facts.push(...stated) },
      invalidation: createLocalInvalidation(),
      clock: { now: () => NOW },
      wording: views,
      readFile: async (path) => {
        const file = files[path]
        if (file === undefined) throw new Error(`${path} cannot be read (ENOENT)`)
        return file
      },
      warn: (_error, message) => void warned.push(message),
    })
  })
  const stated = () => facts.map(({ type, data }) => [type, data?.brand, data?.changed].filter(Boolean).join(' '))
  const sync = (declared: readonly BrandDeclaration[]) => service.syncDeclared(declared, TX)

  describe('pages', () => {
    it('show the plain brand until a default one is made, and that one for whatever names no other', async () => {
      expect(await service.page()).toMatchObject({ id: 'default', name: 'Genkan' })
      await service.set('default', { name: 'House' })
      await service.set('acme', { name: 'Acme' })
      expect(await service.page()).toMatchObject({ name: 'House' })
      expect(await service.page('acme')).toMatchObject({ id: 'acme', name: 'Acme' })
      for (const id of ['gone', '', '../x', 'x\0', 'A'.repeat(60_000)]) {
        expect(await service.page(id)).toMatchObject({ id: 'default', name: 'House' })
      }
    })

    it('are served from the process, and see a change made here at once', async () => {
      await service.set('acme', { name: 'Acme' })
      await service.page('acme')
      const before = store.counts.reads
      const same = await service.page('acme')
      expect(await service.page('acme')).toBe(same)
      expect(store.counts.reads).toBe(before)
      await service.set('acme', { name: 'New' })
      expect((await service.page('acme')).name).toBe('New')
    })

    it('go on with the last known default when the store is away', async () => {
      await service.set('default', { name: 'House' })
      await service.page()
      await service.set('default', { name: 'House' })
      broken = new Error('store away')
      expect((await service.page('acme')).name).toBe('House')
      expect(service.lastDefault().name).toBe('House')
      expect(warned).toEqual(['the brand could not be read'])
    })

    it('read the bytes of a logo once', async () => {
      await service.set('acme', { name: 'Acme' })
      await service.setLogo('acme', 'light', png())
      const logo = await service.logo('acme', 'light')
      expect(logo).toMatchObject({ type: 'image/png', body: png(), hash: expect.stringMatching(/^[0-9a-f]{12}$/) })
      await service.logo('acme', 'light')
      expect(store.counts.logoReads).toBe(1)
      expect((await service.page('acme')).logo?.light.path).toBe(`/brands/acme/logo-light.${logo?.hash}.png`)
      expect(await service.logo('acme', 'dark')).toBeUndefined()
      expect(await service.logo('gone', 'light')).toBeUndefined()
    })
  })

  describe('commands', () => {
    it('change member by member, take away with null, and state what changed', async () => {
      await service.set('acme', { name: 'Acme', colours: { accent: '#0b6e4f', sheet: '#fafafa' }, radius: 4 })
      await service.set('acme', { colours: { accent: '#123456', sheet: null }, radius: null })
      expect((await service.show('acme'))?.settings).toEqual({ name: 'Acme', colours: { accent: '#123456' } })
      await service.setCss('acme', 'h1 { color: red }')
      await service.setLogo('acme', 'dark', Buffer.from(SVG))
      await service.setLogo('acme', 'dark', undefined)
      expect(await service.setLogo('acme', 'dark', undefined)).toBeUndefined()
      await service.setCss('acme', undefined)
      expect(await service.remove('acme')).toBe(true)
      expect(await service.remove('acme')).toBe(false)
      expect(stated()).toEqual([
        'brand.created acme',
        'brand.updated acme colours,radius',
        'brand.updated acme css',
        'brand.updated acme logo_dark',
        'brand.updated acme logo_dark',
        'brand.updated acme css',
        'brand.deleted acme',
      ])
      expect(facts.every(({ actor }) => actor === 'operator')).toBe(true)
    })

    it('answer what is hard to read', async () => {
      expect(await service.set('acme', { name: 'Acme', colours: { accent: '#ffd400' } })).toEqual(
        expect.arrayContaining([expect.objectContaining({ scheme: 'light', pair: 'accent on sheet' })]),
      )
      expect(await service.set('acme', { colours: { accent: '#0b6e4f' } })).toEqual([])
    })

    it('know no brand that is not there', async () => {
      expect(await service.setCss('gone', 'p{}')).toBeUndefined()
      expect(await service.setLogo('gone', 'light', png())).toBeUndefined()
      expect(facts).toEqual([])
    })

    it.each([
      [{}, 'name:'],
      [{ name: '' }, 'name:'],
      [{ name: 'a\u202eb' }, 'invisible'],
      [{ name: 'x'.repeat(61) }, 'name:'],
      [{ name: 'A', colors: {} }, 'colors: is not a setting'],
      [{ name: 'A', colours: { accent: 'red' } }, 'colours.accent: must be a colour'],
      [{ name: 'A', colours: { accent: '#12345g' } }, 'colours.accent'],
      [{ name: 'A', colours: { accent: '#fff;}' } }, 'colours.accent'],
      [{ name: 'A', colours: { button: '#fff' } }, 'colours.button: is not a setting'],
      [{ name: 'A', radius: 25 }, 'radius'],
      [{ name: 'A', radius: '4px' }, 'radius'],
      [{ name: 'A', font: ['x";}@import "y'] }, 'font.0'],
      [{ name: 'A', font: ['url(x)'] }, 'font.0'],
      [{ name: 'A', font: [] }, 'font'],
      [{ name: 'A', links: { privacy: 'http://a.example' } }, 'links.privacy: must be https'],
      [{ name: 'A', links: { privacy: 'javascript:alert(1)' } }, 'links.privacy'],
      [{ name: 'A', links: { support: 'mailto:a@b.example?bcc=x' } }, 'links.support'],
      [{ name: 'A', links: { support: 'mailto:a@b.example\nx' } }, 'links.support'],
      [{ name: 'A', links: { blog: 'https://a.example/' } }, 'links.blog: is not a setting'],
      [{ name: 'A', default_locale: 'xx' }, 'default_locale: is not a language'],
      [{ name: 'A', texts: { xx: {} } }, 'texts.xx: is not a language'],
      [{ name: 'A', texts: { en: { 'no.such.key': 'x' } } }, 'texts.en.no.such.key: is not a message'],
      [{ name: 'A', texts: { en: { 'common.email': '{x}' } } }, 'texts.en.common.email: has the placeholder {x}'],
      [{ name: 'A', texts: { en: { 'common.email': 1 } } }, 'texts.en.common.email'],
    ])('refuse %j', async (settings, problem) => {
      await expect(service.set('acme', settings)).rejects.toMatchObject({ code: 'invalid_brand' })
      await expect(service.set('acme', settings)).rejects.toThrow(problem)
      expect(store.rows.size).toBe(0)
    })

    it('refuse ids that no path can have, CSS with its place, and pictures by their content', async () => {
      for (const id of ['', 'A', 'a b', '../a', 'a.b', '-a', 'x'.repeat(41)]) {
        await expect(service.set(id, { name: 'A' })).rejects.toThrow('cannot be the id of a brand')
      }
      await service.set('acme', { name: 'Acme' })
      await expect(service.setCss('acme', 'p{}\n@import "x";')).rejects.toThrow(
        'line 2, column 1: @import is not allowed',
      )
      await expect(service.setLogo('acme', 'light', Buffer.from('GIF89a'))).rejects.toThrow('is neither PNG nor SVG')
      expect(stated()).toEqual(['brand.created acme'])
    })

    it('leave alone what the file declares', async () => {
      await sync([{ id: 'acme', name: 'Acme' }])
      const refused = { code: 'brand_managed_by_file' }
      await expect(service.set('acme', { name: 'Mine' })).rejects.toMatchObject(refused)
      await expect(service.setCss('acme', 'p{}')).rejects.toMatchObject(refused)
      await expect(service.setLogo('acme', 'light', png())).rejects.toMatchObject(refused)
      await expect(service.remove('acme')).rejects.toMatchObject(refused)
    })
  })

  describe('declarations', () => {
    const acme = {
      id: 'acme',
      name: 'Acme',
      colours: { accent: '#0b6e4f' },
      css: 'a.css',
      logo: 'a.svg',
      logo_dark: 'b.png',
    }

    beforeEach(() => {
      files = { 'a.css': Buffer.from('h1 { color: red }'), 'a.svg': Buffer.from(SVG), 'b.png': png() }
    })

    it('are written once, with their files; an unchanged file writes nothing', async () => {
      expect(await sync([acme])).toEqual({ changed: ['acme'], warnings: [] })
      const record = await service.show('acme')
      expect(record).toMatchObject({ css: 'h1{color:red}', managed: 'file', settings: { name: 'Acme' } })
      expect(record?.logos).toMatchObject({ light: { type: 'image/svg+xml' }, dark: { type: 'image/png' } })
      const writes = store.counts.writes
      expect(await sync([acme])).toEqual({ changed: [], warnings: [] })
      expect(store.counts.writes).toBe(writes)
      expect(stated()).toEqual(['brand.created acme'])
    })

    it('follow the file: changed, left, and back again', async () => {
      await sync([acme])
      files['b.png'] = png({ width: 5, raw: Buffer.alloc(21 * 3) })
      await sync([{ ...acme, name: 'New', css: undefined }])
      await sync([])
      expect((await service.page('acme')).id).toBe('default')
      await sync([{ id: 'acme', name: 'New' }])
      expect(stated()).toEqual([
        'brand.created acme',
        'brand.updated acme name,css,logo_dark',
        'brand.disabled acme',
        'brand.updated acme colours,logo,logo_dark',
        'brand.enabled acme',
      ])
      expect(facts.every(({ actor }) => actor === 'system')).toBe(true)
      expect(await service.show('acme')).toMatchObject({ css: '', logos: {}, disabledAt: undefined })
    })

    it('are refused with every problem of every one', async () => {
      files['a.css'] = Buffer.from('@import "x";\np { color: url(x) }')
      files['a.svg'] = Buffer.from('GIF89a')
      const wrong = [
        { ...acme, logo_dark: 'gone.png', radius: 99 },
        { id: 'Not An Id', name: 'x', font: 'serif' },
      ]
      const failed = await sync(wrong).catch((error: Error) => error.message)
      expect(String(failed).split('\n')).toEqual([
        expect.stringContaining('brands.acme.radius: '),
        'brands.acme.css: line 1, column 1: @import is not allowed',
        expect.stringContaining('brands.acme.css: line 2, column 12: url() is not allowed'),
        'brands.acme.logo: the picture is neither PNG nor SVG',
        'brands.acme.logo_dark: gone.png cannot be read (ENOENT)',
        expect.stringContaining('brands.Not An Id.id: '),
        expect.stringContaining('brands.Not An Id.font: '),
      ])
      expect(store.counts.writes).toBe(0)
    })

    it('warn of what is hard to read, and take no brand that a command made', async () => {
      const { warnings } = await sync([{ id: 'acme', name: 'Acme', colours: { accent: '#ffd400' } }])
      expect(warnings[0]).toMatch(/^brands\.acme\.colours: accent on sheet \(light\) is 1\.4/)
      await service.set('mine', { name: 'Mine' })
      await expect(sync([{ id: 'mine', name: 'X' }])).rejects.toMatchObject({ code: 'brand_exists' })
    })
  })

  it('a client may name an enabled brand and the default one', async () => {
    expect(await service.exists('default', TX)).toBe(true)
    expect(await service.exists('acme', TX)).toBe(false)
    await sync([{ id: 'acme', name: 'Acme' }])
    expect(await service.exists('acme', TX)).toBe(true)
    await sync([])
    expect(await service.exists('acme', TX)).toBe(false)
  })
})
