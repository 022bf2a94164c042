/**
 * Rows of `data_keys`: random keys for the columns that hold personal data, each sealed by a secret key (envelope
 * encryption). A row's id is that of its key, so that neither can be exchanged for another's.
 */
import { randomBytes } from 'node:crypto'
import type { Knex } from 'knex'
import type { Tx } from './postgres.ts'
import { createSecretBox, type SecretBox } from './secret_box.ts'

export type DataKeyPurpose = 'personal' | 'index'

/** A key that was opened. */
export interface DataKey {
  readonly id: string
  readonly purpose: DataKeyPurpose
  readonly key: Buffer
  readonly createdAt: Date
}

interface DataKeyRow {
  readonly id: string
  readonly purpose: DataKeyPurpose
  readonly sealed_key: string
  readonly created_at: Date
}

/** Under which the keys are sealed, by what they are for. */
const SEAL = { personal: 'data_key_personal', index: 'data_key_index' } as const
const KEY_BYTES = 32
/** Serialises writers, as the migration lock does at the start. */
const LOCK = 4_207_160_433

/** All keys, opened, newest first. Throws Error naming the key that does not open. */
export async function listDataKeys(db: Knex, secretBox: Pick<SecretBox, 'open'>): Promise<DataKey[]> {
  const rows: DataKeyRow[] = await db('data_keys').orderBy([{ column: 'created_at', order: 'desc' }, 'id'])
  return rows.map((row) => openKey(row, secretBox))
}

/** Makes a key for each purpose that has none. Returns the ids of those it made. */
export async function makeMissingDataKeys(tx: Tx, secretBox: Pick<SecretBox, 'seal'>, now: Date): Promise<string[]> {
  await tx.raw('select pg_advisory_xact_lock(?)', [LOCK])
  const present = new Set((await tx('data_keys').distinct('purpose')).map((row: DataKeyRow) => row.purpose))
  const missing = (['personal', 'index'] as const).filter((purpose) => !present.has(purpose))
  const made: string[] = []
  for (const purpose of missing) made.push(await insertDataKey(tx, purpose, secretBox, now))
  return made
}

/**
 * Seals the keys again with what `reseal` returns. When the newest key for personal data was sealed by an older secret key,
 * a new one is made too: whoever holds the older secret key and an old copy of the database knows the present one.
 * The index key is never replaced: the hash of every row would change with it, and instances that look an address up under
 * the old one would miss accounts until the last of them has heard. @returns how many rows changed
 */
export async function resealDataKeys(
  tx: Tx,
  secretBox: Pick<SecretBox, 'seal'>,
  reseal: (sealed: string, purpose: string) => string | undefined,
  now: Date,
): Promise<number> {
  await tx.raw('select pg_advisory_xact_lock(?)', [LOCK])
  const rows: DataKeyRow[] = await tx('data_keys').orderBy([{ column: 'created_at', order: 'desc' }, 'id'])
  const newest = rows.find(({ purpose }) => purpose === 'personal')
  let count = 0
  for (const { id, purpose, sealed_key: sealed } of rows) {
    const again = reseal(sealed, SEAL[purpose])
    if (again === undefined) continue
    await tx('data_keys').where({ id }).update({ sealed_key: again })
    count += 1
    if (newest === undefined || id !== newest.id) continue
    // Later than the present one by any clock: the newest is the one that seals.
    const createdAt = new Date(Math.max(now.getTime(), newest.created_at.getTime() + 1))
    await insertDataKey(tx, 'personal', secretBox, createdAt)
    count += 1
  }
  return count
}

/** Removes keys for personal data. */
export async function deleteDataKeys(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx('data_keys')
    .where({ purpose: 'personal' })
    .whereIn('id', [...ids])
    .delete()
}

async function insertDataKey(
  tx: Tx,
  purpose: DataKeyPurpose,
  secretBox: Pick<SecretBox, 'seal'>,
  now: Date,
): Promise<string> {
  const key = randomBytes(KEY_BYTES)
  const id = idOf(key)
  const sealed = secretBox.seal(key.toString('base64url'), SEAL[purpose])
  await tx('data_keys').insert({ id, purpose, sealed_key: sealed, created_at: now })
  return id
}

function openKey(row: DataKeyRow, secretBox: Pick<SecretBox, 'open'>): DataKey {
  const { id, purpose, created_at: createdAt } = row
  try {
    const key = Buffer.from(secretBox.open(row.sealed_key, SEAL[purpose]), 'base64url')
    if (idOf(key) !== id) throw new Error('it is another key than its id says')
    return { id, purpose, key, createdAt }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`data key ${id} (${purpose}) cannot be opened: ${reason}`, { cause })
  }
}

/** As the sealed values name it. */
function idOf(key: Buffer): string {
  return createSecretBox([key]).keyIds()[0] ?? ''
}
