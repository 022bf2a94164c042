/** Data keys: made once, opened or refused, renewed beside whoever still has the old ones, and never removed under a row. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { Knex } from 'knex'
import { createLocalInvalidation } from '../../src/platform/invalidation.ts'
import { createPersonalData, type PersonalData } from '../../src/platform/personal_columns.ts'
import { countStale, resealPersonal, retireDataKeys } from '../../src/platform/personal_reseal.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { freshDatabase } from '../support/services.ts'

const [OLD, NEW] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
const NAME = { table: 'people', key: 'id', column: 'sealed_name' } as const
const OTHER = { ...NAME, column: 'sealed_other' } as const
const DAY = 86_400_000

/** What `keys reseal` hands to each room. */
function again(...secretKeys: Buffer[]) {
  const box = createSecretBox(secretKeys)
  return (sealed: string, purpose: string) =>
    box.needsReseal(sealed) ? box.seal(box.open(sealed, purpose), purpose) : undefined
}

describe.each(['embedded', 'postgres'] as const)('data keys on %s', (kind) => {
  let database: Database
  let time = Date.parse('2026-11-01T12:00:00.000Z')

  beforeEach(async () => {
    database = await freshDatabase(kind)
    await database.db.raw('create table people (id text primary key, sealed_name text, sealed_other text)')
  })
  afterEach(() => database.close())

  const instance = (...secretKeys: Buffer[]) =>
    createPersonalData({
      ...{ database, secretBox: createSecretBox(secretKeys), invalidation: createLocalInvalidation() },
      clock: { now: () => new Date(time) },
    })
  const ensured = async (...secretKeys: Buffer[]) => {
    const made = instance(...secretKeys)
    await database.transaction((tx) => made.ensure(tx))
    return made
  }
  const insert = async (by: PersonalData, ids: readonly string[]) => {
    const rows = ids.map((id) => ({ id, sealed_name: by.seal(`name of ${id}`, NAME, id) }))
    await database.db.batchInsert('people', rows)
  }
  const nameOf = async (by: PersonalData, id: string) => {
    const row = await database.db('people').where({ id }).first()
    return by.read((open) => open(row.sealed_name, NAME, id))
  }
  const keyIds = async () => (await database.db('data_keys').orderBy('created_at')).map(({ id }) => id as string)
  const reseal = async (by: Awaited<ReturnType<typeof ensured>>, ...secretKeys: Buffer[]) => {
    const keys = await database.transaction((tx) => by.resealKeys(again(...secretKeys), tx))
    return { keys, ...(await resealPersonal({ database, personal: by, columns: [NAME, OTHER] })) }
  }
  const retire = (by: Awaited<ReturnType<typeof ensured>>) =>
    retireDataKeys({ database, personal: by, columns: [NAME, OTHER] })

  it('three that start at once agree, and later ones find the same', async () => {
    const three = await Promise.all([ensured(OLD), ensured(OLD), ensured(OLD)])
    expect(await database.db('data_keys')).toHaveLength(2)
    await insert(three[0], ['a'])
    for (const one of [...three, await ensured(NEW, OLD)]) {
      expect(await nameOf(one, 'a')).toBe('name of a')
      expect(await one.index('x', 'purpose')).toBe(await three[0].index('x', 'purpose'))
    }
    expect(JSON.stringify(await database.db('people'))).not.toContain('name of')
    expect(await three[0].index('x', 'other')).not.toBe(await three[0].index('x', 'purpose'))
  })

  it('one that does not open, or is another than its id says, refuses the start and is named', async () => {
    await ensured(OLD)
    const [id = ''] = await keyIds()
    await expect(ensured(NEW)).rejects.toThrow(/data key [\w-]{8} \((personal|index)\) cannot be opened/)
    const sealed = (await database.db('data_keys').where({ purpose: 'personal' }).first()).sealed_key
    await database.db('data_keys').where({ purpose: 'index' }).update({ sealed_key: sealed })
    await expect(ensured(OLD)).rejects.toThrow('(index) cannot be opened')
    expect(id).toHaveLength(8)
  })

  it('new ones do not take the place of lost ones that rows are under', async () => {
    const first = await ensured(OLD)
    await insert(first, ['a'])
    await database.db('data_keys').delete()
    const second = await ensured(OLD)
    const check = database.transaction((tx) => second.check(NAME, tx))
    await expect(check).rejects.toThrow(/data key [\w-]{8}, which sealed rows of people, is missing/)
    await expect(nameOf(second, 'a')).rejects.toThrow(/people.sealed_name of row a cannot be opened: its data key/)
  })

  it('a cell that was changed, or moved to another row or column, opens nowhere', async () => {
    const by = await ensured(OLD)
    await insert(by, ['a', 'b'])
    const [a, b] = await database.db('people').orderBy('id')
    await expect(by.read((open) => open(b.sealed_name, NAME, 'a'))).rejects.toMatchObject({
      ...{ code: 'internal_error', status: 500, expose: false },
      message: 'people.sealed_name of row a cannot be opened: it was sealed for b',
    })
    await expect(by.read((open) => open(a.sealed_name, OTHER, 'a'))).rejects.toThrow('people.sealed_other of row a')
    for (const changed of [`${a.sealed_name.slice(0, -4)}AAAA`, 'plain', ''])
      await expect(by.read((open) => open(changed, NAME, 'a'))).rejects.toThrow('cannot be opened')
  })

  it('are renewed with the secret key: rows move beside an instance that knows the old ones only', async () => {
    const ids = Array.from({ length: 1100 }, (_, i) => `p${i}`)
    await insert(await ensured(OLD), ids)
    const running = await ensured(NEW, OLD)
    const email = await running.index('anna@example.com', 'email')
    time += 1000
    const operator = instance(NEW, OLD)
    expect(await reseal(operator, NEW, OLD)).toEqual({ keys: 3, renewed: 1100, forged: 0 })
    expect(await reseal(operator, NEW, OLD)).toEqual({ keys: 0, renewed: 0, forged: 0 })

    // It has the old key in memory, seals under it, and hears of the new one from what it reads.
    await insert(running, ['late'])
    expect(await nameOf(running, 'p7')).toBe('name of p7')
    await insert(running, ['later'])
    const [newest = ''] = (await running.box()).keyIds
    expect(await countStale(database, [NAME, OTHER], newest)).toBe(1)
    expect((await database.db('people').where({ id: 'later' }).first()).sealed_name).toContain(`v1.${newest}.`)
    // The look-ups are those of before.
    const alone = instance(NEW)
    expect(await alone.index('anna@example.com', 'email')).toBe(email)
    expect(await nameOf(alone, 'p1099')).toBe('name of p1099')
    await expect(instance(OLD).refresh()).rejects.toThrow('cannot be opened')
  })

  it('inside a transaction too', async () => {
    const running = await ensured(OLD)
    await insert(running, ['a'])
    await running.refresh()
    time += 1000
    await reseal(instance(NEW, OLD), NEW, OLD)
    const other = instance(NEW)
    const [row] = await database.db('people')
    const open = () => database.transaction((tx) => other.read((opened) => opened(row.sealed_name, NAME, 'a'), tx))
    expect(await open()).toBe('name of a')
  })

  it('old ones go after a week, when a whole run has found nothing under them, and not before', async () => {
    const running = await ensured(OLD)
    await insert(running, ['a'])
    time += 1000
    const operator = instance(NEW, OLD)
    await reseal(operator, NEW, OLD)
    await insert(running, ['straggler'])
    expect(await retire(operator)).toEqual([])
    expect(await nameOf(operator, 'straggler')).toBe('name of straggler')
    time += 6 * DAY
    expect(await retire(operator)).toEqual([])
    expect(await keyIds()).toHaveLength(3)
    time += 2 * DAY
    const [, newest = ''] = (await keyIds()).slice(-2)
    expect(await retire(operator)).toHaveLength(1)
    expect(await keyIds()).toHaveLength(2)
    expect((await operator.box()).keyIds).toEqual([newest])
    expect(await nameOf(operator, 'a')).toBe('name of a')
    expect(await retire(operator)).toEqual([])
  })

  it('a forged cell stays forged, keeps its key, and is counted', async () => {
    const by = await ensured(OLD)
    await insert(by, ['a', 'b', 'c'])
    const before = await database.db('people').orderBy('id')
    const forged = `${before[1].sealed_name.slice(0, -6)}AAAAAA`
    await database.db('people').where({ id: 'b' }).update({ sealed_name: forged })
    time += 1000
    expect(await reseal(instance(NEW, OLD), NEW, OLD)).toEqual({ keys: 3, renewed: 2, forged: 1 })
    expect((await database.db('people').where({ id: 'b' }).first()).sealed_name).toBe(forged)
    time += 30 * DAY
    expect(await retire(instance(NEW))).toEqual([])
  })

  it('a row that is changed meanwhile is not overwritten', async () => {
    const by = await ensured(OLD)
    await insert(by, ['a', 'b'])
    time += 1000
    const operator = instance(NEW, OLD)
    let isRead = false
    // Changed between the page's reading and its writing.
    const raw = async (sql: string, values: Knex.RawBinding[]) => {
      const result = await database.db.raw(sql, values)
      if (!isRead && result.rows.length === 2) {
        isRead = true
        await database
          .db('people')
          .where({ id: 'a' })
          .update({ sealed_name: by.seal('changed', NAME, 'a') })
      }
      return result
    }
    const slow = { ...database, db: { raw } as unknown as Knex }
    await database.transaction((tx) => operator.resealKeys(again(NEW, OLD), tx))
    const resealed = await resealPersonal({ database: slow, personal: operator, columns: [NAME] })
    expect([isRead, resealed]).toEqual([true, { renewed: 1, forged: 0 }])
    expect(await nameOf(operator, 'a')).toBe('changed')
    expect(await nameOf(operator, 'b')).toBe('name of b')
  })

  it('are never written in clear', async () => {
    await ensured(OLD)
    const rows = await database.db('data_keys')
    expect(rows.map(({ purpose }) => purpose).sort()).toEqual(['index', 'personal'])
    for (const row of rows) expect(row.sealed_key).toMatch(/^v1\.[\w-]{8}\./)
  })
})
