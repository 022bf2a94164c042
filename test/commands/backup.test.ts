import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { runCommand } from '../support/server.ts'
import { freshDatabaseUrl, startPostgres } from '../support/services.ts'

const KEY = Buffer.alloc(32, 7).toString('base64')
const OTHER = Buffer.alloc(32, 8).toString('base64')
let folder = ''
let number = 0
const scratch = () => join(folder, String(number++))
const run = (command: readonly string[], env: { [name: string]: string }) =>
  runCommand(command, { PATH: process.env.PATH ?? '', DATA_DIR: scratch(), ...env })

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'genkan-backup-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('backup and restore of the embedded default', () => {
  const source = { DATA_DIR: '' }
  let backup = ''

  beforeAll(async () => {
    source.DATA_DIR = scratch()
    backup = scratch()
    await run(['migrate'], source)
    await run(['clients', 'create', 'web', '--redirect-uri', 'https://a.example/'], source)
    expect(await run(['backup', 'create', backup], source)).toMatchObject({ code: 0, stderr: '' })
  })

  it('is closed to others', () => {
    expect(statSync(backup).mode & 0o777).toBe(0o700)
    for (const file of ['database.tar.gz', 'secret.key', 'manifest.json']) {
      expect(statSync(join(backup, file)).mode & 0o077).toBe(0)
    }
  })

  it('brings data and key to an empty place, where everything opens', async () => {
    const target = { DATA_DIR: scratch() }
    expect(await run(['backup', 'restore', backup], target)).toMatchObject({ code: 0, stderr: '' })
    expect((await run(['clients', 'list'], target)).stdout).toContain('web')
    expect((await run(['audit', 'verify'], target)).stdout).toContain('all in order')
    expect((await run(['keys', 'list', '--json'], target)).stdout).toBe(
      (await run(['keys', 'list', '--json'], source)).stdout,
    )
    expect(statSync(join(target.DATA_DIR, 'secret.key')).mode & 0o777).toBe(0o600)
  })

  it('refuses to replace data, unless forced', async () => {
    const target = { DATA_DIR: scratch() }
    await run(['migrate'], target)
    const refused = await run(['backup', 'restore', backup], target)
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('--force') })
    expect((await run(['clients', 'list'], target)).stdout).not.toContain('web')
    expect((await run(['backup', 'restore', backup, '--force'], target)).code).toBe(0)
    expect((await run(['clients', 'list'], target)).stdout).toContain('web')
  })

  it('refuses a damaged backup before it touches anything', async () => {
    const damaged = scratch()
    const target = { DATA_DIR: scratch() }
    await run(['backup', 'create', damaged], source)
    appendFileSync(join(damaged, 'database.tar.gz'), 'x')
    expect(await run(['backup', 'restore', damaged], target)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('damaged'),
    })
    expect(existsSync(join(target.DATA_DIR, 'db'))).toBe(false)
  })

  it('refuses data whose key would be missing', async () => {
    const target = { DATA_DIR: scratch(), GENKAN_SECRET_KEYS: OTHER }
    const { code, stderr } = await run(['backup', 'restore', backup], target)
    expect(code).toBe(1)
    expect(stderr).toContain('GENKAN_SECRET_KEYS')
  })

  it('never writes over a backup', async () => {
    const before = readFileSync(join(backup, 'manifest.json'), 'utf8')
    expect(await run(['backup', 'create', backup], source)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there already'),
    })
    expect(readFileSync(join(backup, 'manifest.json'), 'utf8')).toBe(before)
  })
})

describe('backup and restore of PostgreSQL', () => {
  const env = (databaseUrl: string, key = KEY) => ({ DATABASE_URL: databaseUrl, GENKAN_SECRET_KEYS: key })

  it('brings data to an empty database, and over another only when forced', async () => {
    const source = await freshDatabaseUrl()
    await run(['migrate'], env(source))
    await run(['clients', 'create', 'web', '--redirect-uri', 'https://a.example/'], env(source))
    const backup = scratch()
    expect(await run(['backup', 'create', backup], env(source))).toMatchObject({ code: 0, stderr: '' })

    const empty = await (await startPostgres()).createDatabase()
    const wrongKey = await run(['backup', 'restore', backup], env(empty, OTHER))
    expect(wrongKey).toMatchObject({ code: 1, stderr: expect.stringContaining('GENKAN_SECRET_KEYS') })
    expect(await run(['backup', 'restore', backup], env(empty))).toMatchObject({ code: 0, stderr: '' })
    expect((await run(['clients', 'list'], env(empty))).stdout).toContain('web')
    expect((await run(['keys', 'list'], env(empty))).code).toBe(0)
    expect((await run(['audit', 'verify'], env(empty))).stdout).toContain('all in order')

    const used = await freshDatabaseUrl()
    expect(await run(['backup', 'restore', backup], env(used))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--force'),
    })
    expect((await run(['backup', 'restore', backup, '--force'], env(used))).code).toBe(0)
    expect((await run(['clients', 'list'], env(used))).stdout).toContain('web')
  })

  it('leaves nothing behind when the dump fails', async () => {
    const backup = scratch()
    const { code, stderr } = await run(['backup', 'create', backup], env('postgres://127.0.0.1:1/nowhere'))
    expect(code).toBe(1)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(existsSync(backup)).toBe(false)
    expect(existsSync(`${backup}.partial`)).toBe(false)
  })
})
