/** What an operator may say of a provider, and the driver's settings that it becomes. Strict: a misspelt setting is an error. */
import { z } from 'zod'
import type { OAuth2UpstreamSettings } from '../../platform/upstream_oauth2.ts'
import { DEFAULT_ALGORITHMS, type OidcUpstreamSettings } from '../../platform/upstream_oidc_settings.ts'
import {
  facebook,
  github,
  google,
  linkedin,
  apple as ofApple,
  microsoft as ofMicrosoft,
} from '../../platform/upstream_presets.ts'
import type { SamlSettings } from '../../platform/upstream_saml.ts'
import { identifyingMembers } from '../identifications/types.ts'
import { IMPORTED } from './types.ts'

const text = z.string().trim().min(1).max(2000)
/** Shown on buttons and in mails. */
const title = z
  .string()
  .trim()
  .min(1)
  .max(40)
  .refine((value) => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(value), 'must not have control or invisible characters')
const domain = z
  .string()
  .toLowerCase()
  .regex(/^(?:[a-z0-9-]{1,63}\.)+[a-z0-9-]{2,63}$/, 'must be a domain such as example.com')
const httpsUrl = z.url({ protocol: /^https?$/ })
const pem = z.string().regex(/-----BEGIN [A-Z ]+-----/, 'must be PEM')
const rule = z.enum(['fill_if_empty', 'always', 'never'])

/** What a sign-in by it verifies of a person. */
const identification = z.strictObject({ ...identifyingMembers, acrs: z.array(text).min(1).max(20).optional() })

const common = {
  title: title.optional(),
  /** E-mail domains for which its word counts as much as a code of ours: an account there is linked without asking. */
  trusted_domains: z.array(domain).max(200).default([]),
  import: z.partialRecord(z.enum(IMPORTED), rule).default({}),
  /** Its `acr` values, and the levels of ours that they stand for. */
  levels: z.record(z.string(), z.string()).default({}),
  identification: identification.optional(),
}

/** Whether its access and refresh tokens are kept with the identity, sealed. SAML has none. */
const tokens = { keep_tokens: z.boolean().default(false) }

const secretClient = { client_id: text, client_secret: text }
const signingKey = z.strictObject({ key_id: text, algorithm: text, private_key: pem })
const certified = z.strictObject({ private_key: pem, certificate: pem })
const parameters = z.record(z.string(), z.string()).default({})

const oidc = z.strictObject({
  kind: z.literal('oidc'),
  ...common,
  ...tokens,
  issuer: httpsUrl,
  discovery_url: httpsUrl.optional(),
  client_id: text,
  client_authentication: z
    .enum(['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'])
    .default('client_secret_basic'),
  client_secret: text.optional(),
  scopes: z.array(text).default(['openid', 'email', 'profile']),
  algorithms: z.array(text).min(1).default(DEFAULT_ALGORITHMS),
  response_mode: z.enum(['query', 'form_post']).default('query'),
  parameters,
  fresh_parameters: parameters,
  /** Whether it takes `max_age` and answers with `auth_time`; without, nobody is sent there who must show it again. */
  proves_freshness: z.boolean().default(true),
  signing_keys: z.array(signingKey).max(4).default([]),
  decryption_keys: z.array(signingKey).max(4).default([]),
  signed_requests: z.boolean().default(false),
  userinfo: z.boolean().default(false),
})

const oauth2 = z.strictObject({
  kind: z.literal('oauth2'),
  ...common,
  ...tokens,
  ...secretClient,
  issuer: httpsUrl,
  client_authentication: z.enum(['client_secret_basic', 'client_secret_post']).default('client_secret_basic'),
  authorization_endpoint: httpsUrl,
  token_endpoint: httpsUrl,
  pkce: z.boolean().default(true),
  scopes: z.array(text).default([]),
  parameters,
  profile_endpoint: httpsUrl,
  headers: z.record(z.string(), z.string()).default({}),
  subject: text,
  claims: z.record(z.string(), z.string()),
})

const saml = z.strictObject({
  kind: z.literal('saml'),
  ...common,
  metadata: z.string().max(2_000_000).optional(),
  entity_id: text.optional(),
  sign_on_url: httpsUrl.optional(),
  certificates: z.array(z.string()).max(8).optional(),
  subject_attribute: text.optional(),
  owned_domains: z.array(domain).max(200).default([]),
  signing: certified.optional(),
  decryption: certified.optional(),
})

const preset = <const Kind extends string>(kind: Kind) =>
  z.strictObject({ kind: z.literal(kind), ...common, ...tokens, ...secretClient })

const tenant = z.strictObject({ id: z.guid().toLowerCase(), owned_domains: z.array(domain).default([]) })
const microsoft = z.strictObject({
  kind: z.literal('microsoft'),
  ...common,
  ...tokens,
  ...secretClient,
  accounts: z.union([z.enum(['common', 'organizations', 'consumers']), z.guid().toLowerCase()]),
  tenants: z.union([z.literal('any'), z.array(tenant).min(1)]).optional(),
  /** The optional claim `auth_time` is switched on in the app's registration. */
  auth_time: z.boolean().default(false),
})
const apple = z.strictObject({
  kind: z.literal('apple'),
  ...common,
  ...tokens,
  ...{ client_id: text, team_id: text, key_id: text, private_key: pem },
})

const named = [preset('google'), preset('facebook'), preset('github'), preset('linkedin')] as const

export const settingsSchema = z.discriminatedUnion('kind', [oidc, oauth2, saml, microsoft, apple, ...named])
export type UpstreamSettings = Readonly<z.output<typeof settingsSchema>>

export const upstreamName = z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/, 'must be small letters, digits, - and _')

/** What a driver is made of. */
export type Connection =
  | { readonly protocol: 'oidc'; readonly settings: OidcUpstreamSettings }
  | { readonly protocol: 'oauth2'; readonly settings: OAuth2UpstreamSettings }
  | { readonly protocol: 'saml'; readonly settings: Omit<SamlSettings, 'entityId' | 'redirectUri'> }

/** Problems read `setting: what is wrong`. */
export function readSettings(
  given: unknown,
): { readonly settings: UpstreamSettings } | { readonly problems: readonly string[] } {
  const parsed = settingsSchema.safeParse(given)
  if (parsed.success) {
    const problems = crossProblems(parsed.data)
    return problems.length > 0 ? { problems } : { settings: parsed.data }
  }
  return { problems: parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'kind'}: ${message}`) }
}

function crossProblems(settings: UpstreamSettings): string[] {
  if (settings.kind === 'saml') {
    const one = settings.metadata !== undefined
    const other = settings.sign_on_url !== undefined && settings.certificates !== undefined && settings.entity_id
    return one || other ? [] : ['metadata: is needed, or entity_id, sign_on_url and certificates']
  }
  if (settings.kind !== 'oidc') return []
  const { client_authentication: method, client_secret: secret, signing_keys: keys, signed_requests } = settings
  return [
    ...(method.startsWith('client_secret') && secret === undefined ? [`client_secret: is needed for ${method}`] : []),
    ...((method === 'private_key_jwt' || signed_requests) && keys.length === 0
      ? ['signing_keys: is needed for private_key_jwt and signed_requests']
      : []),
  ]
}

const OAUTH2_PRESETS = { facebook, github, linkedin }

const keysOf = (keys: readonly z.output<typeof signingKey>[]) =>
  keys.map(({ key_id: keyId, algorithm, private_key: privateKey }) => ({ keyId, algorithm, privateKey }))

export function connectionOf(settings: UpstreamSettings): Connection {
  const connection = protocolOf(settings)
  if (connection.protocol === 'saml' || settings.kind === 'saml' || !settings.keep_tokens) return connection
  const kept = { keepTokens: true }
  return connection.protocol === 'oidc'
    ? { protocol: 'oidc', settings: { ...connection.settings, ...kept } }
    : { protocol: 'oauth2', settings: { ...connection.settings, ...kept } }
}

function protocolOf(s: UpstreamSettings): Connection {
  switch (s.kind) {
    case 'oidc':
      return { protocol: 'oidc', settings: ofOidc(s) }
    case 'oauth2':
      return { protocol: 'oauth2', settings: ofOAuth2(s) }
    case 'saml':
      return { protocol: 'saml', settings: ofSaml(s) }
    case 'microsoft': {
      const { accounts, tenants } = s
      const known =
        typeof tenants === 'string'
          ? tenants
          : tenants?.map(({ id, owned_domains: ownedDomains }) => ({ id, ownedDomains }))
      const whose =
        accounts === 'common' || accounts === 'organizations' || accounts === 'consumers'
          ? accounts
          : { tenantId: accounts }
      return {
        protocol: 'oidc',
        settings: ofMicrosoft({ ...clientOf(s), accounts: whose, tenants: known, authTime: s.auth_time }),
      }
    }
    case 'apple': {
      const { client_id: clientId, team_id: teamId, key_id: keyId, private_key: privateKey } = s
      return { protocol: 'oidc', settings: ofApple({ clientId, teamId, keyId, privateKey }) }
    }
    case 'google':
      return { protocol: 'oidc', settings: google(clientOf(s)) }
    default:
      return { protocol: 'oauth2', settings: OAUTH2_PRESETS[s.kind](clientOf(s)) }
  }
}

function clientOf({ client_id: clientId, client_secret: clientSecret }: { client_id: string; client_secret: string }) {
  return { clientId, clientSecret }
}

function ofOidc(s: z.output<typeof oidc>): OidcUpstreamSettings {
  const { client_authentication: method, client_secret: secret = '' } = s
  return {
    ...{ issuer: s.issuer, discoveryUrl: s.discovery_url, clientId: s.client_id, scopes: s.scopes },
    clientAuthentication:
      method === 'client_secret_basic' || method === 'client_secret_post' ? { method, secret } : { method },
    ...{ algorithms: s.algorithms, responseMode: s.response_mode, userinfo: s.userinfo },
    ...{ parameters: s.parameters, freshParameters: s.fresh_parameters, provesFreshness: s.proves_freshness },
    signedRequests: s.signed_requests,
    ...{ signingKeys: keysOf(s.signing_keys), decryptionKeys: keysOf(s.decryption_keys) },
  }
}

function ofOAuth2(s: z.output<typeof oauth2>): OAuth2UpstreamSettings {
  return {
    ...{ issuer: s.issuer, ...clientOf(s), clientAuthentication: s.client_authentication },
    ...{ authorizationEndpoint: s.authorization_endpoint, tokenEndpoint: s.token_endpoint, pkce: s.pkce },
    ...{ scopes: s.scopes, parameters: s.parameters, profileEndpoint: s.profile_endpoint, headers: s.headers },
    ...{ subject: s.subject, claims: s.claims },
  }
}

function ofSaml(s: z.output<typeof saml>): Omit<SamlSettings, 'entityId' | 'redirectUri'> {
  const { metadata, entity_id: entityId = '', sign_on_url: signOnUrl = '', certificates = [] } = s
  const provider = metadata === undefined ? { entityId, signOnUrl, certificates } : { metadata, entityId: s.entity_id }
  const key = (pair: z.output<typeof certified> | undefined) =>
    pair && { privateKey: pair.private_key, certificate: pair.certificate }
  return {
    ...{ provider, signing: key(s.signing), decryption: key(s.decryption) },
    ...{ subjectAttribute: s.subject_attribute, ownedDomains: s.owned_domains },
  }
}

/** Its `acr` values that stand for all of `levels` or more, the lowest first; `acrs` are ours, weakest first. */
export function acrsReaching(
  settings: Pick<UpstreamSettings, 'levels'>,
  acrs: readonly string[],
  levels: readonly string[],
): string[] {
  if (levels.length === 0) return []
  const least = Math.max(...levels.map((level) => acrs.indexOf(level)))
  const reaching = Object.entries(settings.levels).filter(([, level]) => acrs.indexOf(level) >= least)
  return reaching.sort(([, a], [, b]) => acrs.indexOf(a) - acrs.indexOf(b)).map(([acr]) => acr)
}
