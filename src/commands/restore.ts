/**
 * `genkan backup restore`: puts a backup in the place of the configured database. It does not go through a running server:
 * the target must not be in use.
 */
import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import { lockDataDir } from '../platform/data_lock.ts'
import { openDatabase } from '../platform/postgres.ts'
import { pgRestore } from '../platform/postgres_client.ts'
import { entries, KEYS_FILE, readBackup } from './backup.ts'
import { failure, type Out } from './command.ts'

type Target = Pick<Config, 'dataDir' | 'databaseUrl' | 'redisUrl' | 'secretKeys' | 'embedded'>

/**
 * Restores a backup.
 * @throws AppError when the backup is damaged or of the other kind, when the target has data (unless `force`), when a
 *   server holds the data directory, or when PostgreSQL would get data whose keys are not configured
 */
export async function restoreBackup(config: Target, folder: string, force: boolean, out: Out): Promise<void> {
  const backup = await readBackup(folder)
  const kind = config.embedded ? 'embedded' : 'postgres'
  if (backup.manifest.kind !== kind) throw failure(`${folder} is of ${backup.manifest.kind}, the target is ${kind}`)
  if (config.databaseUrl === undefined) await restoreEmbedded(config, backup, force)
  else await restorePostgres(config.databaseUrl, config.secretKeys, backup, force)
  out.line(`restored the backup of ${backup.manifest.created_at}`)
  if (config.redisUrl !== undefined)
    out.line('empty Redis too (FLUSHDB): it has state of the database that was replaced')
}

type Backup = Awaited<ReturnType<typeof readBackup>>

async function restoreEmbedded({ dataDir, secretKeys }: Target, backup: Backup, force: boolean): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const lock = await lockDataDir(dataDir)
  try {
    const target = join(dataDir, 'db')
    if (!force && ((await entries(target)) ?? []).length > 0) {
      throw failure(`${target} has data: --force replaces it`)
    }
    // Keys that come from elsewhere are not replaced with the file, so they must fit already.
    const file = await readFile(join(dataDir, KEYS_FILE), 'utf8').catch(() => '')
    if (encoded(secretKeys).join() !== lines(file).join()) requireKeys(secretKeys, backup)
    // Beside the target first: a restore that dies half-way leaves the old data as it was.
    const beside = join(dataDir, 'restoring')
    await rm(beside, { recursive: true, force: true })
    await mkdir(beside, { mode: 0o700 })
    const database = await openDatabase({ dataDir: beside, loadFrom: await readFile(backup.database) })
    try {
      await database.ping()
    } finally {
      await database.close()
    }
    await exchange(dataDir, beside, backup.keys)
  } finally {
    await lock.release()
  }
}

/** Data and key change places together as nearly as two renames can; what was there is kept until both are done. */
async function exchange(dataDir: string, beside: string, keys: string): Promise<void> {
  const [target, keyFile] = [join(dataDir, 'db'), join(dataDir, KEYS_FILE)]
  const [oldData, newKey] = [join(dataDir, 'db.replaced'), join(beside, KEYS_FILE)]
  await writeFile(newKey, keys, { mode: 0o600 })
  await rm(oldData, { recursive: true, force: true })
  if ((await entries(target)) !== undefined) {
    await copyFile(keyFile, join(dataDir, `${KEYS_FILE}.replaced`)).catch(() => {})
    await rename(target, oldData)
  }
  await rename(newKey, keyFile)
  await rename(join(beside, 'db'), target)
  await rm(beside, { recursive: true, force: true })
  await rm(oldData, { recursive: true, force: true })
}

async function restorePostgres(url: string, keys: readonly Buffer[], backup: Backup, force: boolean): Promise<void> {
  requireKeys(keys, backup)
  const database = await openDatabase({ databaseUrl: url, pool: 1 })
  try {
    const { rows } = await database.db.raw("select count(*)::int as tables from pg_tables where schemaname = 'public'")
    if (!force && rows[0]?.tables > 0) throw failure('the database has tables: --force replaces them')
  } finally {
    await database.close()
  }
  await pgRestore(url, backup.database, force)
}

/** Data whose key is missing could not be opened afterwards. */
function requireKeys(configured: readonly Buffer[], backup: Backup): void {
  const missing = lines(backup.keys).filter((key) => !encoded(configured).includes(key))
  if (missing.length === 0) return
  throw failure(`GENKAN_SECRET_KEYS lacks ${missing.length} of the keys in the backup's ${KEYS_FILE}: add them first`)
}

function encoded(keys: readonly Buffer[]): string[] {
  return keys.map((key) => key.toString('base64'))
}

function lines(file: string): string[] {
  return file.split(/\s+/).filter(Boolean)
}
