import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { backupCommands } from '../../src/commands/backup.ts'
import { restoreBackup } from '../../src/commands/restore.ts'
import { loadConfig } from '../../src/config/config.ts'
import { lockDataDir } from '../../src/platform/data_lock.ts'
import { type Database, openDatabase } from '../../src/platform/postgres.ts'
import { freshDatabase, freshDatabaseUrl, startPostgres } from '../support/services.ts'

const KEY = Buffer.alloc(32, 7).toString('base64')
const OTHER = Buffer.alloc(32, 8).toString('base64')
let folder = ''
let number = 0
const scratch = () => join(folder, String(number++))

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'genkan-backup-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const create = async (database: Database, env: { [name: string]: string }, to: string) => {
  const lines: string[] = []
  const services = { config: loadConfig(env), database, now: () => new Date('2026-11-22T10:00:00Z') }
  await backupCommands[0]?.run(services, { args: [to], options: {} }, { line: (line) => lines.push(line) })
  return lines
}
const restore = (from: string, env: { [name: string]: string }, force = false) =>
  restoreBackup(loadConfig(env), from, force, { line: () => {} })
const plant = (database: Database, id: string) =>
  database
    .db('clients')
    .insert({ id, metadata: '{}', managed: 'command', created_at: new Date(), updated_at: new Date() })
const found = async (options: { databaseUrl: string } | { dataDir: string }) => {
  const database = await openDatabase(options)
  try {
    return ((await database.db('clients').select('id')) as { id: string }[]).map(({ id }) => id)
  } finally {
    await database.close()
  }
}

describe('backup and restore of the embedded default', () => {
  let database: Database
  let backup = ''

  beforeAll(async () => {
    backup = scratch()
    database = await freshDatabase('embedded')
    await plant(database, 'web')
    await create(database, { DATA_DIR: scratch(), GENKAN_SECRET_KEYS: KEY }, backup)
  })
  afterAll(() => database.close())

  it('is closed to others and names nothing half-written', () => {
    expect(statSync(backup).mode & 0o777).toBe(0o700)
    for (const file of ['database.tar.gz', 'secret.key', 'manifest.json']) {
      expect(statSync(join(backup, file)).mode & 0o077).toBe(0)
    }
    expect(existsSync(`${backup}.partial`)).toBe(false)
  })

  it('brings data and key to an empty place', async () => {
    const target = scratch()
    await restore(backup, { DATA_DIR: target })
    expect(readFileSync(join(target, 'secret.key'), 'utf8')).toBe(`${KEY}\n`)
    expect(statSync(join(target, 'secret.key')).mode & 0o777).toBe(0o600)
    expect(await found({ dataDir: target })).toEqual(['web'])
    expect(loadConfig({ DATA_DIR: target }).secretKeys).toEqual([Buffer.from(KEY, 'base64')])
  })

  it('refuses to replace data unless forced, and keeps the key that was there', async () => {
    const target = scratch()
    await restore(backup, { DATA_DIR: target })
    const later = await openDatabase({ dataDir: target })
    await plant(later, 'later')
    await later.close()
    await expect(restore(backup, { DATA_DIR: target })).rejects.toThrow('--force')
    expect(await found({ dataDir: target })).toContain('later')
    writeFileSync(join(target, 'secret.key'), `${OTHER}\n`)
    await restore(backup, { DATA_DIR: target }, true)
    expect(await found({ dataDir: target })).toEqual(['web'])
    expect(readFileSync(join(target, 'secret.key.replaced'), 'utf8')).toBe(`${OTHER}\n`)
  })

  it('refuses while a server holds the data directory', async () => {
    const target = scratch()
    const lock = await lockDataDir(target)
    await expect(restore(backup, { DATA_DIR: target, GENKAN_SECRET_KEYS: KEY }, true)).rejects.toMatchObject({
      code: 'data_locked',
    })
    await lock.release()
  })

  it('refuses a damaged backup, or none, before it touches anything', async () => {
    const damaged = scratch()
    const target = scratch()
    await create(database, { DATA_DIR: scratch(), GENKAN_SECRET_KEYS: KEY }, damaged)
    appendFileSync(join(damaged, 'database.tar.gz'), 'x')
    await expect(restore(damaged, { DATA_DIR: target })).rejects.toThrow('damaged')
    await expect(restore(folder, { DATA_DIR: target })).rejects.toThrow('not a backup')
    expect(existsSync(join(target, 'db'))).toBe(false)
  })

  it('refuses data that the configured keys could not open', async () => {
    const env = { DATA_DIR: scratch(), GENKAN_SECRET_KEYS: OTHER }
    await expect(restore(backup, env)).rejects.toThrow('GENKAN_SECRET_KEYS')
    await restore(backup, { ...env, GENKAN_SECRET_KEYS: `${OTHER} ${KEY}` })
  })

  it('refuses a backup of the other kind', async () => {
    const env = { DATABASE_URL: await freshDatabaseUrl(), GENKAN_SECRET_KEYS: KEY }
    await expect(restore(backup, env, true)).rejects.toThrow('embedded')
  })

  it('never writes over a backup', async () => {
    const before = readFileSync(join(backup, 'manifest.json'), 'utf8')
    await expect(create(database, { DATA_DIR: scratch(), GENKAN_SECRET_KEYS: OTHER }, backup)).rejects.toThrow(
      'there already',
    )
    expect(readFileSync(join(backup, 'manifest.json'), 'utf8')).toBe(before)
  })
})

describe('backup and restore of PostgreSQL', () => {
  const env = (DATABASE_URL: string, key = KEY) => ({ DATABASE_URL, GENKAN_SECRET_KEYS: key })
  let database: Database
  let source = ''
  let backup = ''

  beforeAll(async () => {
    source = await freshDatabaseUrl()
    backup = scratch()
    database = await openDatabase({ databaseUrl: source })
    await plant(database, 'web')
    await create(database, env(source), backup)
  })
  afterAll(() => database.close())

  it('brings data to an empty database', async () => {
    const empty = await (await startPostgres()).createDatabase()
    await expect(restore(backup, env(empty, OTHER))).rejects.toThrow('GENKAN_SECRET_KEYS')
    await restore(backup, env(empty))
    expect(await found({ databaseUrl: empty })).toEqual(['web'])
  })

  it('replaces another only when forced', async () => {
    const used = await freshDatabaseUrl()
    await expect(restore(backup, env(used))).rejects.toThrow('--force')
    expect(await found({ databaseUrl: used })).toEqual([])
    await restore(backup, env(used), true)
    expect(await found({ databaseUrl: used })).toEqual(['web'])
  })

  it('leaves nothing behind when the dump fails', async () => {
    const to = scratch()
    await expect(create(database, env('postgres://127.0.0.1:1/nowhere'), to)).rejects.toThrow('pg_dump')
    expect(existsSync(to)).toBe(false)
    expect(existsSync(`${to}.partial`)).toBe(false)
  })

  it('shows no password in arguments or failures', async () => {
    const failing = create(database, env('postgres://genkan:hunter2@127.0.0.1:1/nowhere'), scratch())
    await expect(failing).rejects.not.toThrow('hunter2')
  })
})
