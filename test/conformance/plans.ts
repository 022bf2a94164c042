/** The plans of the OpenID Foundation's conformance suite that Genkan is to pass, and what each is told. */
import { type BrowserRule, browserRules, moduleRules } from './browser_rules.ts'
import type { Credentials, Party } from './credentials.ts'

export interface Plan {
  /** By which the command line names it. */
  readonly id: string
  /** The suite's name. */
  readonly name: string
  readonly variant: { readonly [parameter: string]: string }
  readonly config: PlanConfig
}

export interface PlanConfig {
  readonly alias: string
  readonly description: string
  readonly server: { readonly discoveryUrl: string; readonly login_hint?: string }
  readonly client: object
  readonly client2: object
  readonly browser: readonly BrowserRule[]
  readonly override: { readonly [module: string]: object }
  readonly [member: string]: unknown
}

export interface PlansInput {
  readonly issuer: string
  readonly credentials: Credentials
  readonly account: { readonly email: string; readonly password: string }
}

/** In the suite's addresses. */
const ALIAS = 'genkan'

const STATIC = { server_metadata: 'discovery', client_registration: 'static_client' }
const OIDC: readonly (readonly [id: string, name: string, variant?: object])[] = [
  ['config', 'oidcc-config-certification-test-plan'],
  ['basic', 'oidcc-basic-certification-test-plan', STATIC],
  ['implicit', 'oidcc-implicit-certification-test-plan', STATIC],
  ['hybrid', 'oidcc-hybrid-certification-test-plan', STATIC],
  ['formpost-basic', 'oidcc-formpost-basic-certification-test-plan', STATIC],
  ['formpost-implicit', 'oidcc-formpost-implicit-certification-test-plan', STATIC],
  ['formpost-hybrid', 'oidcc-formpost-hybrid-certification-test-plan', STATIC],
  [
    '3rdparty-init-login',
    'oidcc-3rdparty-init-login-certification-test-plan',
    { ...STATIC, response_type: 'code id_token' },
  ],
  ['rp-logout', 'oidcc-rp-initiated-logout-certification-test-plan', { ...STATIC, response_type: 'code' }],
  [
    'backchannel-logout',
    'oidcc-backchannel-rp-initiated-logout-certification-test-plan',
    { ...STATIC, response_type: 'code' },
  ],
]

/** Client authentication and what tokens are bound by, with the client that is set up so. */
const FAPI: readonly (readonly [id: string, auth: string, constrain: string, client: string])[] = [
  ['private-key-dpop', 'private_key_jwt', 'dpop', 'fapi-dpop'],
  ['private-key-mtls', 'private_key_jwt', 'mtls', 'fapi-mtls'],
  ['mtls-dpop', 'mtls', 'dpop', 'fapi-certified-dpop'],
  ['mtls-mtls', 'mtls', 'mtls', 'fapi-certified-mtls'],
]

/** How the client hears of the answer and authenticates, with the client that is set up so. */
const CIBA: readonly (readonly [id: string, mode: string, auth: string, client: string])[] = [
  ['poll-private-key', 'poll', 'private_key_jwt', 'ciba-poll'],
  ['poll-mtls', 'poll', 'mtls', 'ciba-certified-poll'],
  ['ping-private-key', 'ping', 'private_key_jwt', 'ciba-ping'],
  ['ping-mtls', 'ping', 'mtls', 'ciba-certified-ping'],
]

/** All plans, in the order in which they are run. */
export function createPlans(input: PlansInput): Plan[] {
  const { secret, first, second } = input.credentials
  const oidc = OIDC.map(([id, name, variant = {}]) => ({
    id,
    name,
    variant: variant as Plan['variant'],
    config: {
      ...base(input, id),
      client: { client_id: 'oidc-first', client_secret: secret },
      client2: { client_id: 'oidc-second', client_secret: secret },
      client_secret_post: { client_id: 'oidc-post', client_secret: secret },
    },
  }))
  const fapi = (id: string, name: string, client: string, variant: Plan['variant']): Plan => ({
    ...{ id, name, variant },
    config: {
      ...base(input, id),
      client: keyed(`${client}-first`, first),
      client2: keyed(`${client}-second`, second),
      ...{ mtls: certificateOf(first), mtls2: certificateOf(second) },
      resource: { resourceUrl: `${input.issuer}/me` },
    },
  })
  const common = { fapi_profile: 'plain_fapi', openid: 'openid_connect' }
  return [
    ...oidc,
    ...FAPI.map(([id, auth, constrain, client]) =>
      fapi(`fapi2-${id}`, 'fapi2-security-profile-final-test-plan', client, {
        ...{ ...common, client_auth_type: auth, sender_constrain: constrain },
      }),
    ),
    fapi('fapi2-signing', 'fapi2-message-signing-final-test-plan', 'fapi-signing', {
      ...{ ...common, client_auth_type: 'private_key_jwt', sender_constrain: 'dpop' },
      ...{ fapi_request_method: 'signed_non_repudiation', fapi_response_mode: 'jarm' },
    }),
    ...CIBA.map(([id, mode, auth, client]) =>
      withHints(
        input,
        fapi(`ciba-${id}`, 'fapi-ciba-id1-test-plan', client, {
          ...{ fapi_ciba_profile: 'plain_fapi', ciba_mode: mode, client_auth_type: auth },
          client_registration: 'static_client',
        }),
      ),
    ),
  ]
}

/** Whom the suite asks, and where it answers in their place; it puts the id and `allow` or `deny` into the address. */
function withHints({ issuer, account }: PlansInput, plan: Plan): Plan {
  const hint = { hint_type: 'login_hint', hint_value: account.email }
  const { client, client2 } = plan.config
  return {
    ...plan,
    config: {
      ...plan.config,
      ...{ client: { ...client, ...hint }, client2: { ...client2, ...hint } },
      automated_ciba_approval_url: `${issuer}/conformance/ciba?auth_req_id={auth_req_id}&action={action}`,
    },
  }
}

function base({ issuer, account }: PlansInput, id: string) {
  return {
    alias: ALIAS,
    description: `Genkan, ${id}`,
    server: { discoveryUrl: `${issuer}/.well-known/openid-configuration`, login_hint: account.email },
    consent: {},
    browser: browserRules(issuer, account),
    override: moduleRules(issuer, account),
  }
}

function keyed(clientId: string, { jwk }: Party) {
  return { client_id: clientId, scope: 'openid accounts', jwks: { keys: [jwk] } }
}

function certificateOf({ certificate, key }: Party) {
  return { cert: certificate, key }
}
