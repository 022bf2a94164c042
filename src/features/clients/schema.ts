/**
 * Client metadata, checked when it is written and not at its first use. Strict: unknown names are refused, so that a
 * misspelt restriction is never silently absent.
 */
import { z } from 'zod'
import { cibaMembers } from '../../platform/ciba.ts'
import { CIBA, protocolMembers, REQUEST_ALGS } from '../../platform/client_protocol.ts'
import { displayName } from '../../platform/display_name.ts'
import { CUSTOM_GRANTS, grantMembers } from '../../platform/grant_policies.ts'
import { publicJwk } from '../../platform/public_jwk.ts'
import { checkedUri, originProblem, webUriProblem } from '../../platform/uri_rules.ts'
import { registrationFieldsSchema } from '../registration/types.ts'

/** Seconds. */
export const YEAR = 31_536_000

const uri = checkedUri(webUriProblem)
const isSet = (list: readonly string[]) => new Set(list).size === list.length
const unique = <T extends z.ZodType<string>>(item: T, most: number) =>
  z.array(item).max(most).refine(isSet, 'has an entry twice')

const AUTH_METHODS = [
  'none',
  'client_secret_basic',
  'client_secret_post',
  'private_key_jwt',
  'tls_client_auth',
  'self_signed_tls_client_auth',
] as const
const GRANT_TYPES = [
  'authorization_code',
  'implicit',
  'refresh_token',
  'client_credentials',
  'urn:ietf:params:oauth:grant-type:device_code',
  CIBA,
  ...CUSTOM_GRANTS,
] as const

const lifetime = (most: number, least = 60) => z.int().min(least).max(most).optional()

const CLIENT_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/
const ID_PROBLEM = 'must be 1 to 100 letters, digits, dots, hyphens or underscores'

/** Whether a text can be the id of a client at all. */
export const isClientId = (text: string): boolean => CLIENT_ID.test(text)

/** RFC 6749 §3.3; order and blanks are normalised, repeated names dropped. */
const scope = z
  .string()
  .transform((value) => [...new Set(value.split(' ').filter(Boolean))].join(' '))
  .refine((value) => value !== '', 'must name at least one scope (an empty one would not limit the client)')
  .refine((value) => /^[\x21\x23-\x5B\x5D-\x7E ]*$/.test(value), 'has a character that scopes cannot have')

/** The members of metadata. `client_secret` is taken apart before: it is never stored here. */
export const metadataSchema = z.strictObject({
  client_id: z.string().regex(CLIENT_ID, ID_PROBLEM),
  client_name: displayName,
  ...{ client_uri: uri.optional(), logo_uri: uri.optional(), policy_uri: uri.optional(), tos_uri: uri.optional() },
  contacts: unique(z.email(), 10).optional(),
  application_type: z.enum(['web', 'native']),
  redirect_uris: unique(z.string(), 50),
  post_logout_redirect_uris: unique(z.string(), 50),
  ...protocolMembers,
  ...cibaMembers,
  ...grantMembers,
  token_endpoint_auth_method: z.enum(AUTH_METHODS),
  token_endpoint_auth_signing_alg: z.enum(REQUEST_ALGS).optional(),
  grant_types: unique(z.enum(GRANT_TYPES), GRANT_TYPES.length).min(1),
  jwks: z.strictObject({ keys: z.array(publicJwk).min(1).max(20) }).optional(),
  jwks_uri: uri.optional(),
  scope,
  /** Resource servers it may ask tokens for (RFC 8707), and those it answers for: it may introspect tokens meant for them. */
  resources: unique(z.url(), 50),
  resource_server_for: unique(z.url(), 50).optional(),
  /** What it may ask people for in detail (RFC 9396 §10); without, nothing. */
  authorization_details_types: unique(z.string(), 50).optional(),
  /** The organization that a machine acts for: claim `org_id` of its own tokens. */
  organization_id: z.string().regex(CLIENT_ID, ID_PROBLEM).optional(),
  /** Requests that it may make as itself, and tokens that it may ask for (calendar, UTC); else the server's limits hold. */
  rate_limit: z
    .strictObject({ requests: z.int().min(1).max(1_000_000), seconds: z.int().min(1).max(86_400) })
    .optional(),
  quota: z.strictObject({ tokens: z.int().min(1).max(1_000_000_000), per: z.enum(['day', 'month']) }).optional(),
  /** Whether it may end all sessions, grants and tokens of any account (Global Token Revocation). */
  global_revocation: z.boolean().optional(),
  cors_origins: unique(checkedUri(originProblem), 50),
  first_party: z.boolean(),
  /** Nobody has checked who is behind it: the consent page says so, and shows none of its pictures and links. */
  unverified: z.boolean().optional(),
  /** The brand of its pages and mails; without one, the default brand. */
  brand: z.string().min(1).max(40).optional(),
  require_pkce: z.boolean(),
  require_auth_time: z.boolean().optional(),
  default_max_age: z.int().min(0).max(YEAR).optional(),
  /** When the request names none (OIDC Registration §2), in order of preference; `minimum_acr` holds whatever it names. */
  default_acr_values: unique(z.string(), 10).optional(),
  minimum_acr: z.string().optional(),
  second_factor: z.enum(['none', 'optional', 'required']).optional(),
  second_factor_grace: z.int().min(0).max(100).optional(),
  initiate_login_uri: uri.optional(),
  /** Upstream providers that its pages offer, in this order; without, all. One that is off or unknown is not shown. */
  upstreams: unique(z.string(), 50).optional(),
  /** Verified claims that it may ask people to release to it (OpenID Connect for Identity Assurance 1.0); without, none. */
  verified_claims: unique(z.string().regex(/^[\w.:/-]{1,100}$/), 30).optional(),
  registration_fields: registrationFieldsSchema.optional(),
  /** Language of its pages when neither request, account nor browser says one that there is. */
  default_locale: z.string().optional(),
  backchannel_logout_uri: uri.optional(),
  backchannel_logout_session_required: z.boolean(),
  access_token_format: z.enum(['jwt', 'opaque']).optional(),
  access_token_seconds: lifetime(86_400),
  jwt_access_token_seconds: lifetime(300, 10),
  refresh_idle_seconds: lifetime(YEAR),
  refresh_absolute_seconds: lifetime(YEAR),
  refresh_grace_seconds: lifetime(60, 0),
})

export type Metadata = z.output<typeof metadataSchema>
