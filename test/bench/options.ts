/** The command line of `npm run bench`. */
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { PARTS } from './parts.ts'

export interface Options {
  readonly quick: boolean
  readonly counts: boolean
  readonly profile: boolean
  readonly gate: boolean
  readonly help: boolean
  readonly only: readonly string[]
  readonly cores: number
  readonly arrivals: 'constant' | 'poisson'
  readonly json: string
  readonly html: string
  readonly peer: PeerOptions | undefined
}

/** Another OpenID provider and what it lets us do. */
export interface PeerOptions {
  readonly url: string
  readonly pid?: number | undefined
  readonly clientId?: string | undefined
  readonly clientSecret?: string | undefined
  readonly scope?: string | undefined
  readonly resource?: string | undefined
  /** One for each lane: a token that rotates cannot be used by two at once. */
  readonly refreshTokens: readonly string[]
  readonly refreshClientId?: string | undefined
  readonly accessToken?: string | undefined
  readonly insecureTls: boolean
}

const FOLDER = new URL('../../.data/bench/', import.meta.url).pathname

const FLAG = { type: 'boolean' } as const
const TEXT = { type: 'string' } as const

const OPTIONS = {
  quick: FLAG,
  counts: FLAG,
  profile: FLAG,
  gate: FLAG,
  help: { type: 'boolean', short: 'h' },
  only: TEXT,
  cores: TEXT,
  arrivals: TEXT,
  json: TEXT,
  html: TEXT,
  peer: TEXT,
  'peer-pid': TEXT,
  'peer-settings': TEXT,
  'client-id': TEXT,
  'client-secret': TEXT,
  scope: TEXT,
  resource: TEXT,
  'access-token': TEXT,
  'refresh-client-id': TEXT,
  'refresh-token': { type: 'string', multiple: true },
  'insecure-tls': FLAG,
} as const

/**
 * Reads the arguments; `readText` reads the file of `--peer-settings`.
 * @throws Error that says what is wrong with them
 */
export function parseOptions(args: readonly string[], readText: (path: string) => string): Options {
  const { values } = parseArgs({ args: [...args], options: OPTIONS, strict: true })
  const only = (values.only ?? '').split(',').flatMap((name) => name.trim() || [])
  const unknown = only.filter((name) => !PARTS.some((part) => part.name === name))
  if (unknown.length > 0) throw new Error(`No part ${unknown.join(', ')}. Parts: ${names()}`)
  const suffix = values.quick ? '-quick' : ''
  return {
    ...{ only, quick: values.quick ?? false, counts: values.counts ?? false, profile: values.profile ?? false },
    ...{ gate: values.gate ?? false, help: values.help ?? false },
    cores: values.cores === undefined ? cpus().length : positive('cores', values.cores),
    arrivals: arrivalsOf(values.arrivals ?? 'poisson'),
    json: values.json ?? `${FOLDER}result${suffix}.json`,
    html: values.html ?? `${FOLDER}report${suffix}.html`,
    peer: values.peer === undefined ? undefined : peerOptions(values.peer, values, readText),
  }
}

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values']

const SETTINGS = ['clientId', 'clientSecret', 'scope', 'resource', 'refreshClientId', 'accessToken'] as const

function peerOptions(url: string, values: Values, readText: (path: string) => string): PeerOptions {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) throw new Error(`--peer ${url}: not a URL`)
  const file = values['peer-settings']
  const settings = file === undefined ? {} : (JSON.parse(readText(file)) as { readonly [name: string]: unknown })
  const strangers = Object.keys(settings).filter((name) => ![...SETTINGS, 'refreshTokens'].includes(name))
  if (strangers.length > 0) throw new Error(`${file}: unknown ${strangers.join(', ')}`)
  const flags: { readonly [name: string]: string | undefined } = {
    ...{ clientId: values['client-id'], clientSecret: values['client-secret'], scope: values.scope },
    ...{ resource: values.resource, refreshClientId: values['refresh-client-id'], accessToken: values['access-token'] },
  }
  const text = (name: string) => flags[name] ?? (typeof settings[name] === 'string' ? settings[name] : undefined)
  const fromFile = Array.isArray(settings.refreshTokens) ? settings.refreshTokens.map(String) : []
  const pid = values['peer-pid']
  return {
    ...Object.fromEntries(SETTINGS.map((name) => [name, text(name)])),
    ...{ url: url.replace(/\/$/, ''), pid: pid === undefined ? undefined : positive('peer-pid', pid) },
    refreshTokens: values['refresh-token'] ?? fromFile,
    insecureTls: values['insecure-tls'] ?? false,
  }
}

function arrivalsOf(value: string): Options['arrivals'] {
  if (value !== 'constant' && value !== 'poisson') throw new Error(`--arrivals ${value}: constant or poisson`)
  return value
}

function positive(name: string, value: string): number {
  const number = Number(value)
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name} ${value}: not a whole number above 0`)
  return number
}

function names(): string {
  return PARTS.map(({ name }) => name).join(', ')
}

export function help(): string {
  const width = Math.max(...PARTS.map(({ name }) => name.length))
  const parts = PARTS.map(
    ({ name, title, minutes }) =>
      `  ${name.padEnd(width)}  ${title}: about ${minutes.full} min, quick ${Math.round(minutes.quick * 60)} s`,
  )
  const all = (kind: 'full' | 'quick') => Math.round(PARTS.reduce((total, { minutes }) => total + minutes[kind], 0))
  return `npm run bench [-- options]

Measures Genkan on private PostgreSQL and Redis servers and writes BENCHMARKS.md once every part has been measured in full.

  --only NAME,NAME   only these parts
  --quick            a sample of everything: shows that it works, writes no BENCHMARKS.md
  --gate             ends with status 1 when a ratio or a count is not held
  --counts           only shows what exactly each flow sends to the stores
  --profile          profiles the five hottest flows and prints where their time goes
  --json FILE        result as JSON, kept from run to run (${FOLDER}result.json)
  --html FILE        report with plots
  --arrivals KIND    of an open loop: poisson (as people come) or constant
  --cores N          reckon with so many cores

  --peer URL         loads another OpenID provider with the same driver; with
    --client-id, --client-secret, --scope, --resource   client_credentials and introspection
    --refresh-token (again for each lane), --refresh-client-id   refresh
    --access-token   userinfo
    --peer-settings FILE   the same as JSON: ${SETTINGS.join(', ')}, refreshTokens
    --peer-pid PID   its process, for CPU; --insecure-tls takes any certificate

Parts (all: about ${all('full')} min, quick ${all('quick')} min):
${parts.join('\n')}
`
}
