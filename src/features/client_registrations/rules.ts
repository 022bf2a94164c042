/** What a policy makes of the metadata that a client asks for: the most that it may have, and what it does not choose itself. */
import { type AdmissionPolicy, redirectProblem } from '../../platform/client_admission.ts'
import { webUriProblem } from '../../platform/uri_rules.ts'
import type { ClientMetadata } from '../clients/types.ts'
import { RegistrationError } from './errors.ts'
import { known, type Members } from './schema.ts'
import type { Registration } from './types.ts'

const REDIRECTS = ['redirect_uris', 'post_logout_redirect_uris', 'initiate_login_uri'] as const
/** What this server may ask, or show. */
const ADDRESSES = [
  ...['jwks_uri', 'sector_identifier_uri', 'backchannel_logout_uri'],
  ...['client_uri', 'logo_uri', 'policy_uri', 'tos_uri'],
]
/** One text, whatever is wrong: it tells nothing of the network behind us (A70). */
const ADDRESS_PROBLEM = 'must be an https address in its plain spelling'

/** Members as `clients` checks them, or the first that the policy does not allow. */
export function admitted(asked: Members, policy: AdmissionPolicy, allowsHttp: boolean): Members {
  const wanted = { ...defaultsOf(asked, policy), ...asked }
  const problems = [
    ...outside('grant_types', wanted.grant_types, policy.grantTypes),
    ...outside('token_endpoint_auth_method', wanted.token_endpoint_auth_method, policy.authMethods),
    ...outside('scope', wordsOf(wanted.scope), wordsOf(policy.scope)),
    ...ADDRESSES.filter((member) => isBadAddress(wanted[member], allowsHttp)).map(
      (member) => `${member}: ${ADDRESS_PROBLEM}`,
    ),
  ]
  const redirects = REDIRECTS.flatMap((member) =>
    listOf(wanted[member]).flatMap((value) => {
      const problem = redirectProblem(value, wanted.application_type, policy)
      return problem === undefined ? [] : [`${member}: ${JSON.stringify(value)} ${problem}`]
    }),
  )
  if (redirects.length > 0) throw new RegistrationError('invalid_redirect_uri', redirects.join('; '))
  if (problems.length > 0) throw new RegistrationError('invalid_client_metadata', problems.join('; '))
  return {
    ...wanted,
    profile: policy.profile,
    resources: policy.resources,
    ...(policy.unverifiedBanner && { unverified: true }),
  }
}

/** RFC 7591 §2: what a client has that names none. The scope is that of the policy, as far as its grants reach. */
function defaultsOf(asked: Members, policy: AdmissionPolicy): Members {
  const grants = asked.grant_types ?? ['authorization_code']
  const refreshes = listOf(grants).includes('refresh_token')
  const scopes = wordsOf(policy.scope).filter((name) => name !== 'offline_access' || refreshes)
  return {
    grant_types: grants,
    ...(policy.profile === 'oauth21' && { token_endpoint_auth_method: 'client_secret_basic' }),
    application_type: 'web',
    scope: scopes.join(' '),
  }
}

/** Values that are not in the list. What is no text at all is left to the schema of clients. */
function outside(member: string, value: unknown, allowed: readonly string[]): string[] {
  return listOf(value)
    .filter((item) => !allowed.includes(item))
    .map((item) => `${member}: ${JSON.stringify(item)} is not allowed by this policy`)
}

function isBadAddress(value: unknown, allowsHttp: boolean): boolean {
  if (value === undefined) return false
  if (typeof value !== 'string' || webUriProblem(value) !== undefined) return true
  return !allowsHttp && !value.startsWith('https:')
}

function listOf(value: unknown): string[] {
  return [value].flat().filter((item) => typeof item === 'string')
}

function wordsOf(value: unknown): string[] {
  return typeof value === 'string' ? value.split(' ').filter(Boolean) : []
}

/** RFC 7591 §3.2.2 of problems as `clients` states them: `member: what is wrong`, one a line. */
export function refusalOf(problems: string): RegistrationError {
  const lines = problems.split('\n')
  const isRedirect = lines.some((line) => /^(redirect_uris|post_logout_redirect_uris)\b/.test(line))
  return new RegistrationError(isRedirect ? 'invalid_redirect_uri' : 'invalid_client_metadata', lines.join('; '))
}

/** RFC 7591 §3.2.1, RFC 7592 §3. */
export type Information = { readonly [member: string]: unknown }

interface Told {
  readonly metadata: ClientMetadata
  readonly registration: Registration
  readonly accessToken: string
  readonly secret?: string | undefined
}

/** What the client is told of itself: members that are registered, not ours. */
export function information(issuer: string, { metadata, registration, accessToken, secret }: Told): Information {
  const { clientId, registeredAt, expiresAt, softwareStatement } = registration
  return {
    client_id: clientId,
    client_id_issued_at: seconds(registeredAt),
    ...(secret !== undefined && {
      client_secret: secret,
      client_secret_expires_at: expiresAt === undefined ? 0 : seconds(expiresAt),
    }),
    registration_access_token: accessToken,
    registration_client_uri: `${issuer}/reg/${clientId}`,
    ...known(metadata),
    ...(softwareStatement !== undefined && { software_statement: softwareStatement }),
  }
}

function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1000)
}
