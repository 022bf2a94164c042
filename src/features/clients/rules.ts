/**
 * What makes metadata of a client acceptable: defaults for what was left out, rules across members as a table whose rows name
 * the member to mend, and names that this provider must know.
 */
import { z } from 'zod'
import { CIBA_RULES, type CibaProblem } from '../../platform/ciba.ts'
import { type Abilities, CIBA, lacking, PROTOCOL_RULES, profileDefaults } from '../../platform/client_protocol.ts'
import { GRANT_RULES, type GrantProblem, type GrantTargets, unknownTargets } from '../../platform/grant_policies.ts'
import { nativeUriProblem, webUriProblem } from '../../platform/uri_rules.ts'
import { clientError } from './errors.ts'
import { type Metadata, metadataSchema, YEAR } from './schema.ts'

export type Problem = readonly [field: keyof Metadata, message: string] | GrantProblem | CibaProblem

const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code'

/** Fills in what was left out. Each default is the safe one. */
function withDefaults(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const grants = Array.isArray(given.grant_types) ? given.grant_types : ['authorization_code', 'refresh_token']
  const browser = grants.includes('authorization_code')
  const forPeople = browser || grants.includes(DEVICE_CODE) || grants.includes(CIBA)
  return {
    client_name: given.client_id,
    application_type: 'web',
    redirect_uris: [],
    post_logout_redirect_uris: [],
    token_endpoint_auth_method: 'client_secret_basic',
    ...profileDefaults(given),
    id_token_signed_response_alg: 'ES256',
    grant_types: grants,
    response_types: browser ? ['code'] : [],
    ...(forPeople || grants.includes('implicit') ? { scope: 'openid profile email' } : {}),
    ...(grants.includes(CIBA) ? { backchannel_token_delivery_mode: 'poll' } : {}),
    resources: [],
    cors_origins: [],
    first_party: false,
    require_pkce: true,
    // Logout of one session needs its `sid`, and without this the engine leaves it out.
    backchannel_logout_session_required: given.backchannel_logout_uri !== undefined,
    ...given,
  }
}

const RULES: readonly ((m: Metadata) => Problem | undefined)[] = [
  (m) => uriProblem('redirect_uris', m.redirect_uris, m.application_type),
  (m) => uriProblem('post_logout_redirect_uris', m.post_logout_redirect_uris, m.application_type),
  (m) => (m.response_types.length > 0 && m.redirect_uris.length === 0 ? ['redirect_uris', 'must have one'] : undefined),
  (m) =>
    m.response_types.length === 0 && m.redirect_uris.length > 0
      ? ['redirect_uris', 'are for authorization_code only']
      : undefined,
  (m) =>
    uses(m, 'authorization_code') !== responds(m, 'code')
      ? ['response_types', 'must be ["code"] with authorization_code and else []']
      : undefined,
  (m) =>
    uses(m, 'implicit') !== (responds(m, 'id_token') || responds(m, 'token'))
      ? ['grant_types', 'must have implicit exactly when response_types have id_token or token']
      : undefined,
  // The engine's rule, of OpenID Connect Dynamic Registration 1.0 §2: such a client is refused at its first use.
  ...(['redirect_uris', 'post_logout_redirect_uris'] as const).map(
    (member) =>
      (m: Metadata): Problem | undefined =>
        uses(m, 'implicit') && m.application_type === 'web' && m[member].some(isLocal)
          ? [member, 'must be https, and not localhost, with the grant type implicit']
          : undefined,
  ),
  (m) =>
    uses(m, 'refresh_token') && !uses(m, 'authorization_code') && !uses(m, DEVICE_CODE) && !uses(m, CIBA)
      ? ['grant_types', `refresh_token needs authorization_code, a device code or ${CIBA}`]
      : undefined,
  (m) =>
    uses(m, 'client_credentials') && isPublic(m)
      ? ['grant_types', 'client_credentials needs a confidential client (token_endpoint_auth_method other than none)']
      : undefined,
  (m) =>
    m.organization_id !== undefined && !uses(m, 'client_credentials')
      ? ['organization_id', 'is for client_credentials: tokens of people do not carry it']
      : undefined,
  ...(['rate_limit', 'quota'] as const).map(
    (member) =>
      (m: Metadata): Problem | undefined =>
        isPublic(m) && m[member] !== undefined
          ? [member, 'is for clients that authenticate: anybody could use up that of a public one']
          : undefined,
  ),
  (m) =>
    isPublic(m) && m.global_revocation === true
      ? ['global_revocation', 'is for clients that authenticate (token_endpoint_auth_method other than none)']
      : undefined,
  // RFC 9700 §2.1.1: a public client without PKCE loses its codes to whoever intercepts them.
  (m) => (isPublic(m) && !m.require_pkce ? ['require_pkce', 'can be false for confidential clients only'] : undefined),
  (m) =>
    m.jwks !== undefined && m.jwks_uri !== undefined ? ['jwks_uri', 'cannot be given together with jwks'] : undefined,
  (m) =>
    m.token_endpoint_auth_method !== 'private_key_jwt' && m.token_endpoint_auth_signing_alg !== undefined
      ? ['token_endpoint_auth_signing_alg', 'is for private_key_jwt only']
      : undefined,
  (m) =>
    m.scope.split(' ').includes('offline_access') && !uses(m, 'refresh_token')
      ? ['scope', 'offline_access needs the grant type refresh_token']
      : undefined,
  (m) =>
    (m.refresh_idle_seconds ?? 0) > (m.refresh_absolute_seconds ?? YEAR)
      ? ['refresh_idle_seconds', 'is longer than refresh_absolute_seconds']
      : undefined,
  (m) =>
    m.second_factor_grace !== undefined && m.second_factor !== 'required'
      ? ['second_factor_grace', 'is for second_factor: required']
      : undefined,
  (m) =>
    m.backchannel_logout_session_required && m.backchannel_logout_uri === undefined
      ? ['backchannel_logout_session_required', 'needs backchannel_logout_uri']
      : undefined,
  ...PROTOCOL_RULES,
  ...CIBA_RULES,
  ...GRANT_RULES,
]

/** Problems that only the whole metadata shows. */
function crossProblems(metadata: Metadata): Problem[] {
  return RULES.map((rule) => rule(metadata)).filter((problem) => problem !== undefined)
}

function isLocal(uri: string): boolean {
  const { protocol, hostname } = new URL(uri)
  return protocol !== 'https:' || hostname === 'localhost'
}

function uriProblem(
  field: 'redirect_uris' | 'post_logout_redirect_uris',
  uris: readonly string[],
  type: string,
): Problem | undefined {
  const check = type === 'native' ? nativeUriProblem : webUriProblem
  const found = uris.map((value) => ({ value, problem: check(value) })).find(({ problem }) => problem !== undefined)
  return found === undefined ? undefined : [field, `${JSON.stringify(found.value)} ${found.problem}`]
}

function uses(metadata: Metadata, grant: Metadata['grant_types'][number]): boolean {
  return metadata.grant_types.includes(grant)
}

/** Whether a response type has the word. */
function responds(metadata: Metadata, word: 'code' | 'id_token' | 'token'): boolean {
  return metadata.response_types.some((type) => type.split(' ').includes(word))
}

function isPublic(metadata: Metadata): boolean {
  return metadata.token_endpoint_auth_method === 'none'
}

/** What of its kind this provider knows; any other name would fail in the engine at the first request. */
export type Known = Readonly<Record<'scopes' | 'resources' | 'locales' | 'acrs', ReadonlySet<string>>> &
  Abilities &
  GrantTargets & { readonly detailTypes?: ReadonlySet<string> | undefined }

/** A secret given in a declaration: as long as a random one, since it is hashed without salt or stretching. */
const secretSchema = z.string().regex(/^[\x21-\x7E]{32,200}$/)
const SECRET_PROBLEM =
  'client_secret: must be 32 to 200 printable characters without blanks (openssl rand -base64 32), or a list of up to 5'
const secretsSchema = z
  .union([secretSchema, z.array(secretSchema).min(1).max(5)])
  .optional()
  .transform((value) => (value === undefined ? [] : [value].flat()))

export type Parsed =
  | { readonly ok: true; readonly metadata: Metadata; readonly secrets: readonly string[] }
  | { readonly ok: false; readonly problems: readonly string[] }

/** Checks metadata as given by an operator, with defaults filled in. Problems read `field: what is wrong`. */
export function parseMetadata(given: Readonly<Record<string, unknown>>, known: Known): Parsed {
  const { client_secret: secret, ...rest } = given
  const secrets = secretsSchema.safeParse(secret)
  const parsed = metadataSchema.safeParse(withDefaults(rest))
  if (!parsed.success || !secrets.success) {
    const problems = [...(parsed.error?.issues.flatMap(describe) ?? []), ...(secrets.success ? [] : [SECRET_PROBLEM])]
    return { ok: false, problems }
  }
  const { data: metadata } = parsed
  const problems = [...crossProblems(metadata), ...unknownNames(metadata, known)].map((problem) => problem.join(': '))
  if (secrets.data.length > 0 && !hasSecrets(metadata)) {
    problems.push(`client_secret: is not used with token_endpoint_auth_method ${metadata.token_endpoint_auth_method}`)
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, metadata, secrets: secrets.data }
}

/** Whether the client authenticates with a secret. */
export function hasSecrets(metadata: Pick<Metadata, 'token_endpoint_auth_method'>): boolean {
  return metadata.token_endpoint_auth_method.startsWith('client_secret_')
}

function unknownNames(metadata: Metadata, known: Known): Problem[] {
  const scopes = metadata.scope.split(' ').filter((name) => !known.scopes.has(name))
  const servers = (['resources', 'resource_server_for'] as const).flatMap((field) =>
    (metadata[field] ?? []).filter((name) => !known.resources.has(name)).map((name) => ({ field, name })),
  )
  const { default_locale: locale, default_acr_values: acrs = [], minimum_acr: least } = metadata
  const languages = [...known.locales].join(', ')
  const unable = lacking(metadata, known)
  const levels = [
    ...acrs.map((acr) => ['default_acr_values', acr] as const),
    ...(least === undefined ? [] : [['minimum_acr', least] as const]),
  ].filter(([, acr]) => !known.acrs.has(acr))
  return [
    ...(unable === undefined ? [] : [unable]),
    ...unknownTargets(metadata, known),
    ...(locale === undefined || known.locales.has(locale)
      ? []
      : [['default_locale', `${JSON.stringify(locale)} is none of ${languages}`] as const]),
    ...levels.map(
      ([field, acr]): Problem => [field, `${JSON.stringify(acr)} is none of ${[...known.acrs].join(', ')}`],
    ),
    ...(metadata.authorization_details_types ?? [])
      .filter((name) => known.detailTypes?.has(name) !== true)
      .map((name): Problem => ['authorization_details_types', `${JSON.stringify(name)} is not a configured type`]),
    ...scopes.map((name): Problem => ['scope', `${JSON.stringify(name)} is not a scope of this provider`]),
    ...servers.map(
      ({ field, name }): Problem => [field, `${JSON.stringify(name)} is not a configured resource server`],
    ),
  ]
}

function describe(issue: z.core.$ZodIssue): string[] {
  if (issue.code === 'unrecognized_keys' && issue.path.length === 0) {
    return issue.keys.map((key) => `${key}: is not client metadata that Genkan knows`)
  }
  return [`${issue.path.join('.')}: ${issue.message}`]
}

export type Declaration = { readonly client_id: string; readonly [member: string]: unknown }

export interface Declared {
  readonly metadata: Metadata
  readonly secrets: readonly string[]
}

/** Checks all declarations and reports all problems together. */
export function parseDeclarations(
  declarations: readonly Declaration[],
  known: Known,
): { wanted: Declared[]; problems: string[] } {
  const problems: string[] = []
  const wanted: Declared[] = []
  const ids = new Set<string>()
  for (const declared of declarations) {
    const parsed = parseMetadata(declared, known)
    if (ids.has(declared.client_id)) problems.push(`clients.${declared.client_id}: client_id is taken`)
    ids.add(declared.client_id)
    if (!parsed.ok) problems.push(...parsed.problems.map((problem) => `clients.${declared.client_id}.${problem}`))
    else if (hasSecrets(parsed.metadata) && parsed.secrets.length === 0) {
      problems.push(
        `clients.${declared.client_id}.client_secret: is needed for ${parsed.metadata.token_endpoint_auth_method}`,
      )
    } else wanted.push(parsed)
  }
  return { wanted, problems }
}

/** Metadata of a client that is not declared. @throws AppError invalid_client_metadata with every problem, one a line */
export function checkedMetadata(given: Declaration, known: Known): Metadata {
  const parsed = parseMetadata(given, known)
  if (!parsed.ok) throw clientError('invalid_client_metadata', parsed.problems.join('\n'))
  // A chosen secret would be weaker than ours and would have been seen by others.
  if (parsed.secrets.length > 0) throw clientError('invalid_client_metadata', 'client_secret: is made by the provider')
  return parsed.metadata
}

/** Metadata with changed members; `null` takes one back to its default. @throws AppError as `checkedMetadata` */
export function changedMetadata(
  { client_id, ...metadata }: Metadata,
  changes: Readonly<Record<string, unknown>>,
  known: Known,
): Metadata {
  const merged = Object.entries({ ...metadata, ...changes, client_id })
  return checkedMetadata(Object.fromEntries(merged.filter(([, value]) => value !== null)) as Declaration, known)
}
