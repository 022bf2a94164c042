/** The schema after all migrations, the same on both kinds of database, so that a change of it is seen in review. */
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { schemaOf } from '../support/schema.ts'
import { freshDatabase } from '../support/services.ts'

const GOLDEN = new URL('../golden/schema.txt', import.meta.url)

describe.each(['embedded', 'postgres'] as const)('on %s', (kind) => {
  it('the migrations make the schema that was reviewed (GENKAN_TEST_GOLDEN=write makes the file anew)', async () => {
    const database = await freshDatabase(kind)
    const schema = await schemaOf(database)
    await database.close()
    if (process.env.GENKAN_TEST_GOLDEN === 'write') writeFileSync(GOLDEN, schema)
    expect(schema).toBe(readFileSync(GOLDEN, 'utf8'))
  })
})
