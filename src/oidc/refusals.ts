/**
 * Why the engine refused a request. Its answers say as little as the standards ask; what it knows beyond that stays in the
 * error's detail, from which a reason of a closed list is told. Details themselves are kept nowhere: they may hold what a
 * requester sent.
 */
import type Provider from 'oidc-provider'
import type { KoaContextWithOIDC } from 'oidc-provider'
import { grantReasonOf } from './grant_refusals.ts'

/** A refused request, as `features/refusals` counts it. */
export interface RefusedRequest {
  readonly reason: string
  readonly error: string
  readonly endpoint: string
  readonly clientId?: string | undefined
  /** Whom the request said to come from, where there is no such client. */
  readonly claimedId?: string | undefined
}

export type NoteRefusal = (refusal: RefusedRequest) => void

const EVENTS = [
  ...['authorization.error', 'backchannel_authentication.error', 'device_authorization.error', 'end_session.error'],
  ...['grant.error', 'introspection.error', 'pushed_authorization_request.error', 'revocation.error'],
  ...['userinfo.error'],
]

/** Answers of a conversation that goes on. */
const NO_REFUSALS = ['authorization_pending', 'use_dpop_nonce', 'login_required', 'interaction_required']

/** By the first pattern that the detail fits. Rows without a pattern are for what no other row of the error knows. */
const REASONS: readonly (readonly [error: string, pattern: RegExp | undefined, reason: string])[] = [
  ['temporarily_unavailable', /asks too often/, 'rate_limited'],
  ['slow_down', /asks too often/, 'rate_limited'],
  ['temporarily_unavailable', /quota/, 'quota_used'],
  ['slow_down', /quota/, 'quota_used'],
  ['invalid_client', /client not found/, 'client_unknown'],
  ['invalid_client', /mechanism does not match/, 'auth_method_mismatch'],
  ['invalid_client', /secret has expired/, 'secret_expired'],
  ['invalid_client', /invalid secret/, 'secret_wrong'],
  ['invalid_client', /certificate was not provided/, 'certificate_missing'],
  ['invalid_client', /certificate was not verified/, 'certificate_untrusted'],
  ['invalid_client', /certificate/, 'certificate_mismatch'],
  ['invalid_client', /Key Set failed|timed_out|refused|unreachable/, 'keys_unavailable'],
  ['invalid_client', /alg mismatch|not allowed with profile/, 'assertion_algorithm'],
  ['invalid_client', /audience/, 'assertion_audience'],
  ['invalid_client', /only be used once/, 'assertion_replayed'],
  ['invalid_client', /expired|^expiration/, 'assertion_expired'],
  ['invalid_client', /not active yet|in the future/, 'assertion_not_yet_valid'],
  ['invalid_client', /no applicable key/, 'assertion_key_unknown'],
  ['invalid_client', /signature verification/, 'assertion_signature'],
  ['invalid_client', /JW[TS]|assertion|^iss|jti|value$/, 'assertion_malformed'],
  ['invalid_client', undefined, 'client_authentication_failed'],
  ['invalid_grant', /another browser/, 'refresh_token_of_another_browser'],
  ['invalid_grant', /by its organisation/, 'realm_closed'],
  ['invalid_grant', /redirect_uri/, 'redirect_uri_mismatch'],
  ['invalid_grant', /code_verifier|code_challenge/, 'pkce_mismatch'],
  ['invalid_grant', /account/, 'account_unavailable'],
  ['invalid_grant', /DPoP proof JWT/, 'dpop_missing'],
  ['invalid_grant', /jkt|thumbprint/, 'dpop_mismatch'],
  ['invalid_grant', /certificate not provided/, 'certificate_missing'],
  ['invalid_grant', /x5t/, 'certificate_mismatch'],
  ['invalid_grant', /^grant not found/, 'grant_revoked'],
  ['invalid_grant', /^grant is expired/, 'grant_expired'],
  ['invalid_grant', /consumed/, 'PRESENTED_reused'],
  ['invalid_grant', /client mismatch/, 'PRESENTED_of_another_client'],
  ['invalid_grant', /not found/, 'PRESENTED_unknown'],
  ['invalid_grant', /expired/, 'PRESENTED_expired'],
  ['invalid_token', /grant not found|clientId mismatch/, 'grant_revoked'],
  ['invalid_token', /grant is expired/, 'grant_expired'],
  ['invalid_token', /client not found/, 'client_disabled'],
  ['invalid_token', /account/, 'account_unavailable'],
  ['invalid_token', /audience/, 'wrong_audience'],
  ['invalid_token', /certificate|x5t/, 'certificate_mismatch'],
  ['invalid_token', /DPoP/, 'dpop_missing'],
  ['invalid_token', /jkt|sender-constrained/, 'dpop_mismatch'],
  ['invalid_token', /expired/, 'token_expired'],
  ['invalid_token', undefined, 'token_unknown'],
  ['invalid_request', /not authorized to revoke/, 'token_of_another_client'],
  ['invalid_request', undefined, 'request_malformed'],
  ['invalid_request_uri', /already used/, 'request_uri_used'],
  ['invalid_redirect_uri', undefined, 'redirect_uri_mismatch'],
  ['invalid_target', /required/, 'resource_required'],
  ['invalid_target', undefined, 'resource_not_allowed'],
  ['invalid_scope', undefined, 'scope_not_allowed'],
  ['insufficient_scope', undefined, 'scope_missing'],
  ['unauthorized_client', undefined, 'grant_type_not_allowed'],
]

/** What each grant type presents. */
const PRESENTED: { readonly [grantType: string]: string } = {
  authorization_code: 'code',
  refresh_token: 'refresh_token',
}

interface EngineError {
  readonly error?: unknown
  readonly message?: unknown
  readonly error_detail?: unknown
  readonly error_description?: unknown
}

/** Notes what the engine refuses. */
export function watchRefusals(provider: Provider, note: NoteRefusal): void {
  const heard = (ctx: KoaContextWithOIDC, thrown: unknown) => {
    const error = String((thrown as EngineError | undefined)?.error ?? 'server_error')
    if (NO_REFUSALS.includes(error) || isAnsweredHere(ctx, error)) return
    note(refusalOf(ctx, error, reasonOf(ctx, error, thrown as EngineError)))
  }
  for (const event of EVENTS) provider.on(event as never, heard as never)
}

/** What `jwt_introspection` answers after all. */
const isAnsweredHere = ({ oidc }: KoaContextWithOIDC, error: string) =>
  oidc.route === 'introspection' && error === 'unsupported_token_type'

/** The same of what is refused without an error. */
export function refusalOf(ctx: KoaContextWithOIDC, error: string, reason: string): RefusedRequest {
  const { client, route } = ctx.oidc
  // What the engine is asked on behalf of an endpoint of ours has that one's name.
  const { endpoint = route } = ctx.state as { endpoint?: string }
  return {
    ...{ reason, error, endpoint: String(endpoint) },
    ...(client === undefined ? { claimedId: claimedIdOf(ctx) } : { clientId: client.clientId }),
  }
}

function reasonOf({ oidc }: KoaContextWithOIDC, error: string, thrown: EngineError): string {
  const own = grantReasonOf(thrown)
  if (own !== undefined) return own
  const detail = String(thrown.error_detail ?? thrown.error_description ?? '')
  const [, , reason = error] =
    REASONS.find(([name, pattern]) => name === error && pattern?.test(detail) !== false) ?? []
  const presented = PRESENTED[String(oidc.params?.grant_type)] ?? 'token'
  return reason.replace('PRESENTED', presented)
}

/** Whom a request names of which no client was found. */
function claimedIdOf({ oidc, headers }: KoaContextWithOIDC): string | undefined {
  const { client_id: id, client_assertion: assertion } = oidc.params ?? {}
  if (typeof id === 'string') return id
  try {
    if (typeof assertion === 'string') {
      return text(JSON.parse(Buffer.from(assertion.split('.')[1] ?? '', 'base64url').toString()).sub)
    }
    const [, basic = ''] = /^basic ([\w+/]+=*)$/i.exec(headers.authorization ?? '') ?? []
    const [name = ''] = Buffer.from(basic, 'base64').toString().split(':')
    return text(decodeURIComponent(name.replaceAll('+', '%20')))
  } catch {
    return undefined
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
