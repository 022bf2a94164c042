/**
 * What a client says of backchannel authentication (OpenID Connect Client-Initiated Backchannel Authentication Core 1.0 §4), and
 * the limits of what it asks. Shared by the room that keeps clients, the engine's side and the room of approvals.
 */
import { z } from 'zod'
import { CIBA, FAPI_ALGS, isFapi, REQUEST_ALGS, usesCiba } from './client_protocol.ts'
import { checkedUri, webUriProblem } from './uri_rules.ts'

/** Tokens are never pushed: whoever holds the notification endpoint would hold them too (FAPI-CIBA §5.2.2). */
export const DELIVERY_MODES = ['poll', 'ping'] as const

/** Seconds for which a request waits: what a client may wish, and what it gets without a wish. */
export const EXPIRY = { least: 30, most: 600, usual: 300 } as const

/** No control, format, private or line-separating characters: nothing that re-orders or hides what the person compares. */
const BINDING_MESSAGE = /^(?=.*\S)[^\p{C}\p{Zl}\p{Zp}]{1,100}$/u

/** Whether a text may be shown for the person to compare (CIBA Core §7.1, `binding_message`). */
export const isBindingMessage = (text: string): boolean => BINDING_MESSAGE.test(text)

const endpoint = checkedUri(
  (value) => webUriProblem(value) ?? (value.startsWith('https:') ? undefined : 'must be https'),
)

/** Members by their registered names. */
export const cibaMembers = {
  backchannel_token_delivery_mode: z.enum(DELIVERY_MODES).optional(),
  backchannel_client_notification_endpoint: endpoint.optional(),
  backchannel_authentication_request_signing_alg: z.enum(REQUEST_ALGS).optional(),
}

type Members = z.output<z.ZodObject<typeof cibaMembers>>

interface Spoken extends Members {
  readonly profile: string
  readonly token_endpoint_auth_method: string
  readonly grant_types: readonly string[]
  readonly response_types: readonly string[]
  readonly subject_type?: string | undefined
  readonly sector_identifier_uri?: string | undefined
  readonly jwks?: unknown
  readonly jwks_uri?: string | undefined
}

export type CibaProblem = readonly [
  field: keyof Members | 'grant_types' | 'token_endpoint_auth_method' | 'jwks' | 'jwks_uri' | 'sector_identifier_uri',
  message: string,
]
type Rule = (m: Spoken) => CibaProblem | undefined

const MEMBERS = Object.keys(cibaMembers) as (keyof Members)[]
/** By these the engine tells pairwise clients of this grant apart (CIBA Core §4). */
const PAIRWISE_METHODS: readonly string[] = ['private_key_jwt', 'self_signed_tls_client_auth']

const using =
  (rule: Rule): Rule =>
  (m) =>
    usesCiba(m) ? rule(m) : undefined

/** Rules across members; each names the member to mend. */
export const CIBA_RULES: readonly Rule[] = [
  (m) => {
    const name = usesCiba(m) ? undefined : MEMBERS.find((member) => m[member] !== undefined)
    return name === undefined ? undefined : [name, `is for the grant type ${CIBA}`]
  },
  using((m) =>
    m.token_endpoint_auth_method === 'none'
      ? ['grant_types', `${CIBA} needs a confidential client (token_endpoint_auth_method other than none)`]
      : undefined,
  ),
  using((m) =>
    m.backchannel_token_delivery_mode === 'ping' && m.backchannel_client_notification_endpoint === undefined
      ? ['backchannel_client_notification_endpoint', 'is needed with backchannel_token_delivery_mode: ping']
      : undefined,
  ),
  using((m) =>
    m.backchannel_token_delivery_mode !== 'ping' && m.backchannel_client_notification_endpoint !== undefined
      ? ['backchannel_client_notification_endpoint', 'is for backchannel_token_delivery_mode: ping']
      : undefined,
  ),
  using((m) =>
    m.backchannel_authentication_request_signing_alg !== undefined && m.jwks === undefined && m.jwks_uri === undefined
      ? ['jwks', 'or jwks_uri is needed for signed backchannel authentication requests']
      : undefined,
  ),
  using((m) => {
    const alg = m.backchannel_authentication_request_signing_alg
    if (!isFapi(m.profile) || (alg !== undefined && FAPI_ALGS.includes(alg))) return undefined
    const algs = FAPI_ALGS.join(', ')
    return ['backchannel_authentication_request_signing_alg', `must be one of ${algs} with profile ${m.profile}`]
  }),
  using((m) => {
    if (m.subject_type !== 'pairwise') return undefined
    if (m.jwks_uri === undefined) return ['jwks_uri', `is needed for pairwise subjects with ${CIBA}`]
    if (m.response_types.length > 0 && m.sector_identifier_uri === undefined) {
      return ['sector_identifier_uri', `is needed for pairwise subjects with ${CIBA} and redirect_uris`]
    }
    return PAIRWISE_METHODS.includes(m.token_endpoint_auth_method)
      ? undefined
      : [
          'token_endpoint_auth_method',
          `must be one of ${PAIRWISE_METHODS.join(', ')} for pairwise subjects with ${CIBA}`,
        ]
  }),
]
