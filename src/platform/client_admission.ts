/**
 * What clients that no operator declared may say of themselves, whether they register (RFC 7591) or show a document (Client ID
 * Metadata Document): registered members only, and redirects that a policy lets them have.
 */
import type { RegistrationPolicy } from '../config/client_registration.ts'
import { nativeUriProblem, webUriProblem } from './uri_rules.ts'

const ENCRYPTED = ['id_token', 'userinfo', 'introspection', 'authorization']

/** Members of the registry "OAuth Dynamic Client Registration Metadata" that mean something here. */
export const REGISTERED_MEMBERS: readonly string[] = [
  ...['client_name', 'client_uri', 'logo_uri', 'policy_uri', 'tos_uri', 'contacts', 'application_type'],
  ...['redirect_uris', 'post_logout_redirect_uris', 'initiate_login_uri'],
  ...['backchannel_logout_uri', 'backchannel_logout_session_required'],
  ...['grant_types', 'response_types', 'response_modes', 'scope'],
  ...['token_endpoint_auth_method', 'token_endpoint_auth_signing_alg', 'jwks', 'jwks_uri'],
  ...['tls_client_auth_subject_dn', 'tls_client_auth_san_dns', 'tls_client_auth_san_uri'],
  ...['tls_client_auth_san_ip', 'tls_client_auth_san_email', 'tls_client_certificate_bound_access_tokens'],
  ...['dpop_bound_access_tokens', 'require_pushed_authorization_requests', 'require_signed_request_object'],
  ...['subject_type', 'sector_identifier_uri', 'default_max_age', 'require_auth_time', 'default_acr_values'],
  ...['request_object_signing_alg', 'id_token_signed_response_alg', 'userinfo_signed_response_alg'],
  ...['introspection_signed_response_alg', 'authorization_signed_response_alg'],
  ...ENCRYPTED.flatMap((answer) => [`${answer}_encrypted_response_alg`, `${answer}_encrypted_response_enc`]),
]

const LOOPBACK: readonly string[] = ['localhost', '127.0.0.1', '[::1]']

/** Whether one of the patterns names the host: `*` every one, `*.example.com` is for what is below, not for example.com itself. */
export function hostMatches(patterns: readonly string[], host: string): boolean {
  return patterns.some((pattern) => pattern === '*' || pattern === host || isBelow(pattern, host))
}

function isBelow(pattern: string, host: string): boolean {
  return pattern.startsWith('*.') && host.length > pattern.length - 1 && host.endsWith(pattern.slice(1))
}

/** What a client may become that registers itself, as the settings have it. */
export type AdmissionPolicy = RegistrationPolicy

type RedirectPolicy = Pick<RegistrationPolicy, 'redirectHosts' | 'redirectSchemes' | 'loopbackRedirects'>

/** What is wrong with a place that people would be led to; undefined when the policy lets the client have it. */
export function redirectProblem(value: string, type: unknown, policy: RedirectPolicy): string | undefined {
  const isNative = type === 'native'
  const problem = isNative ? nativeUriProblem(value) : webUriProblem(value)
  if (problem !== undefined) return problem
  const { protocol, hostname, host } = new URL(value)
  if (LOOPBACK.includes(hostname)) {
    // OpenID Connect Dynamic Registration 1.0 §2: what listens there is a program on somebody's machine.
    if (!isNative) return 'needs application_type native: a web client has a host of its own'
    return policy.loopbackRedirects ? undefined : 'must not be a loopback address by this policy'
  }
  if (protocol === 'https:') {
    return hostMatches(policy.redirectHosts, host) ? undefined : 'has a host that this policy does not allow'
  }
  return policy.redirectSchemes.includes(protocol.slice(0, -1))
    ? undefined
    : 'has a scheme that this policy does not allow'
}
