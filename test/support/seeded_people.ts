/** People with a proven address and the password of the journeys, straight into the tables: registering hundreds takes minutes. */
import argon2 from 'argon2'
import { openDatabase } from '../../src/platform/postgres.ts'
import { PASSWORD } from './journeys.ts'
import { accountColumns, databaseKeys } from './personal_columns.ts'

/** Makes them, with the cheapest hash that the product takes, and returns their addresses. `secretKeys`: `GENKAN_SECRET_KEYS`. */
export async function seedPeople(databaseUrl: string, secretKeys: string, count: number): Promise<string[]> {
  const hash = await argon2.hash(PASSWORD, { memoryCost: 7168, timeCost: 1, parallelism: 1 })
  const database = await openDatabase({ databaseUrl })
  try {
    const box = await (await databaseKeys(database, [Buffer.from(secretKeys, 'base64')])).box()
    const people = Array.from({ length: count }, (_, i) => ({ id: `seeded${i}`, email: `seeded${i}@example.com` }))
    await database.db.raw(
      `insert into accounts (id, email_hash, sealed_personal, email_verified_at, state, created_at, updated_at)
       select id, email_hash, sealed_personal, now(), 'active', now(), now()
       from jsonb_to_recordset(?::jsonb) as r(id text, email_hash text, sealed_personal text)`,
      [JSON.stringify(people.map(({ id, email }) => ({ id, ...accountColumns(id, email, {}, box) })))],
    )
    await database.db.raw(
      "insert into passwords (account_id, hash, changed_at) select id, ?, now() from accounts where id like 'seeded%'",
      [hash],
    )
    return people.map(({ email }) => email)
  } finally {
    await database.close()
  }
}
