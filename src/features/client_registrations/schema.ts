/** What a registration request is, before any rule looks at it. */
import { z } from 'zod'
import { REGISTERED_MEMBERS } from '../../platform/client_admission.ts'
import { parseStrictJson } from '../../platform/strict_json.ts'
import { RegistrationError } from './errors.ts'

export type Members = { readonly [member: string]: unknown }

/** Members that this provider alone decides on, though they are metadata of its clients. */
const OURS: ReadonlySet<string> = new Set([
  ...['token_exchange', 'identity_assertions', 'assertion_issuers', 'may_act', 'agent'],
  ...['profile', 'first_party', 'unverified', 'brand', 'upstreams', 'verified_claims', 'registration_fields'],
  ...[
    'resources',
    'authorization_details_types',
    'resource_server_for',
    'organization_id',
    'cors_origins',
    'require_pkce',
    'require_dpop_nonce',
  ],
  ...['minimum_acr', 'second_factor', 'second_factor_grace', 'default_locale', 'access_token_format'],
  ...['access_token_seconds', 'jwt_access_token_seconds'],
  ...['refresh_idle_seconds', 'refresh_absolute_seconds', 'refresh_grace_seconds'],
])

/** RFC 7592 §2.2: members of the answer that a client must not send back. */
const ANSWERS = [
  ...['registration_access_token', 'registration_client_uri'],
  ...['client_secret_expires_at', 'client_id_issued_at'],
]

const KNOWN: ReadonlySet<string> = new Set(REGISTERED_MEMBERS)
const body = z.record(z.string(), z.unknown())
const text = z.string().min(1).max(16_384).optional()

export interface Request {
  /** Registered members that mean something here. */
  readonly members: Members
  readonly softwareStatement: string | undefined
  readonly clientId: unknown
  readonly clientSecret: unknown
}

/**
 * Reads a body: what is registered but unknown here is ignored (RFC 7591 §2), what only we decide on is refused, and so is what
 * can be read in two ways.
 */
export function readRequest(given: string): Request {
  const parsed = body.safeParse(parseStrictJson(given)?.value)
  if (!parsed.success) {
    throw new RegistrationError('invalid_client_metadata', 'the body must be a JSON object that has no member twice')
  }
  // RFC 7592 §2.2: null is as good as left out.
  const all = Object.entries(parsed.data).filter(([, value]) => value !== null)
  const ours = all.map(([name]) => name).find((name) => OURS.has(name))
  if (ours !== undefined)
    throw new RegistrationError('invalid_client_metadata', `${ours}: is set by this provider only`)
  const statement = text.safeParse(parsed.data.software_statement ?? undefined)
  if (!statement.success) throw new RegistrationError('invalid_software_statement', 'software_statement: must be a JWT')
  return {
    members: known(Object.fromEntries(all)),
    softwareStatement: statement.data,
    clientId: parsed.data.client_id,
    clientSecret: parsed.data.client_secret ?? undefined,
  }
}

/** The same of a change of a client (RFC 7592 §2.2). */
export function readChange(given: string, clientId: string): Request {
  const request = readRequest(given)
  const sent = parseStrictJson(given)?.value as Members
  const answer = ANSWERS.find((name) => name in sent)
  if (answer !== undefined) throw new RegistrationError('invalid_client_metadata', `${answer}: must not be sent back`)
  if (request.clientId !== clientId) {
    throw new RegistrationError('invalid_client_metadata', 'client_id: must be that of this client')
  }
  return request
}

/** Only what is registered, of metadata or of a software statement. */
export function known(members: Members): Members {
  return Object.fromEntries(Object.entries(members).filter(([name]) => KNOWN.has(name)))
}
