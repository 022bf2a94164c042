/**
 * Where the servers and the browser of the tests come from: the PATH, Debian's folder of PostgreSQL versions, else Debian's
 * packages when we are root, else an error that says exactly what is missing.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const POSTGRES_ROOT = '/usr/lib/postgresql'
const POLICY = '/usr/sbin/policy-rc.d'

/** Debian package of each program. */
const PACKAGES = {
  initdb: 'postgresql',
  postgres: 'postgresql',
  'redis-server': 'redis-server',
  'redis-cli': 'redis-tools',
  chromium: 'chromium',
  'chromium-headless-shell': 'chromium-headless-shell',
  openssl: 'openssl',
  oathtool: 'oathtool',
  apache2: 'apache2',
  mod_auth_openidc: 'libapache2-mod-auth-openidc',
  python3: 'python3',
  authlib: 'python3-authlib',
  requests: 'python3-requests',
} as const

/** Debian's own places of clients that are tested: an Apache or Python from elsewhere would not find their parts. */
const PLACES: { readonly [program: string]: string } = {
  apache2: '/usr/sbin/apache2',
  mod_auth_openidc: '/usr/lib/apache2/modules/mod_auth_openidc.so',
  python3: '/usr/bin/python3',
  authlib: '/usr/lib/python3/dist-packages/authlib',
  requests: '/usr/lib/python3/dist-packages/requests',
}

export type Program = keyof typeof PACKAGES

/** Absolute path of a program, or of a part of one. Throws, naming what is missing and how to get it. */
export function binary(program: Program): string {
  const found = find(program)
  if (found !== undefined) return found
  const name = PACKAGES[program]
  const instead = name === 'postgresql' ? ', or set DATABASE_URL' : name === 'redis-server' ? ', or set REDIS_URL' : ''
  throw new Error(`The tests need ${program}, which is not on this machine: install ${name}${instead}.`)
}

/** Installs what is missing, all at once, on Debian as root; elsewhere `binary` says later what is needed and missing. */
export function installMissing(): void {
  const given = { postgresql: process.env.DATABASE_URL, 'redis-server': process.env.REDIS_URL }
  const programs = Object.entries(PACKAGES) as [Program, string][]
  const missing = programs.filter(([program]) => find(program) === undefined).map(([, name]) => name)
  const wanted = [...new Set(missing)].filter((name) => given[name as keyof typeof given] === undefined)
  if (wanted.length === 0 || process.getuid?.() !== 0 || onPath('apt-get') === undefined) return
  process.stderr.write(`Installing ${wanted.join(', ')} for the tests.\n`)
  withoutStartingServices(() => {
    apt('update', '-q')
    apt('install', '-yq', '--no-install-recommends', ...wanted)
  })
}

function apt(...words: string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NODE_OPTIONS: '' }
  execFileSync('apt-get', words, { stdio: ['ignore', 'ignore', 'inherit'], env })
}

/** The packages' own services must not start: the tests run private servers and leave nothing behind. */
function withoutStartingServices(work: () => void): void {
  const ours = !existsSync(POLICY)
  if (ours) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    work()
  } finally {
    if (ours) rmSync(POLICY, { force: true })
  }
}

function find(program: Program): string | undefined {
  const place = PLACES[program]
  if (place !== undefined) return existsSync(place) ? place : undefined
  // Debian keeps the servers out of the PATH; the newest version first.
  const versions = readable(POSTGRES_ROOT).sort((a, b) => Number(b) - Number(a))
  return onPath(program) ?? versions.map((v) => join(POSTGRES_ROOT, v, 'bin', program)).find(executable)
}

/** Where a program is, by the PATH. */
export function onPath(name: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find(executable)
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
