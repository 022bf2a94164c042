/** Where settings are read: the file, and in front of it the variables. Nothing is checked here but that it can be read. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse as parseYaml, YAMLParseError } from 'yaml'
import { suggestion } from './problems.ts'

export type Environment = { readonly [name: string]: string | undefined }

/** Environment names and the setting each one is for. */
const VARIABLES: { readonly [name: string]: string } = {
  GENKAN_ISSUER: 'issuer',
  PORT: 'port',
  HOST: 'host',
  MANAGEMENT_PORT: 'management_port',
  MANAGEMENT_HOST: 'management_host',
  DATA_DIR: 'data_dir',
  DATABASE_URL: 'database_url',
  REDIS_URL: 'redis_url',
  SMTP_URL: 'smtp_url',
  GENKAN_MAIL_FROM: 'mail_from',
  GENKAN_SECRET_KEYS: 'secret_keys',
  TRUSTED_PROXIES: 'trusted_proxies',
  COUNTRY_HEADER: 'country_header',
  ASN_HEADER: 'asn_header',
  GENKAN_OUTBOUND_PRIVATE_NETWORKS: 'outbound_private_networks',
  GENKAN_LOG_LEVEL: 'log_level',
  GENKAN_DATABASE_POOL: 'database_pool',
  GENKAN_DRAIN_SECONDS: 'drain_seconds',
  GENKAN_DEV_PAGES: 'dev_pages',
  GENKAN_TEMPLATES_DIR: 'templates_dir',
}
/** Read by the parts or by the command line, but not settings of the schema. */
const OTHER_VARIABLES = ['GENKAN_CONFIG', 'GENKAN_EMBEDDED', 'NODE_ENV', 'CONFORMANCE']

/** The file of settings, where there is one. */
function settingsPath(env: Environment): string | undefined {
  return env.GENKAN_CONFIG ?? (existsSync('genkan.yaml') ? 'genkan.yaml' : undefined)
}

/** What a setting names lies beside the file that names it. */
export function besideSettings(file: string, env: Environment): string {
  return resolve(dirname(settingsPath(env) ?? '.'), file)
}

export function readFileSettings(env: Environment, problems: string[]): Record<string, unknown> {
  const path = settingsPath(env)
  if (path === undefined) return {}
  try {
    const value: unknown = parseYaml(readFileSync(path, 'utf8'), { merge: true })
    if (value === null || value === undefined) return {}
    if (typeof value !== 'object' || Array.isArray(value)) throw new Error('is not a mapping')
    return resolveReferences(value, env, path, problems) as Record<string, unknown>
  } catch (error) {
    const reason = error instanceof YAMLParseError ? error.message.split('\n')[0] : (error as Error).message
    problems.push(`${path}: ${reason}`)
    return {}
  }
}

/** `${env:NAME}` and `${file:/path}` keep secrets out of the file. */
function resolveReferences(value: unknown, env: Environment, path: string, problems: string[]): unknown {
  if (Array.isArray(value)) return value.map((item, i) => resolveReferences(item, env, `${path}[${i}]`, problems))
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, resolveReferences(item, env, `${path}.${key}`, problems)]),
    )
  }
  if (typeof value !== 'string') return value
  return value.replace(/\$\{(env|file):([^}]+)\}/g, (_, kind: string, name: string) => {
    const found = kind === 'env' ? env[name] : readSecretFile(name)
    if (found === undefined) problems.push(`${path}: \${${kind}:${name}} is not there`)
    return found ?? ''
  })
}

function readSecretFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined
  }
}

export function readEnvironment(env: Environment, problems: string[]): Record<string, unknown> {
  const settings: Record<string, unknown> = {}
  for (const [name, key] of Object.entries(VARIABLES)) {
    const file = env[`${name}_FILE`]
    if (env[name] !== undefined && file !== undefined) problems.push(`${name}: set either ${name} or ${name}_FILE`)
    const value = env[name] ?? (file === undefined ? undefined : readSecretFile(file))
    if (file !== undefined && value === undefined) problems.push(`${name}_FILE: cannot read ${file}`)
    if (value !== undefined && value !== '') settings[key] = value
  }
  const known = [...Object.keys(VARIABLES), ...OTHER_VARIABLES]
  for (const name of Object.keys(env)) {
    const bare = name.replace(/_FILE$/, '')
    if (!name.startsWith('GENKAN_') || known.includes(bare) || name.startsWith('GENKAN_TEST_')) continue
    problems.push(`${name}: unknown variable${suggestion(bare, known)}`)
  }
  return settings
}
