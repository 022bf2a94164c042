/** Clients that nobody declared: how they may register themselves, and whose documents are clients. */
import { z } from 'zod'
import type { Parsed } from './values.ts'

/** A host with its port where it has one, a suffix such as `*.example.com`, or `*` for every host. */
const HOST_PATTERN = /^(\*|(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:\d{1,5})?)$/
const hostPatterns = z.array(z.string().regex(HOST_PATTERN, 'must be a host in small letters, *.suffix or *')).max(100)
const scopeNames = z.string().transform((value) => [...new Set(value.split(/\s+/).filter(Boolean))].join(' '))
const GRANTS = ['authorization_code', 'refresh_token', 'client_credentials'] as const
const AUTH_METHODS = [
  ...['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
  ...['tls_client_auth', 'self_signed_tls_client_auth'],
]

/** What a client that registers itself may become. */
const registrationPolicy = z.strictObject({
  grant_types: z.array(z.enum(GRANTS)).min(1).default(['authorization_code', 'refresh_token']),
  token_endpoint_auth_methods: z.array(z.enum(AUTH_METHODS)).min(1).default(['none', 'private_key_jwt']),
  scope: scopeNames.default('openid'),
  resources: z.array(z.url()).max(50).default([]),
  redirect_hosts: hostPatterns.default([]),
  redirect_schemes: z
    .array(z.string().regex(/^[a-z][a-z0-9-]*(\.[a-z0-9-]+)+$/, 'must be in reverse domain order'))
    .max(100)
    .default([]),
  loopback_redirects: z.boolean().default(false),
  profile: z.enum(['oauth21', 'fapi2', 'fapi2-message-signing']).default('oauth21'),
  clients_per_token: z.int().min(1).max(100_000).default(10),
  client_days: z.int().min(1).max(3650).optional(),
  software_statement: z.enum(['optional', 'required']).default('optional'),
  unverified_banner: z.boolean().default(true),
})

/** Whose software statements (RFC 7591 §2.3) are believed. */
const statementIssuer = z
  .strictObject({
    issuer: z.string().min(1),
    jwks: z.looseObject({ keys: z.array(z.json()) }).optional(),
    jwks_uri: z.url().optional(),
  })
  .refine(({ jwks, jwks_uri: uri }) => (jwks === undefined) !== (uri === undefined), 'give either jwks or jwks_uri')

const clientRegistration = z.strictObject({
  policies: z.record(z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/), registrationPolicy),
  requests_per_address: z.int().min(1).default(60),
  software_statement_issuers: z.array(statementIssuer).max(20).default([]),
})

/** Clients that are a document at their own address. */
const clientDocuments = z.strictObject({
  hosts: hostPatterns.min(1),
  agents: hostPatterns.default(['*']),
  scope: scopeNames.default('openid profile email'),
  resources: z.array(z.url()).max(50).default([]),
  loopback_redirects: z.boolean().default(true),
  redirect_schemes: registrationPolicy.shape.redirect_schemes,
})

export const registrationShape = {
  client_registration: clientRegistration.optional(),
  client_id_metadata_documents: clientDocuments.optional(),
}

type Settings = Parsed<typeof registrationShape>

export interface RegistrationConfig {
  /** How clients may register themselves; without, none may. */
  readonly clientRegistration: ClientRegistration | undefined
  /** Whose documents are clients; without, none are. */
  readonly clientDocuments: ClientDocuments | undefined
}

export interface ClientRegistration {
  readonly policies: { readonly [name: string]: RegistrationPolicy }
  /** In ten minutes. */
  readonly requestsPerAddress: number
  readonly statementIssuers: readonly {
    readonly issuer: string
    readonly jwks?: { readonly keys: readonly unknown[] } | undefined
    readonly jwksUri?: string | undefined
  }[]
}

export interface RegistrationPolicy {
  readonly grantTypes: readonly string[]
  readonly authMethods: readonly string[]
  /** The most that a client may have, and what one has that names none. */
  readonly scope: string
  readonly resources: readonly string[]
  /** Hosts of https redirects. */
  readonly redirectHosts: readonly string[]
  /** Private-use schemes (RFC 8252 §7.1) without their colon. */
  readonly redirectSchemes: readonly string[]
  /** Whether native clients may wait on a loopback address (RFC 8252 §7.3). */
  readonly loopbackRedirects: boolean
  readonly profile: string
  readonly clientsPerToken: number
  /** Days after which a client is disabled. */
  readonly clientDays: number | undefined
  readonly softwareStatement: 'optional' | 'required'
  readonly unverifiedBanner: boolean
}

export interface ClientDocuments {
  readonly hosts: readonly string[]
  /** Whose clients are agents; those of other hosts are ordinary applications. */
  readonly agents: readonly string[]
  readonly scope: string
  readonly resources: readonly string[]
  readonly loopbackRedirects: boolean
  readonly redirectSchemes: readonly string[]
}

export function registrationOf(settings: Settings): RegistrationConfig {
  return { clientRegistration: clientRegistrationOf(settings), clientDocuments: clientDocumentsOf(settings) }
}

function clientRegistrationOf({ client_registration: given }: Settings): ClientRegistration | undefined {
  if (given === undefined) return undefined
  const policies = Object.entries(given.policies).map(([name, policy]) => [name, policyOf(policy)] as const)
  return {
    policies: Object.fromEntries(policies),
    requestsPerAddress: given.requests_per_address,
    statementIssuers: given.software_statement_issuers.map(({ jwks_uri: jwksUri, ...rest }) => ({ ...rest, jwksUri })),
  }
}

function policyOf(policy: z.output<typeof registrationPolicy>): RegistrationPolicy {
  const { scope, resources, profile } = policy
  return {
    ...{ scope, resources, profile },
    grantTypes: policy.grant_types,
    authMethods: policy.token_endpoint_auth_methods,
    redirectHosts: policy.redirect_hosts,
    redirectSchemes: policy.redirect_schemes,
    loopbackRedirects: policy.loopback_redirects,
    clientsPerToken: policy.clients_per_token,
    clientDays: policy.client_days,
    softwareStatement: policy.software_statement,
    unverifiedBanner: policy.unverified_banner,
  }
}

function clientDocumentsOf({ client_id_metadata_documents: given }: Settings): ClientDocuments | undefined {
  if (given === undefined) return undefined
  const { loopback_redirects: loopbackRedirects, redirect_schemes: redirectSchemes, ...rest } = given
  return { ...rest, loopbackRedirects, redirectSchemes }
}

/** Resource servers that a policy or documents name must be there: else no client could be made by it. */
export function registrationProblems({
  resources,
  client_registration: registration,
  client_id_metadata_documents: documents,
}: Settings & { readonly resources: readonly { readonly identifier: string }[] }): string[] {
  const known = resources.map(({ identifier }) => identifier)
  const policies = Object.entries(registration?.policies ?? {})
  const issuers = (registration?.software_statement_issuers ?? []).length
  const named = [
    ...policies.map(([name, policy]) => [`client_registration.policies.${name}`, policy.resources] as const),
    ['client_id_metadata_documents', documents?.resources ?? []] as const,
  ]
  return [
    ...named.flatMap(([at, list]) =>
      list
        .filter((name) => !known.includes(name))
        .map((name) => `${at}.resources: ${name} is not a resource server of this configuration`),
    ),
    ...policies
      .filter(([, policy]) => policy.software_statement === 'required' && issuers === 0)
      .map(([name]) => `client_registration.policies.${name}.software_statement: needs software_statement_issuers`),
  ]
}
