/**
 * Where the servers and the browser of the tests come from: the PATH, Debian's folder of PostgreSQL versions, else Debian's
 * packages when we are root, else an error that says exactly what is missing.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, constants, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const POSTGRES_ROOT = '/usr/lib/postgresql'

/** Debian package of each program. */
const PACKAGES = {
  initdb: 'postgresql',
  postgres: 'postgresql',
  pg_dump: 'postgresql',
  pg_restore: 'postgresql',
  psql: 'postgresql',
  'redis-server': 'redis-server',
  chromium: 'chromium',
  openssl: 'openssl',
} as const

export type Program = keyof typeof PACKAGES

/** Absolute path of a program; installs its Debian package when it is missing and we may. Throws, naming what is missing. */
export function binary(program: Program): string {
  const found = find(program)
  if (found !== undefined) return found
  install(PACKAGES[program])
  const installed = find(program)
  if (installed === undefined) throw new Error(missing(program, `installing ${PACKAGES[program]} did not bring it`))
  return installed
}

function find(program: Program): string | undefined {
  // Debian keeps the servers out of the PATH, newest version last.
  const versions = readable(POSTGRES_ROOT).sort((a, b) => Number(b) - Number(a))
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...versions.map((v) => join(POSTGRES_ROOT, v, 'bin'))]
  return folders.map((folder) => join(folder, program)).find(executable)
}

function install(name: string): void {
  if (process.getuid?.() !== 0 || onPath('apt-get') === undefined) {
    throw new Error(missing(name, `install the package ${name}, or set DATABASE_URL and REDIS_URL`))
  }
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  execFileSync('apt-get', ['update', '-q'], { stdio: ['ignore', 'ignore', 'inherit'], env: environment })
  // Run level 1: the packages' own services must not start, the tests run private servers.
  execFileSync('apt-get', ['install', '-yq', '--no-install-recommends', name], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...environment, RUNLEVEL: '1' },
  })
}

function onPath(name: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find(executable)
}

function missing(program: string, advice: string): string {
  return `The tests need ${program}, which is not on this machine: ${advice}.`
}

function readable(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
