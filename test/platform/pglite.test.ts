/** What knex is told of a statement must be the same on both kinds of database. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Database } from '../../src/platform/postgres.ts'
import { freshDatabase } from '../support/services.ts'

describe.each(['embedded', 'postgres'] as const)('on %s', (kind) => {
  let database: Database
  beforeAll(async () => {
    database = await freshDatabase(kind)
    await database.db.schema.createTable('things', (table) => table.text('id'))
    await database.db('things').insert(['a', 'b', 'c'].map((id) => ({ id })))
  })
  afterAll(() => database.close())

  it('a deletion and a change say how many rows they met, in a transaction and without', async () => {
    const { db, transaction } = database
    expect(await db('things').where({ id: 'a' }).update({ id: 'd' })).toBe(1)
    expect(await db('things').where({ id: 'd' }).delete()).toBe(1)
    expect(await db('things').where({ id: 'nobody' }).delete()).toBe(0)
    expect(await transaction((tx) => tx('things').where({ id: 'b' }).delete(['id']))).toEqual([{ id: 'b' }])
    expect(await transaction((tx) => tx('things').delete())).toBe(1)
  })
})
