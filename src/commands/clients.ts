/** `genkan clients …`: register clients and change what commands may change. */
import { parse } from 'yaml'
import { expiringOf } from '../features/client_expiries/types.ts'
import type { ClientRecord } from '../features/clients/types.ts'
import {
  argument,
  type Command,
  type CommandInput,
  type CommandServices,
  duration,
  failure,
  JSON_OPTION,
  listOption,
  type Option,
  REASON_OPTION,
  reasonOption,
  show,
  table,
  textOption,
} from './command.ts'

type Needs = Pick<CommandServices, 'clients' | 'now'>
const ID = { name: 'client-id', description: 'the client' } as const

/** Flags for the members one sets most; everything else comes through `--metadata`. */
const MEMBERS: readonly (Option & { readonly option: string; readonly member: string })[] = [
  { option: 'name', member: 'client_name', flags: '--name <text>', description: 'name shown to people' },
  {
    option: 'redirectUri',
    member: 'redirect_uris',
    flags: '--redirect-uri <uri...>',
    description: 'where codes may be sent; exact',
  },
  {
    option: 'postLogoutRedirectUri',
    member: 'post_logout_redirect_uris',
    flags: '--post-logout-redirect-uri <uri...>',
    description: 'where people may return to after signing out; exact',
  },
  { option: 'scope', member: 'scope', flags: '--scope <scopes>', description: 'allowed scopes, separated by blanks' },
  { option: 'grantType', member: 'grant_types', flags: '--grant-type <type...>', description: 'allowed grant types' },
  {
    option: 'auth',
    member: 'token_endpoint_auth_method',
    flags: '--auth <method>',
    description: 'none, client_secret_basic, client_secret_post or private_key_jwt',
  },
  { option: 'resource', member: 'resources', flags: '--resource <uri...>', description: 'resource servers it may use' },
  { option: 'corsOrigin', member: 'cors_origins', flags: '--cors-origin <origin...>', description: 'browser origins' },
  {
    option: 'defaultLocale',
    member: 'default_locale',
    flags: '--default-locale <tag>',
    description: 'language of its pages when nothing else decides',
  },
  {
    option: 'backchannelLogoutUri',
    member: 'backchannel_logout_uri',
    flags: '--backchannel-logout-uri <uri>',
    description: 'where logouts are announced',
  },
]

const WRITE_OPTIONS: readonly Option[] = [
  ...MEMBERS,
  {
    flags: '--registration-field <claim...>',
    description: 'what its registration page asks for; claim=required makes it a must',
  },
  { flags: '--public', description: 'a browser or native client: no secret, PKCE' },
  { flags: '--first-party', description: 'our own client: consent is not asked' },
  {
    flags: '--metadata <file>',
    description: 'JSON or YAML with client metadata; flags come on top (- reads standard input)',
    content: true,
  },
  JSON_OPTION,
]

const create: Command<Needs> = {
  name: 'clients create',
  summary: 'register a client; its secret is shown once',
  arguments: [{ ...ID, description: 'its id: letters, digits, dots, hyphens, underscores' }],
  options: WRITE_OPTIONS,
  async run({ clients }, input, out) {
    const { clientId, secret } = await clients.create({ ...metadata(input), client_id: argument(input, 0) })
    show(input, out, { client_id: clientId, client_secret: secret }, () =>
      secret === undefined
        ? `client ${clientId} created`
        : `client ${clientId} created\nsecret (shown only now): ${secret}`,
    )
  },
}

const update: Command<Needs> = {
  name: 'clients update',
  summary: 'change metadata of a client; null in --metadata takes a member back to its default',
  arguments: [ID],
  options: WRITE_OPTIONS,
  async run({ clients }, input, out) {
    const clientId = argument(input, 0)
    found(await clients.update(clientId, metadata(input)), clientId)
    show(input, out, { client_id: clientId }, () => `client ${clientId} updated`)
  },
}

const list: Command<Needs> = {
  name: 'clients list',
  summary: 'list clients',
  options: [JSON_OPTION],
  async run({ clients, now }, input, out) {
    const records = await clients.list()
    const row = ({ clientId, metadata, managed, disabledAt }: ClientRecord) => [
      clientId,
      metadata.client_name,
      metadata.token_endpoint_auth_method,
      managed,
      disabledAt === undefined ? 'enabled' : 'disabled',
    ]
    const secrets = records.flatMap((record) => secretRows(record).map((cells) => [record.clientId, ...cells]))
    const keys = records.flatMap((record) => keyRows(record, now()).map((cells) => [record.clientId, ...cells]))
    const views = records.map((record) => view(record, now()))
    show(input, out, views, () =>
      [
        table(['CLIENT', 'NAME', 'AUTH', 'MANAGED', 'STATE'], records.map(row)),
        ...(secrets.length === 0 ? [] : ['', table(['CLIENT', ...SECRET_COLUMNS], secrets)]),
        ...(keys.length === 0 ? [] : ['', table(['CLIENT', ...KEY_COLUMNS], keys)]),
      ].join('\n'),
    )
  },
}

const showOne: Command<Needs> = {
  name: 'clients show',
  summary: 'show a client',
  arguments: [ID],
  options: [JSON_OPTION],
  async run({ clients, now }, input, out) {
    const record = found(await clients.show(argument(input, 0)), argument(input, 0))
    show(input, out, view(record, now()), () => {
      const { metadata, secrets, keys, ...rest } = view(record, now())
      const rows = Object.entries({ ...metadata, ...rest }).filter(([, value]) => value !== undefined)
      const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))
      const members = table(
        ['MEMBER', 'VALUE'],
        rows.map(([name, value]) => [name, text(value)]),
      )
      return [
        members,
        ...(secrets.length === 0 ? [] : [table(SECRET_COLUMNS, secretRows(record))]),
        ...(keys.length === 0 ? [] : [table(KEY_COLUMNS, keyRows(record, now()))]),
      ].join('\n\n')
    })
  },
}

const rotateSecret: Command<Needs> = {
  name: 'clients rotate-secret',
  summary: 'make a new secret, shown once; the others end after the overlap',
  arguments: [ID],
  options: [
    {
      flags: '--overlap <duration>',
      description: 'how long the present secrets go on, such as 24h (default: 0, at once)',
    },
    { flags: '--expires-in <duration>', description: 'how long the new one lasts, such as 90d (default: for good)' },
    JSON_OPTION,
  ],
  async run({ clients }, input, out) {
    const clientId = argument(input, 0)
    const overlap = duration(textOption(input, 'overlap') ?? '0', '--overlap')
    const life = textOption(input, 'expiresIn')
    const seconds = life === undefined ? undefined : duration(life, '--expires-in')
    if (seconds !== undefined && seconds <= overlap) throw failure('--expires-in: must be longer than --overlap')
    const secret = found(await clients.rotateSecret(clientId, overlap, seconds), clientId)
    show(input, out, { client_id: clientId, client_secret: secret }, () => `secret (shown only now): ${secret}`)
  },
}

const disable: Command<Needs> = {
  name: 'clients disable',
  summary: 'stop every use of a client within a second',
  arguments: [ID],
  options: [REASON_OPTION],
  async run({ clients }, input, out) {
    const clientId = argument(input, 0)
    const changed = found(await clients.disable(clientId, reasonOption(input)), clientId)
    out.line(changed ? `client ${clientId} disabled` : `client ${clientId} was disabled already`)
  },
}

const enable: Command<Needs> = {
  name: 'clients enable',
  summary: 'let a disabled client work again',
  arguments: [ID],
  options: [REASON_OPTION],
  async run({ clients }, input, out) {
    const clientId = argument(input, 0)
    const changed = found(await clients.enable(clientId, reasonOption(input)), clientId)
    out.line(changed ? `client ${clientId} enabled` : `client ${clientId} was enabled already`)
  },
}

export const clientCommands: readonly Command<Needs>[] = [create, update, list, showOne, rotateSecret, disable, enable]

function metadata(input: CommandInput): Record<string, unknown> {
  const flags = MEMBERS.map(({ option, member }) => [member, listOption(input, option) ?? textOption(input, option)])
  return {
    ...fromText(textOption(input, 'metadata')),
    ...Object.fromEntries(flags.filter(([, value]) => value !== undefined)),
    ...registrationFields(listOption(input, 'registrationField')),
    ...(input.options.public === true ? { token_endpoint_auth_method: 'none' } : {}),
    ...(input.options.firstParty === true ? { first_party: true } : {}),
  }
}

/** `given_name` or `given_name=required`. What is neither is refused by the schema, which names it. */
function registrationFields(given: readonly string[] | undefined): Record<string, unknown> {
  if (given === undefined) return {}
  const fields = given.map((text) => {
    const required = text.endsWith('=required')
    return { claim: required ? text.slice(0, -'=required'.length) : text, required }
  })
  return { registration_fields: fields }
}

function fromText(text: string | undefined): Record<string, unknown> {
  if (text === undefined) return {}
  try {
    // YAML 1.2 reads JSON too.
    const value: unknown = parse(text)
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>
  } catch (cause) {
    throw failure(`--metadata: ${String((cause as Error).message).split('\n')[0]}`, cause)
  }
  throw failure('--metadata: is not a mapping of names to values')
}

function found<T>(value: T | undefined, clientId: string): T {
  if (value === undefined) throw failure(`there is no client ${clientId}`)
  return value
}

const SECRET_COLUMNS = ['SECRET', 'CREATED', 'EXPIRES', 'LAST USED']

function secretRows({ secrets }: ClientRecord): string[][] {
  const at = (date: Date | undefined) => date?.toISOString() ?? 'never'
  return secrets.map(({ id, createdAt, expiresAt, lastUsedAt }) => [
    id,
    createdAt.toISOString(),
    at(expiresAt),
    at(lastUsedAt),
  ])
}

/** Certificates and keys in `jwks` that end. */
const KEY_COLUMNS = ['KEY', 'KIND', 'EXPIRES']

function endingKeys(record: ClientRecord, now: Date) {
  return expiringOf(record, now).filter(({ kind }) => kind !== 'secret')
}

function keyRows(record: ClientRecord, now: Date): string[][] {
  return endingKeys(record, now).map(({ id, kind, expiresAt }) => [id, kind, expiresAt.toISOString()])
}

/** What may be shown of a client: never a secret's hash. */
function view(record: ClientRecord, now: Date) {
  const { clientId, metadata, managed, disabledAt, createdAt, updatedAt, lastUsedAt, secrets } = record
  return {
    client_id: clientId,
    managed,
    disabled_at: disabledAt?.toISOString(),
    created_at: createdAt.toISOString(),
    updated_at: updatedAt.toISOString(),
    last_used_at: lastUsedAt?.toISOString(),
    metadata,
    secrets: secrets.map((secret) => ({
      id: secret.id,
      created_at: secret.createdAt.toISOString(),
      expires_at: secret.expiresAt?.toISOString(),
      last_used_at: secret.lastUsedAt?.toISOString(),
    })),
    keys: endingKeys(record, now).map(({ id, kind, expiresAt }) => ({ id, kind, expires_at: expiresAt.toISOString() })),
  }
}
