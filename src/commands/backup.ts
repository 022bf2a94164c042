/**
 * `genkan backup …`: database and secret keys together in one folder, since neither is of use without the other.
 * Embedded: an archive of the data directory, taken between two statements. PostgreSQL: `pg_dump -Fc`.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { pgDump } from '../platform/postgres_client.ts'
import { argument, type Command, type CommandServices, failure } from './command.ts'

type Needs = Pick<CommandServices, 'config' | 'database' | 'now'>

export const KEYS_FILE = 'secret.key'
const MANIFEST_FILE = 'manifest.json'

const manifestSchema = z.strictObject({
  format: z.literal('genkan-backup-1'),
  kind: z.enum(['embedded', 'postgres']),
  created_at: z.string(),
  issuer: z.string(),
  database: z.strictObject({ file: z.enum(['database.tar.gz', 'database.dump']), sha256: z.string() }),
})
export type Manifest = z.output<typeof manifestSchema>

const create: Command<Needs> = {
  name: 'backup create',
  summary: 'write database and secret keys to a new folder; keep it as safe as the keys themselves',
  arguments: [{ name: 'folder', description: 'must not be there yet', path: true }],
  async run({ config, database, now }, input, out) {
    const folder = argument(input, 0)
    const partial = `${folder}.partial`
    if ((await entries(folder)) !== undefined) throw failure(`${folder} is there already: name a new folder`)
    await rm(partial, { recursive: true, force: true })
    await mkdir(partial, { recursive: true, mode: 0o700 })
    try {
      const file = database.kind === 'embedded' ? 'database.tar.gz' : 'database.dump'
      const path = join(partial, file)
      if (config.databaseUrl === undefined) await writeFile(path, await database.dump(), { mode: 0o600 })
      else await pgDump(config.databaseUrl, path)
      const keys = config.secretKeys.map((key) => `${key.toString('base64')}\n`).join('')
      await writeFile(join(partial, KEYS_FILE), keys, { mode: 0o600 })
      const manifest: Manifest = {
        format: 'genkan-backup-1',
        kind: database.kind,
        created_at: now().toISOString(),
        issuer: config.issuer,
        database: { file, sha256: await digest(path) },
      }
      await writeFile(join(partial, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 })
      await rename(partial, folder)
    } catch (error) {
      await rm(partial, { recursive: true, force: true })
      throw error
    }
    out.line(`backup written to ${folder}; it holds the secret keys`)
  },
}

export const backupCommands: readonly Command<Needs>[] = [create]

/** Reads a backup's manifest and proves that its files are whole. */
export async function readBackup(folder: string): Promise<{ manifest: Manifest; database: string; keys: string }> {
  let manifest: Manifest
  let keys: string
  try {
    manifest = manifestSchema.parse(JSON.parse(await readFile(join(folder, MANIFEST_FILE), 'utf8')))
    keys = await readFile(join(folder, KEYS_FILE), 'utf8')
  } catch (cause) {
    throw failure(`${folder} is not a backup made by genkan backup create`, cause)
  }
  const database = join(folder, manifest.database.file)
  const found = await digest(database).catch((cause: unknown) => {
    throw failure(`${database} cannot be read`, cause)
  })
  if (found !== manifest.database.sha256) throw failure(`${database} is damaged: it is not the file that was written`)
  return { manifest, database, keys }
}

/** Names in a folder; undefined when it is not there. */
export async function entries(folder: string): Promise<string[] | undefined> {
  try {
    return await readdir(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw failure(`${folder}: ${(error as Error).message}`, error)
  }
}

async function digest(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
