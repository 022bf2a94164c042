/** The programs of the installed PostgreSQL client, for backup and restore. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError } from '../errors.ts'

/** Dumps a database in the custom format. @throws AppError when the client is missing or fails: its first line is the detail */
export function pgDump(url: string, file: string): Promise<void> {
  return run('pg_dump', ['--format=custom', '--no-owner', '--no-privileges', '--file', file], url)
}

/** Restores a dump in one transaction: all or nothing. `clean` drops first what the dump is about to make. */
export function pgRestore(url: string, file: string, clean: boolean): Promise<void> {
  const flags = ['--no-owner', '--no-privileges', '--single-transaction', '--exit-on-error']
  return run('pg_restore', [...flags, ...(clean ? ['--clean', '--if-exists'] : []), file], url)
}

async function run(program: string, args: readonly string[], url: string): Promise<void> {
  const { location, password } = apart(url)
  if (password === undefined) return spawned(program, ['--dbname', location.href, ...args])
  // Arguments are open to every user of the machine: the password goes through a file.
  const folder = await mkdtemp(join(tmpdir(), 'genkan-'))
  try {
    const file = join(folder, 'pgpass')
    await writeFile(file, `*:*:*:*:${password.replace(/[\\:]/g, '\\$&')}\n`, { mode: 0o600 })
    location.searchParams.set('passfile', file)
    await spawned(program, ['--dbname', location.href, ...args])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function apart(url: string): { location: URL; password: string | undefined } {
  const location = new URL(url)
  const password = location.searchParams.get('password') ?? decodeURIComponent(location.password)
  location.password = ''
  location.searchParams.delete('password')
  return { location, password: password === '' ? undefined : password }
}

function spawned(program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let errors = ''
    child.stderr.setEncoding('utf8')
    child.stderr.on('data', (chunk: string) => {
      errors = (errors + chunk).slice(0, 4000)
    })
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const detail = cause.code === 'ENOENT' ? `${program} is not installed (postgresql-client)` : cause.message
      reject(new AppError('internal_error', { detail, cause }))
    })
    child.once('close', (code) => {
      if (code === 0) return resolve()
      const reason = errors.trim().split('\n')[0] || `exit code ${code}`
      reject(new AppError('internal_error', { detail: reason.startsWith(program) ? reason : `${program}: ${reason}` }))
    })
  })
}
