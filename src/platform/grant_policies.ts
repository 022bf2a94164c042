/**
 * What a client may do by the custom grants, as tables in its metadata that an operator can read: token exchange (RFC 8693),
 * ID-JAGs for other authorization servers, and assertions of trusted issuers (RFC 7523). What no row allows is refused.
 * Shared by the room that keeps clients and the engine's side.
 */
import { z } from 'zod'
import type { TrustedIssuer } from './assertion_issuers.ts'
import { checkedUri, webUriProblem } from './uri_rules.ts'

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
export const CUSTOM_GRANTS = [TOKEN_EXCHANGE, JWT_BEARER] as const

/** A token that is made of another lives no longer than a JWT that cannot be revoked. */
export const LONGEST_SECONDS = 300

const isSet = (list: readonly string[]) => new Set(list).size === list.length
const set = <T extends z.ZodType<string>>(item: T) => z.array(item).min(1).max(50).refine(isSet, 'has an entry twice')
const seconds = z.int().min(10).max(LONGEST_SECONDS).default(LONGEST_SECONDS)
const scopes = set(z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'is not a scope'))
const clientId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, 'is not a client_id')
const uri = checkedUri(webUriProblem)

/** A resource server that the client may exchange people's access tokens for. */
const exchange = z.strictObject({
  resource: z.string(),
  /** The most that the new token may hold; never more than the token that is shown. */
  scopes,
  /** Who may act; a client other than the one that asks shows a token of its own. Without: the one that asks. */
  actors: set(clientId).optional(),
  max_seconds: seconds,
  /** The new token may be bound to the actor's own key, when the token shown is bound to one that the actor has not. */
  own_key: z.boolean().default(false),
  /** The row holds for a client that cannot authenticate. */
  public: z.boolean().default(false),
})

/** Another authorization server that the client may take word of its people to (ID-JAG). */
const identityAssertion = z.strictObject({
  /** Its issuer. */
  audience: uri,
  /** What the client is called there; without, as here. */
  client_id: z.string().min(1).max(500).optional(),
  /** Its client_id here, whose subject for a person is the one that it knows; without, that of the client that asks. */
  subject_of: clientId.optional(),
  resources: set(z.url()).default([]),
  scopes: scopes.default([]),
  subject_token_types: set(z.enum(['id_token', 'refresh_token'])).default(['id_token']),
  max_seconds: seconds,
})

/** An issuer of `assertion_issuers` in the settings, and what the client gets for its word. */
const assertion = z.strictObject({
  issuer: z.string(),
  resource: z.string(),
  scopes,
  /** Of an issuer that speaks for machines: whose assertions are this client's. */
  subjects: set(z.string().min(1).max(255)).optional(),
  max_seconds: seconds,
})

const text = z.string().trim().min(1).max(200)

/** Who answers for an agent and for how long. Facts state it in clear, so it names no person by address: that is for `contacts`. */
const agent = z.strictObject({
  owner: text.refine((value) => !value.includes('@'), 'names a team or a role; addresses belong into contacts'),
  purpose: text,
  /** From then on it is not there: no token is given to it, and none that it holds is good at introspection. */
  expires_at: z.iso.datetime({ offset: true }),
  /** After so many days without a token it is not there either; a change of its metadata wakes it. */
  idle_days: z.int().min(1).max(366).optional(),
})

export type ExchangeRow = z.output<typeof exchange>
export type IdentityAssertionRow = z.output<typeof identityAssertion>
export type AssertionRow = z.output<typeof assertion>

/** The members of client metadata. */
export const grantMembers = {
  token_exchange: z.array(exchange).min(1).max(50).optional(),
  identity_assertions: z.array(identityAssertion).min(1).max(50).optional(),
  assertion_issuers: z.array(assertion).min(1).max(50).optional(),
  /** Who alone may act for the people that sign in to this client: claim `may_act` of their tokens (RFC 8693 §4.4). */
  may_act: set(clientId).optional(),
  agent: agent.optional(),
}

type Members = z.output<z.ZodObject<typeof grantMembers>>

/** What the rules look at beside their own members. */
export interface Granting extends Readonly<Partial<Members>> {
  readonly grant_types: readonly string[]
  readonly token_endpoint_auth_method: string
}

type Field = keyof Members | 'grant_types'
export type GrantProblem = readonly [field: Field | `${keyof Members}.${string}`, message: string]
type Path = `${keyof Members}.${number}`
type Rule = (m: Granting) => GrantProblem | undefined

const uses = (m: Granting, grant: string) => m.grant_types.includes(grant)
const isPublic = (m: Granting) => m.token_endpoint_auth_method === 'none'
const CONFIDENTIAL = 'needs a confidential client (token_endpoint_auth_method other than none)'

/** Rules across members; each names the member to mend. */
export const GRANT_RULES: readonly Rule[] = [
  (m) =>
    uses(m, TOKEN_EXCHANGE) !== (m.token_exchange !== undefined || m.identity_assertions !== undefined)
      ? ['grant_types', `must have ${TOKEN_EXCHANGE} exactly when there is token_exchange or identity_assertions`]
      : undefined,
  (m) =>
    uses(m, JWT_BEARER) !== (m.assertion_issuers !== undefined)
      ? ['grant_types', `must have ${JWT_BEARER} exactly when there is assertion_issuers`]
      : undefined,
  (m) => {
    const row = isPublic(m) ? m.token_exchange?.findIndex((each) => !each.public) : undefined
    return row === undefined || row < 0
      ? undefined
      : [`token_exchange.${row}.public`, 'must be true for a client that cannot authenticate']
  },
  (m) => (isPublic(m) && m.identity_assertions !== undefined ? ['identity_assertions', CONFIDENTIAL] : undefined),
  (m) => (isPublic(m) && m.assertion_issuers !== undefined ? ['assertion_issuers', CONFIDENTIAL] : undefined),
  (m) => twice('token_exchange', m.token_exchange, ({ resource }) => resource),
  (m) => twice('identity_assertions', m.identity_assertions, ({ audience }) => audience),
  (m) => twice('assertion_issuers', m.assertion_issuers, ({ issuer, resource }) => `${issuer} for ${resource}`),
  (m) => {
    const types = m.identity_assertions?.flatMap((row) => row.subject_token_types) ?? []
    const needed = { id_token: 'authorization_code', refresh_token: 'refresh_token' }
    const missing = types.find((type) => !uses(m, needed[type]))
    return missing === undefined ? undefined : ['identity_assertions', `${missing} needs ${needed[missing]}`]
  },
  (m) =>
    m.may_act !== undefined && m.grant_types.every((type) => ONLY_MACHINES.includes(type))
      ? ['may_act', 'is for clients that people sign in to']
      : undefined,
]

const ONLY_MACHINES: readonly string[] = ['client_credentials', ...CUSTOM_GRANTS]

function twice<Row>(field: keyof Members, rows: readonly Row[] | undefined, name: (row: Row) => string) {
  const names = rows?.map(name) ?? []
  const at = names.findIndex((each, i) => names.indexOf(each) !== i)
  return at < 0 ? undefined : ([`${field}.${at}`, `${names[at]} has a row already`] as const)
}

/** What rows may name. */
export interface GrantTargets {
  /** Scopes of the configured resource servers. */
  readonly scopesOf?: ReadonlyMap<string, readonly string[]> | undefined
  readonly assertionIssuers?: ReadonlyMap<string, TrustedIssuer> | undefined
}

/** Rows that name what is not there, by their path. */
export function unknownTargets(m: Granting, { scopesOf, assertionIssuers }: GrantTargets): GrantProblem[] {
  const target = (path: Path, row: { resource: string; scopes: readonly string[] }): GrantProblem[] => {
    const known = scopesOf?.get(row.resource)
    if (known === undefined) {
      return [[`${path}.resource`, `${JSON.stringify(row.resource)} is not a configured resource server`]]
    }
    const strange = row.scopes.filter((scope) => !known.includes(scope))
    return strange.map((scope) => [`${path}.scopes`, `${JSON.stringify(scope)} is not a scope of ${row.resource}`])
  }
  const issuer = (path: Path, row: AssertionRow): GrantProblem[] => {
    const trusted = assertionIssuers?.get(row.issuer)
    if (trusted === undefined) {
      return [[`${path}.issuer`, `${JSON.stringify(row.issuer)} is not of assertion_issuers in the settings`]]
    }
    const speaksForMachines = trusted.upstream === undefined
    if (speaksForMachines === (row.subjects !== undefined)) return []
    const message = speaksForMachines ? 'are needed: the issuer speaks for machines' : 'are for issuers of machines'
    return [[`${path}.subjects`, message]]
  }
  return [
    ...(m.token_exchange ?? []).flatMap((row, i) => target(`token_exchange.${i}`, row)),
    ...(m.assertion_issuers ?? []).flatMap((row, i) => [
      ...issuer(`assertion_issuers.${i}`, row),
      ...target(`assertion_issuers.${i}`, row),
    ]),
  ]
}
