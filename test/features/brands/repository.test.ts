import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { brandRepository } from '../../../src/features/brands/repository.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { freshDatabase } from '../../support/services.ts'

const NOW = new Date('2026-11-25T10:00:00Z')
const LATER = new Date('2026-11-25T11:00:00Z')

describe.each(['embedded', 'postgres'] as const)('brand repository on %s', (kind) => {
  let database: Database
  let brands: ReturnType<typeof brandRepository>

  beforeAll(async () => {
    database = await freshDatabase(kind)
    brands = brandRepository(database.db)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    await database.db('brands').delete()
  })

  const insert = (id: string) =>
    database.transaction((tx) => brands.insert({ id, settings: { name: id }, managed: 'command', now: NOW }, tx))
  const picture = (body: Buffer) => ({ type: 'image/png' as const, width: 4, height: 3, body })

  it('keeps what it is given, and a taken id is a unique violation', async () => {
    await insert('acme')
    await database.transaction(async (tx) => {
      await brands.updateSettings('acme', { name: 'Acme', texts: { en: { 'common.email': "E'mail ☃" } } }, LATER, tx)
      await brands.updateCss('acme', 'h1{color:red}', LATER, tx)
    })
    expect(await brands.find('acme')).toEqual({
      id: 'acme',
      settings: { name: 'Acme', texts: { en: { 'common.email': "E'mail ☃" } } },
      css: 'h1{color:red}',
      managed: 'command',
      logos: {},
      disabledAt: undefined,
      createdAt: NOW,
      updatedAt: LATER,
    })
    await expect(insert('acme')).rejects.toMatchObject({ code: '23505' })
    expect(await brands.find('other')).toBeUndefined()
  })

  it('keeps every byte of a logo, replaces it, and lists it without its bytes', async () => {
    await insert('acme')
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    const save = (body: Buffer, hash: string) =>
      database.transaction((tx) =>
        brands.saveLogo({ brandId: 'acme', variant: 'dark', picture: picture(body), hash, now: LATER }, tx),
      )
    await save(Buffer.from('old'), 'h1')
    await save(bytes, 'h2')
    expect(await brands.findLogo('acme', 'dark')).toEqual(bytes)
    expect(await brands.findLogo('acme', 'light')).toBeUndefined()
    const [record] = await brands.list()
    expect(record?.logos).toEqual({ dark: { type: 'image/png', width: 4, height: 3, hash: 'h2' } })
    expect(record?.updatedAt).toEqual(LATER)
    expect(await database.transaction((tx) => brands.deleteLogo('acme', 'dark', LATER, tx))).toBe(true)
    expect(await database.transaction((tx) => brands.deleteLogo('acme', 'dark', LATER, tx))).toBe(false)
    expect(await brands.findLogo('acme', 'dark')).toBeUndefined()
  })

  it('shows no logo of a disabled brand, and deletes logos with their brand', async () => {
    await insert('acme')
    await database.transaction((tx) =>
      brands.saveLogo(
        { brandId: 'acme', variant: 'light', picture: picture(Buffer.from('x')), hash: 'h', now: NOW },
        tx,
      ),
    )
    await database.transaction((tx) => brands.updateDisabled('acme', true, LATER, tx))
    expect((await brands.find('acme'))?.disabledAt).toEqual(LATER)
    expect(await brands.findLogo('acme', 'light')).toBeUndefined()
    await database.transaction((tx) => brands.updateDisabled('acme', false, LATER, tx))
    expect(await brands.findLogo('acme', 'light')).toEqual(Buffer.from('x'))
    await database.transaction((tx) => brands.delete('acme', tx))
    expect(await database.db('brand_logos')).toEqual([])
  })

  it('lists by id', async () => {
    for (const id of ['c', 'a', 'b']) await insert(id)
    expect((await brands.list()).map(({ id }) => id)).toEqual(['a', 'b', 'c'])
  })
})
