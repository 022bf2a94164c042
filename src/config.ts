/**
 * Settings: environment variables over an optional `genkan.yaml`, checked by one schema, all problems at once.
 * The only reader of `process.env`. Rows that an administrator may change at run time are not settings.
 */
import { randomBytes, X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parse as parseYaml, YAMLParseError } from 'yaml'
import { z } from 'zod'

/** Every problem of a configuration, one line each. */
export class ConfigError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])
const days = (fallback: number) => z.coerce.number().int().positive().max(36_500).default(fallback)
const seconds = (fallback: number, least = 1) => z.coerce.number().int().min(least).default(fallback)

const issuerSchema = z
  .string()
  .transform((value) => value.replace(/\/$/, ''))
  .superRefine((value, context) => {
    const problem = issuerProblem(value)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
  })

function issuerProblem(value: string): string | undefined {
  if (!URL.canParse(value)) return 'is not a URL'
  const url = new URL(value)
  if (url.origin !== value) return 'must be an origin: scheme, host and port, without path, query or user'
  if (url.protocol === 'https:') return undefined
  if (url.protocol === 'http:' && LOOPBACK.has(url.hostname)) return undefined
  return 'must be https (http is for loopback only)'
}

/** Of the same form as the issuer: what a browser compares the origin of a page with. */
const relatedOrigin = z.string().superRefine((value, context) => {
  const problem = issuerProblem(value)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

const cidr = z.string().refine((value) => {
  const [address, bits] = value.split('/')
  const version = isIP(address ?? '')
  return version !== 0 && (bits === undefined || (/^\d+$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128)))
}, 'must be an IP address or CIDR range')

const csv = <T extends z.ZodType>(item: T) =>
  z
    .preprocess((value) => (typeof value === 'string' ? value.split(/[\s,]+/).filter(Boolean) : value), z.array(item))
    .default([])

const secretKey = z.string().transform((value, context) => {
  const key = Buffer.from(value.trim(), /^[0-9a-f]{64,}$/i.test(value.trim()) ? 'hex' : 'base64')
  if (key.length < 32) {
    context.addIssue({ code: 'custom', message: 'each key must be at least 32 bytes, in base64 or hex' })
    return z.NEVER
  }
  return key
})

const resource = z.strictObject({
  identifier: z.url(),
  scopes: z.array(z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/)).min(1),
  access_token_format: z.enum(['jwt', 'opaque']).default('jwt'),
  access_token_seconds: z.number().int().positive().max(300).optional(),
})

/** A level of authentication: its name and the methods that reach it, those joined by + together. */
const level = z.strictObject({
  acr: z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/),
  methods: z
    .array(
      z
        .string()
        .regex(/^[a-z_]+(\+[a-z_]+)*$/, 'must be names of methods, joined by +')
        .transform((value) => value.split('+')),
    )
    .min(1),
  max_age_seconds: z.int().min(60).optional(),
})

const SECOND_FACTORS = ['totp', 'sms_code', 'recovery_code', 'device']
/** Weakest first. A mailbox is no second factor beside a password: whoever has it resets the password with it. */
const LEVELS = [
  { acr: 'urn:genkan:acr:basic', methods: ['pwd', 'email_code', 'passkey', 'upstream'] },
  {
    acr: 'urn:genkan:acr:mfa',
    methods: [
      'passkey',
      ...['pwd', 'email_code', 'upstream'].flatMap((first) => SECOND_FACTORS.map((second) => `${first}+${second}`)),
    ],
    max_age_seconds: 43_200,
  },
  { acr: 'phr', methods: ['passkey'], max_age_seconds: 43_200 },
]

const limit = (fallback: number) => z.int().min(0).default(fallback)

const headerName = z.string().regex(/^[A-Za-z][A-Za-z0-9-]{0,63}$/, 'write the name of a header, such as CF-IPCountry')

/** Text messages: the provider, and what they may cost. */
const sms = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).optional(),
  headers: z.record(z.string().regex(/^[!#$%&'*+.^`|~\w-]+$/), z.string()).default({}),
  body_template: z.record(z.string(), z.json()).default({ to: '{to}', text: '{text}', id: '{id}' }),
  timeout_seconds: z.int().min(1).max(60).default(10),
  countries: z
    .union([z.literal('any'), z.array(z.string().regex(/^[A-Z]{2}$/, 'must be two capital letters, like FI'))])
    .default([]),
  budget: z
    .strictObject({
      prefix_per_hour: limit(100),
      prefix_per_day: limit(500),
      country_per_hour: limit(1000),
      country_per_day: limit(5000),
    })
    .prefault({}),
  conversion: z
    .strictObject({ sample: z.int().min(5).default(50), least: z.number().min(0).max(1).default(0.2) })
    .prefault({}),
})

/** By https, or to this machine itself, where a test or a proxy may be. */
const vendorUrl = z.string().refine((value) => {
  if (!URL.canParse(value)) return false
  const { protocol, hostname, username, password } = new URL(value)
  return (protocol === 'https:' || (protocol === 'http:' && LOOPBACK.has(hostname))) && username + password === ''
}, 'must be an https URL')
/** A source of a Content-Security-Policy, and nothing that could end one. */
const source = z
  .string()
  .regex(
    /^(https:\/\/(\*\.)?[a-z0-9.-]+|http:\/\/(localhost|127\.0\.0\.1))(:\d{1,5})?(\/[\w./-]*)?$/,
    'must be an https origin, with *. in front or a path behind',
  )
const sources = z.array(source).max(20).optional()
/** Some widgets style themselves by markup, which a page of ours never does. */
const styleSources = z
  .array(z.union([source, z.literal("'unsafe-inline'")]))
  .max(20)
  .optional()
const visible = (most: number) =>
  z
    .string()
    .trim()
    .min(1)
    .max(most)
    .regex(/^[\x21-\x7e]+$/, 'must be printable, without spaces')
const VENDORS = ['turnstile', 'hcaptcha', 'recaptcha', 'friendly_captcha', 'custom'] as const

/** One after the other. */
const certificates = z
  .string()
  .transform((text) => text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [])
  .refine((found) => found.length > 0 && found.every(isCertificate), 'must be certificates in PEM')

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined
  } catch {
    return false
  }
}

/** Certificates of clients (RFC 8705), as a proxy that ends TLS passes them on. */
const mtls = z.strictObject({
  certificate_header: headerName,
  trusted_ca: certificates.optional(),
  origin: issuerSchema.optional(),
})

/** A CAPTCHA in place of the puzzle. */
const captcha = z.strictObject({
  vendor: z.enum(VENDORS),
  site_key: visible(200),
  secret: visible(500),
  script: vendorUrl.optional(),
  widget_class: z
    .string()
    .regex(/^[A-Za-z][\w-]*$/)
    .optional(),
  response_field: visible(100).optional(),
  verify_url: vendorUrl.optional(),
  secret_header: headerName.optional(),
  attributes: z
    .record(z.string().regex(/^data-[a-z][a-z0-9-]*$/, 'must be names like data-size'), z.string())
    .default({}),
  csp: z.strictObject({ frame: sources, connect: sources, style: styleSources }).prefault({}),
})

type CaptchaPreset = Omit<Captcha, 'vendor' | 'siteKey' | 'secret'>

/**
 * What each vendor's own documents say, as read in 2026-11; none of it was tried against a vendor.
 * - Turnstile: developers.cloudflare.com/turnstile, "Embed the widget", "Validate the token", "Content Security Policy"
 * - hCaptcha: docs.hcaptcha.com, "Developer Guide" and "Configuration"
 * - reCAPTCHA v2 (checkbox): developers.google.com/recaptcha/docs, "display", "verify", and the FAQ's "Content-Security-Policy"
 * - Friendly Captcha v2: developer.friendlycaptcha.com/docs/v2, "Install the widget", "siteverify", "Content Security Policy"
 */
const CAPTCHAS: { readonly [vendor: string]: CaptchaPreset } = {
  turnstile: {
    script: 'https://challenges.cloudflare.com/turnstile/v0/api.js',
    widgetClass: 'cf-turnstile',
    attributes: {},
    responseField: 'cf-turnstile-response',
    verifyUrl: 'https://challenges.cloudflare.com/turnstile/v0/siteverify',
    sendsSiteKey: false,
    sources: { frame: ['https://challenges.cloudflare.com'], connect: [], style: [] },
  },
  hcaptcha: {
    script: 'https://js.hcaptcha.com/1/api.js?recaptchacompat=off&hl={locale}',
    widgetClass: 'h-captcha',
    attributes: {},
    responseField: 'h-captcha-response',
    verifyUrl: 'https://api.hcaptcha.com/siteverify',
    sendsSiteKey: true,
    sources: {
      frame: ['https://hcaptcha.com', 'https://*.hcaptcha.com'],
      connect: ['https://hcaptcha.com', 'https://*.hcaptcha.com'],
      style: ['https://hcaptcha.com', 'https://*.hcaptcha.com'],
    },
  },
  recaptcha: {
    script: 'https://www.google.com/recaptcha/api.js?hl={locale}',
    widgetClass: 'g-recaptcha',
    attributes: {},
    responseField: 'g-recaptcha-response',
    verifyUrl: 'https://www.google.com/recaptcha/api/siteverify',
    sendsSiteKey: false,
    sources: {
      frame: ['https://www.google.com/recaptcha/', 'https://recaptcha.google.com/recaptcha/'],
      connect: [],
      style: [],
    },
  },
  friendly_captcha: {
    // The build that needs no modules: a script of it can be told from one that failed to load.
    script: 'https://cdn.jsdelivr.net/npm/@friendlycaptcha/sdk@0.2.0/site.compat.min.js',
    widgetClass: 'frc-captcha',
    attributes: { 'data-start': 'auto' },
    responseField: 'frc-captcha-response',
    verifyUrl: 'https://global.frcapi.com/api/v2/captcha/siteverify',
    secretHeader: 'X-API-Key',
    sendsSiteKey: true,
    sources: { frame: ['https://*.frcapi.com'], connect: [], style: [] },
  },
}

/** Have I Been Pwned, by ranges of five hex digits. */
const RANGE_API = 'https://api.pwnedpasswords.com/range/'

const enrolment = z.enum(['none', 'optional', 'required'])

/** `clients` entries are checked by the clients feature, which knows their metadata; here only that they name themselves. */
const clientDeclaration = z.looseObject({ client_id: z.string().min(1) })

/** The upstreams feature checks the rest. */
const upstreamDeclaration = z.looseObject({ name: z.string().min(1) })

/** The realms feature checks the rest. */
const realmDeclaration = z.looseObject({ domain: z.string().min(1) })

/** The proofings feature checks the rest. */
const proofingDeclaration = z.looseObject({ name: z.string().min(1) })

/** `platform/assertion_issuers` checks the rest. */
const assertionIssuerDeclaration = z.looseObject({ issuer: z.string().min(1) })

/** `platform/authorization_details` checks the rest. */
const detailTypeDeclaration = z.looseObject({ type: z.string().min(1) })

/** An address, with a port where it is not 53. */
const dnsServer = z
  .string()
  .regex(/^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\])(:\d{1,5})?$/, 'must be an address or address:port')

/** The brands feature checks the rest. */
const brandDeclaration = z.looseObject({ id: z.string().min(1) })

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
  scope: scopeNames.default('openid profile email'),
  resources: z.array(z.url()).max(50).default([]),
  loopback_redirects: z.boolean().default(true),
  redirect_schemes: registrationPolicy.shape.redirect_schemes,
})

/** Somebody of the support, by the hash that `genkan support key` prints. */
const supporter = z.strictObject({
  name: z.string().regex(/^[\w.-]{1,64}$/, 'write letters, digits, "_", "." and "-", 64 at the most'),
  key_hash: z.string().regex(/^[\w-]{43}$/, 'write the hash that "genkan support key" printed'),
})

function distinct(people: readonly z.output<typeof supporter>[]): boolean {
  const once = (values: readonly string[]) => new Set(values).size === values.length
  return once(people.map(({ name }) => name)) && once(people.map((person) => person.key_hash))
}

const supporterOf = ({ name, key_hash }: z.output<typeof supporter>) => ({ name, keyHash: key_hash })

const schema = z.strictObject({
  issuer: issuerSchema,
  port: z.coerce.number().int().min(0).max(65535).default(3000),
  host: z.string().default('0.0.0.0'),
  management_port: z.coerce.number().int().min(0).max(65535).default(9464),
  management_host: z.string().default('127.0.0.1'),
  data_dir: z.string().default('.data'),
  database_url: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
  redis_url: z.url({ protocol: /^rediss?$/ }).optional(),
  smtp_url: z.url({ protocol: /^smtps?$/ }).optional(),
  mail_from: z.string().default('Genkan <no-reply@localhost>'),
  secret_keys: csv(secretKey),
  trusted_proxies: csv(cidr),
  country_header: headerName.optional(),
  asn_header: headerName.optional(),
  mtls: mtls.optional(),
  legacy_profile: z.stringbool().or(z.boolean()).default(false),
  outbound_private_networks: csv(cidr),
  log_level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  database_pool: z.coerce.number().int().min(1).max(200).default(10),
  // The whole of a stop takes 30 seconds at the most, and requests in flight need some of them.
  drain_seconds: z.coerce.number().min(0).max(20).default(2),
  worker_blocked_seconds: z.number().min(1).max(600).default(5),
  connections_per_address: z.number().int().min(1).max(1_000_000).default(1000),
  passwords: z
    .strictObject({
      memory_kib: z.coerce.number().int().min(7168).max(1_048_576).default(19_456),
      passes: z.coerce.number().int().min(1).max(20).default(2),
      parallelism: z.coerce.number().int().min(1).max(16).default(1),
      min_length: z.coerce.number().int().min(8).max(64).default(8),
      max_concurrent: z.coerce.number().int().min(1).max(64).optional(),
      queue_ms: z.coerce.number().int().min(10).max(10_000).default(1000),
      breached_file: z.string().min(1).optional(),
      breached_api: z.union([z.boolean(), z.url({ protocol: /^https?$/ })]).default(false),
    })
    .prefault({}),
  registration: z.strictObject({ password: z.enum(['optional', 'required']).default('optional') }).prefault({}),
  sessions: z
    .strictObject({ idle_seconds: seconds(8 * 3600, 60), absolute_seconds: seconds(30 * 86_400, 60) })
    .prefault({}),
  tokens: z
    .strictObject({
      access_token_seconds: seconds(3600),
      jwt_access_token_seconds: seconds(300).pipe(z.number().max(300)),
      code_seconds: seconds(60).pipe(z.number().max(600)),
      interaction_seconds: seconds(3600, 60),
      refresh_idle_seconds: seconds(14 * 86_400),
      refresh_absolute_seconds: seconds(90 * 86_400),
      refresh_grace_seconds: seconds(15, 0).pipe(z.number().max(60)),
    })
    .prefault({}),
  limits: z
    .strictObject({
      sign_in_per_address: z.coerce.number().int().positive().default(100),
      sign_in_per_identifier: z.coerce.number().int().positive().default(10),
      sign_in_per_device: z.coerce.number().int().positive().default(10),
      sign_in_per_subnet: z.coerce.number().int().positive().default(500),
      sign_in_per_asn: z.coerce.number().int().positive().default(1500),
      sign_in_per_client: z.coerce.number().int().positive().default(2500),
      sign_in_in_all: z.coerce.number().int().positive().default(10_000),
      requests_per_address: z.coerce.number().int().positive().default(60),
      requests_per_subnet: z.coerce.number().int().positive().default(300),
      requests_per_asn: z.coerce.number().int().positive().default(900),
      requests_per_client: z.coerce.number().int().positive().default(1500),
      requests_in_all: z.coerce.number().int().positive().default(6000),
      challenge_at_percent: z.coerce.number().int().min(1).max(100).default(50),
      window_seconds: seconds(600),
      client_requests: z.coerce.number().int().positive().optional(),
      client_seconds: seconds(60).pipe(z.number().max(86_400)),
      client_tokens_per_day: z.coerce.number().int().positive().optional(),
    })
    .prefault({}),
  levels: z.array(level).min(1).prefault(LEVELS),
  scope_levels: z.record(z.string(), z.string()).default({}),
  second_factor: z
    .strictObject({
      policy: enrolment.default('optional'),
      grace: z.int().min(0).max(100).default(0),
      email_domains: z.record(z.string().toLowerCase(), enrolment).default({}),
    })
    .prefault({}),
  passkeys: z.strictObject({ related_origins: z.array(relatedOrigin).max(50).default([]) }).prefault({}),
  recovery: z
    .strictObject({
      waiting_hours: z.coerce.number().int().min(24).max(720).default(72),
      support: z.array(supporter).refine(distinct, 'everybody once, with a key of their own').default([]),
    })
    .prefault({}),
  sms: sms.optional(),
  captcha: captcha.optional(),
  agents: z.strictObject({ idle_days: days(90) }).prefault({}),
  approvals: z
    .strictObject({
      open_per_account: z.coerce.number().int().positive().default(3),
      requests_per_client: z.coerce.number().int().positive().default(6),
    })
    .prefault({}),
  retention: z
    .strictObject({
      ip_days: z.coerce.number().int().positive().default(30),
      pending_account_days: z.coerce.number().int().positive().default(7),
      delivery_days: z.coerce.number().int().positive().default(7),
      audit: z
        .strictObject({
          security: days(1095),
          authentication: days(365),
          account: days(1095),
          consent: days(2190),
          administration: days(2190),
          delivery: days(90),
        })
        .prefault({}),
    })
    .prefault({}),
  modules: z
    .strictObject({
      registration: z.boolean().default(true),
      recovery: z.boolean().default(true),
      account_pages: z.boolean().default(true),
    })
    .prefault({}),
  dev_pages: z.stringbool().or(z.boolean()).default(false),
  conformance: z.strictObject({ ciba_hook: z.boolean().default(false) }).prefault({}),
  templates_dir: z.string().optional(),
  resources: z.array(resource).default([]),
  authorization_details_types: z.array(detailTypeDeclaration).max(50).default([]),
  clients: z.array(clientDeclaration).default([]),
  brands: z.array(brandDeclaration).default([]),
  upstreams: z.array(upstreamDeclaration).default([]),
  realms: z.array(realmDeclaration).default([]),
  proofings: z.array(proofingDeclaration).default([]),
  assertion_issuers: z.array(assertionIssuerDeclaration).default([]),
  dns_servers: z.array(dnsServer).max(10).default([]),
  client_registration: clientRegistration.optional(),
  client_id_metadata_documents: clientDocuments.optional(),
})

type Settings = z.output<typeof schema>
export type ResourceDeclaration = Settings['resources'][number]
export type ClientDeclaration = Settings['clients'][number]
export type BrandDeclaration = Settings['brands'][number]
export type UpstreamDeclaration = Settings['upstreams'][number]
export type RealmDeclaration = Settings['realms'][number]
export type ProofingDeclaration = Settings['proofings'][number]

interface Budgets {
  readonly address: number
  readonly subnet: number
  /** From so many in the window on, everybody who comes from the autonomous system shows a proof of work. */
  readonly asn: number
  /** The same for everybody who comes by the client, or by any. */
  readonly client: number
  readonly all: number
}

/** The one frozen configuration. Sizes in bytes unless named, times in seconds unless named. */
export interface Config {
  readonly issuer: string
  /** Whether the issuer is served over https; only a loopback issuer may be http. */
  readonly https: boolean
  readonly port: number
  readonly host: string
  readonly managementPort: number
  readonly managementHost: string
  readonly dataDir: string
  readonly databaseUrl: string | undefined
  readonly redisUrl: string | undefined
  readonly smtpUrl: string | undefined
  readonly mailFrom: string
  /** Newest first: the first seals, all open. */
  readonly secretKeys: readonly Buffer[]
  readonly trustedProxies: readonly string[]
  /** By which trusted proxies say the country of an address (ISO 3166-1 alpha-2). */
  readonly countryHeader?: string | undefined
  /** By which trusted proxies say the number of the autonomous system of an address. */
  readonly asnHeader?: string | undefined
  /** Certificates of clients; without, there are none. */
  readonly mtls: MutualTls | undefined
  /** Whether clients may be of the profile `legacy`. */
  readonly legacyProfile: boolean
  readonly outboundPrivateNetworks: readonly string[]
  readonly logLevel: Settings['log_level']
  readonly databasePool: number
  /** Milliseconds for which connections are still taken after `/readyz` has turned 503. */
  readonly drainMs: number
  /** Milliseconds of silence after which a worker is taken for blocked. */
  readonly workerBlockedMs: number
  /** Connections that one address may hold; trusted proxies hold those of everybody. */
  readonly connectionsPerAddress: number
  /** No `DATABASE_URL`: PGlite in the data directory. */
  readonly embedded: boolean
  readonly production: boolean
  readonly passwords: {
    readonly memoryKib: number
    readonly passes: number
    readonly parallelism: number
    readonly minLength: number
    readonly maxConcurrent: number
    readonly queueMs: number
    /** Sorted SHA-1 hashes of passwords that were breached elsewhere. */
    readonly breachedFile?: string | undefined
    /** Base address of a range API for such hashes. */
    readonly breachedApi?: string | undefined
  }
  readonly registration: Settings['registration']
  readonly sessions: { readonly idleSeconds: number; readonly absoluteSeconds: number }
  readonly tokens: {
    readonly accessTokenSeconds: number
    readonly jwtAccessTokenSeconds: number
    readonly codeSeconds: number
    readonly interactionSeconds: number
    readonly refreshIdleSeconds: number
    readonly refreshAbsoluteSeconds: number
    readonly refreshGraceSeconds: number
  }
  readonly limits: {
    readonly windowSeconds: number
    /** At which part of a limit a proof of work is asked for; 100: never. */
    readonly challengeAtPercent: number
    /** Tries at one identifier, and from a device that its account knows; failures of the others. */
    readonly signIn: Budgets & { readonly identifier: number; readonly device: number }
    /** Registrations, and recoveries. */
    readonly request: Budgets
    /** What a client may ask that has no limits of its own; without a number, as much as it likes. */
    readonly client: {
      readonly requests: number | undefined
      readonly seconds: number
      readonly tokensPerDay: number | undefined
    }
  }
  /** Levels of authentication, weakest first; each set of methods reaches its level. */
  readonly levels: readonly {
    readonly acr: string
    readonly methods: readonly (readonly string[])[]
    readonly maxAge?: number | undefined
  }[]
  /** The level that a scope demands of whoever signs in. */
  readonly scopeLevels: { readonly [scope: string]: string }
  /** Which accounts must have a second factor, when their client does not say. */
  /** Origins beside the issuer's whose pages may use its passkeys. */
  readonly passkeys: { readonly relatedOrigins: readonly string[] }
  readonly secondFactor: {
    readonly policy: 'none' | 'optional' | 'required'
    /** Sign-ins for which it may be put off. */
    readonly grace: number
    readonly emailDomains: { readonly [domain: string]: 'none' | 'optional' | 'required' }
  }
  readonly recovery: {
    /** Hours from asking for the removal of lost second factors until a sign-in may complete it. */
    readonly waitingHours: number
    /** Who may end the waiting, two together. */
    readonly support: readonly { readonly name: string; readonly keyHash: string }[]
  }
  /** Text messages; without, no code is sent to a phone. */
  readonly sms: Sms | undefined
  /** Whose CAPTCHA takes the place of the puzzle. */
  readonly captcha: Captcha | undefined
  /** Days after which a right that an agent does not use is taken back. */
  readonly agents: { readonly idleDays: number }
  /** What waits for an account's answer at once, and how often a client reaches one account in a window of the limits. */
  readonly approvals: { readonly openPerAccount: number; readonly requestsPerClient: number }
  readonly retention: {
    readonly ipDays: number
    readonly pendingAccountDays: number
    readonly deliveryDays: number
    /** Days for which facts of each class (`events.ts`) are kept in the audit ledger. */
    readonly audit: Settings['retention']['audit']
  }
  /** What an operator may switch off. What is off is not built. */
  readonly modules: { readonly registration: boolean; readonly recovery: boolean; readonly accountPages: boolean }
  /** The path that people are led to when no client is: the account pages, or the front page without them. */
  readonly home: '/account' | '/'
  readonly resources: readonly ResourceDeclaration[]
  /** What clients may ask people for in detail (RFC 9396), as declared. */
  readonly detailTypes: Settings['authorization_details_types']
  readonly clients: readonly ClientDeclaration[]
  /** Shows every page and mail at /dev/pages, from fixtures. On a loopback issuer only. */
  readonly devPages: boolean
  /** What only the conformance suite may do: answer what clients ask of people. On a loopback issuer, or with CONFORMANCE=1. */
  readonly conformance: { readonly cibaHook: boolean }
  /** Their files by absolute path. */
  readonly brands: readonly BrandDeclaration[]
  readonly upstreams: readonly UpstreamDeclaration[]
  readonly realms: readonly RealmDeclaration[]
  readonly proofings: readonly ProofingDeclaration[]
  /** Issuers whose signed word is taken as a grant. */
  readonly assertionIssuers: Settings['assertion_issuers']
  /** How clients may register themselves; without, none may. */
  readonly clientRegistration: ClientRegistration | undefined
  /** Whose documents are clients; without, none are. */
  readonly clientDocuments: ClientDocuments | undefined
  /** Whom the records of realms are asked of; without any, the system's. */
  readonly dnsServers: readonly string[]
  /** A folder of templates that stand in front of ours. */
  readonly templatesDir: string | undefined
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
  readonly scope: string
  readonly resources: readonly string[]
  readonly loopbackRedirects: boolean
  readonly redirectSchemes: readonly string[]
}

export interface MutualTls {
  /** By which trusted proxies pass the client's certificate on. */
  readonly certificateHeader: string
  /** PEM of the authorities whose certificates `tls_client_auth` believes. */
  readonly trustedCa: readonly string[]
  /** Where certificates are asked for, when that is not the issuer (RFC 8705 §5). */
  readonly origin: string | undefined
}

export interface Captcha {
  readonly vendor: (typeof VENDORS)[number]
  readonly siteKey: string
  readonly secret: string
  /** The header that the secret goes in, in place of a field. */
  readonly secretHeader?: string | undefined
  readonly script: string
  readonly widgetClass: string
  readonly attributes: { readonly [name: string]: string }
  readonly responseField: string
  readonly verifyUrl: string
  readonly sendsSiteKey: boolean
  readonly sources: {
    readonly frame: readonly string[]
    readonly connect: readonly string[]
    readonly style: readonly string[]
  }
}

export interface Sms {
  /** Without a provider, messages are files in the data directory. */
  readonly provider:
    | {
        readonly url: string
        readonly headers: { readonly [name: string]: string }
        readonly bodyTemplate: z.output<typeof sms>['body_template']
        readonly timeoutSeconds: number
      }
    | undefined
  readonly countries: 'any' | readonly string[]
  /** Messages to one prefix and to one country. */
  readonly budget: {
    readonly prefixPerHour: number
    readonly prefixPerDay: number
    readonly countryPerHour: number
    readonly countryPerDay: number
  }
  readonly conversion: { readonly sample: number; readonly least: number }
}

export type Environment = { readonly [name: string]: string | undefined }

/** Environment names and the setting each one is for. */
const VARIABLES: { readonly [name: string]: string } = {
  GENKAN_ISSUER: 'issuer',
  PORT: 'port',
  HOST: 'host',
  MANAGEMENT_PORT: 'management_port',
  MANAGEMENT_HOST: 'management_host',
  DATA_DIR: 'data_dir',
  DATABASE_URL: 'database_url',
  REDIS_URL: 'redis_url',
  SMTP_URL: 'smtp_url',
  GENKAN_MAIL_FROM: 'mail_from',
  GENKAN_SECRET_KEYS: 'secret_keys',
  TRUSTED_PROXIES: 'trusted_proxies',
  COUNTRY_HEADER: 'country_header',
  ASN_HEADER: 'asn_header',
  GENKAN_OUTBOUND_PRIVATE_NETWORKS: 'outbound_private_networks',
  GENKAN_LOG_LEVEL: 'log_level',
  GENKAN_DATABASE_POOL: 'database_pool',
  GENKAN_DRAIN_SECONDS: 'drain_seconds',
  GENKAN_DEV_PAGES: 'dev_pages',
  GENKAN_TEMPLATES_DIR: 'templates_dir',
}
/** Read by this file or by the command line, but not settings of the schema. */
const OTHER_VARIABLES = ['GENKAN_CONFIG', 'GENKAN_EMBEDDED', 'NODE_ENV', 'CONFORMANCE']

/**
 * Reads, checks and freezes the configuration. `file` stands in front of GENKAN_CONFIG.
 * @throws {ConfigError} with every problem, each with its path and, for unknown keys, the nearest valid one.
 */
export function loadConfig(given: Environment = process.env, file?: string): Config {
  const env = file === undefined ? given : { ...given, GENKAN_CONFIG: file }
  const problems: string[] = []
  const fromFile = readFileSettings(env, problems)
  const fromEnv = readEnvironment(env, problems)
  const parsed = schema.safeParse({ issuer: 'http://localhost:3000', ...fromFile, ...fromEnv })
  if (!parsed.success) problems.push(...describe(parsed.error))
  if (problems.length > 0 || !parsed.success) throw new ConfigError(problems)
  const settings = parsed.data
  problems.push(...crossChecks(settings, env))
  if (problems.length > 0) throw new ConfigError(problems)
  return deepFreeze(build(settings, env, secretKeys(settings)))
}

function settingsPath(env: Environment): string | undefined {
  return env.GENKAN_CONFIG ?? (existsSync('genkan.yaml') ? 'genkan.yaml' : undefined)
}

function readFileSettings(env: Environment, problems: string[]): Record<string, unknown> {
  const path = settingsPath(env)
  if (path === undefined) return {}
  try {
    const value: unknown = parseYaml(readFileSync(path, 'utf8'), { merge: true })
    if (value === null || value === undefined) return {}
    if (typeof value !== 'object' || Array.isArray(value)) throw new Error('is not a mapping')
    return resolveReferences(value, env, path, problems) as Record<string, unknown>
  } catch (error) {
    const reason = error instanceof YAMLParseError ? error.message.split('\n')[0] : (error as Error).message
    problems.push(`${path}: ${reason}`)
    return {}
  }
}

/** `${env:NAME}` and `${file:/path}` keep secrets out of the file. */
function resolveReferences(value: unknown, env: Environment, path: string, problems: string[]): unknown {
  if (Array.isArray(value)) return value.map((item, i) => resolveReferences(item, env, `${path}[${i}]`, problems))
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, resolveReferences(item, env, `${path}.${key}`, problems)]),
    )
  }
  if (typeof value !== 'string') return value
  return value.replace(/\$\{(env|file):([^}]+)\}/g, (_, kind: string, name: string) => {
    const found = kind === 'env' ? env[name] : readSecretFile(name)
    if (found === undefined) problems.push(`${path}: \${${kind}:${name}} is not there`)
    return found ?? ''
  })
}

function readSecretFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined
  }
}

function readEnvironment(env: Environment, problems: string[]): Record<string, unknown> {
  const settings: Record<string, unknown> = {}
  for (const [name, key] of Object.entries(VARIABLES)) {
    const file = env[`${name}_FILE`]
    if (env[name] !== undefined && file !== undefined) problems.push(`${name}: set either ${name} or ${name}_FILE`)
    const value = env[name] ?? (file === undefined ? undefined : readSecretFile(file))
    if (file !== undefined && value === undefined) problems.push(`${name}_FILE: cannot read ${file}`)
    if (value !== undefined && value !== '') settings[key] = value
  }
  const known = [...Object.keys(VARIABLES), ...OTHER_VARIABLES]
  for (const name of Object.keys(env)) {
    const bare = name.replace(/_FILE$/, '')
    if (!name.startsWith('GENKAN_') || known.includes(bare) || name.startsWith('GENKAN_TEST_')) continue
    problems.push(`${name}: unknown variable${suggestion(bare, known)}`)
  }
  return settings
}

function describe(error: z.ZodError): string[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.join('.')
    if (issue.code !== 'unrecognized_keys') return [`${path || '(root)'}: ${issue.message}`]
    const known = Object.keys(shapeAt(issue.path))
    return issue.keys.map((key) => `${path ? `${path}.` : ''}${key}: unknown key${suggestion(key, known)}`)
  })
}

function shapeAt(path: readonly PropertyKey[]): Record<string, unknown> {
  let current: unknown = schema
  for (const part of path) current = inner(current, part)
  return shapeOf(current) ?? {}
}

function shapeOf(type: unknown): Record<string, unknown> | undefined {
  const def = (type as { def?: { shape?: Record<string, unknown>; innerType?: unknown } } | undefined)?.def
  return def?.shape ?? (def?.innerType === undefined ? undefined : shapeOf(def.innerType))
}

function inner(type: unknown, part: PropertyKey): unknown {
  if (typeof part === 'number') {
    const def = (type as { def?: { element?: unknown; innerType?: unknown } } | undefined)?.def
    return def?.element ?? (def?.innerType === undefined ? undefined : inner(def.innerType, part))
  }
  return shapeOf(type)?.[String(part)]
}

/** `, did you mean …?` when one of the known names is near. */
export function suggestion(key: string, known: readonly string[]): string {
  const best = known.map((name) => ({ name, cost: distance(key, name) })).sort((a, b) => a.cost - b.cost)[0]
  return best !== undefined && best.cost <= Math.max(2, key.length / 3) ? `, did you mean ${best.name}?` : ''
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replace))
    }
    row = next
  }
  return row[b.length] ?? 0
}

function crossChecks(settings: Settings, env: Environment): string[] {
  const problems: string[] = []
  const embedded = settings.database_url === undefined
  if (embedded && env.NODE_ENV === 'production' && env.GENKAN_EMBEDDED !== '1') {
    problems.push(
      'DATABASE_URL: production needs PostgreSQL (GENKAN_EMBEDDED=1 runs the embedded database all the same)',
    )
  }
  if (embedded && settings.redis_url !== undefined) problems.push('REDIS_URL: needs DATABASE_URL too')
  if (settings.sessions.idle_seconds > settings.sessions.absolute_seconds) {
    problems.push('sessions.idle_seconds: is longer than sessions.absolute_seconds')
  }
  if (!embedded && settings.secret_keys.length === 0) {
    problems.push('GENKAN_SECRET_KEYS: PostgreSQL needs at least one key (openssl rand -base64 32)')
  }
  if (settings.dev_pages && !LOOPBACK.has(new URL(settings.issuer).hostname)) {
    problems.push('GENKAN_DEV_PAGES: is for a loopback issuer only')
  }
  const isLoopback = LOOPBACK.has(new URL(settings.issuer).hostname)
  if (settings.conformance.ciba_hook && !isLoopback && env.CONFORMANCE !== '1') {
    problems.push(
      'conformance.ciba_hook: answers in the place of people: for a loopback issuer, or with CONFORMANCE=1 in the environment',
    )
  }
  if (settings.mtls !== undefined && settings.trusted_proxies.length === 0) {
    problems.push('mtls: needs trusted_proxies; anybody else could put a certificate into the header')
  }
  problems.push(...levelProblems(settings), ...smsProblems(settings, env), ...captchaProblems(settings))
  problems.push(...admissionProblems(settings))
  const twice = settings.clients.map((c) => c.client_id).filter((id, i, all) => all.indexOf(id) !== i)
  for (const id of new Set(twice)) problems.push(`clients: ${id} is declared twice`)
  const brands = settings.brands.map(({ id }) => id)
  const brandTwice = brands.filter((id, i) => brands.indexOf(id) !== i)
  for (const id of new Set(brandTwice)) problems.push(`brands: ${id} is declared twice`)
  const upstreams = settings.upstreams.map(({ name }) => name)
  const upstreamTwice = upstreams.filter((name, i) => upstreams.indexOf(name) !== i)
  for (const name of new Set(upstreamTwice)) problems.push(`upstreams: ${name} is declared twice`)
  return problems
}

function smsProblems({ sms, database_url: database }: Settings, env: Environment): string[] {
  if (sms === undefined) return []
  const template = JSON.stringify(sms.body_template)
  const lacking = ['{to}', '{text}'].filter((name) => !template.includes(name))
  return [
    ...lacking.map((name) => `sms.body_template: names no ${name}`),
    ...(sms.url === undefined && (database !== undefined || env.NODE_ENV === 'production')
      ? ['sms.url: is missing; messages as files are for the embedded database outside of production']
      : []),
  ]
}

/** What a preset would say. */
const OWN_VENDOR = ['script', 'widget_class', 'response_field', 'verify_url'] as const

function captchaProblems({ captcha: given }: Settings): string[] {
  if (given?.vendor !== 'custom') return []
  const missing = OWN_VENDOR.filter((name) => given[name] === undefined)
  return missing.map((name) => `captcha.${name}: is needed for a vendor that Genkan has no preset of`)
}

function levelProblems({ levels, scope_levels: ofScopes }: Settings): string[] {
  const acrs = levels.map(({ acr }) => acr)
  const twice = acrs.filter((acr, i) => acrs.indexOf(acr) !== i)
  const unknown = Object.entries(ofScopes).filter(([, acr]) => !acrs.includes(acr))
  return [
    ...[...new Set(twice)].map((acr) => `levels: ${acr} is there twice`),
    ...unknown.map(
      ([scope, acr]) => `scope_levels.${scope}: ${acr} is none of ${acrs.join(', ')}${suggestion(acr, acrs)}`,
    ),
  ]
}

/** On the embedded default the first start makes a key; data without its key is refused, never re-keyed. */
function secretKeys(settings: Settings): readonly Buffer[] {
  if (settings.secret_keys.length > 0) return settings.secret_keys
  const directory = resolve(settings.data_dir)
  const path = join(directory, 'secret.key')
  if (!existsSync(path)) {
    if (existsSync(join(directory, 'db'))) {
      throw new ConfigError([`${path}: the data directory has data but its key is missing; restore it, or start empty`])
    }
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    writeFileSync(path, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600, flag: 'wx' })
  }
  const keys = readFileSync(path, 'utf8')
    .split(/\s+/)
    .filter(Boolean)
    .map((line) => Buffer.from(line, 'base64'))
  if (keys.length === 0 || keys.some((key) => key.length < 32)) {
    throw new ConfigError([`${path}: holds no key of at least 32 bytes in base64; restore it from a backup`])
  }
  return keys
}

function mtlsOf({ mtls: given }: Settings): Config['mtls'] {
  if (given === undefined) return undefined
  const { certificate_header: header, trusted_ca: trustedCa = [], origin } = given
  return { certificateHeader: header.toLowerCase(), trustedCa, origin }
}

function registrationOf({ client_registration: given }: Settings): ClientRegistration | undefined {
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

function documentsOf({ client_id_metadata_documents: given }: Settings): ClientDocuments | undefined {
  if (given === undefined) return undefined
  const { hosts, scope, resources, loopback_redirects: loopbackRedirects, redirect_schemes: redirectSchemes } = given
  return { hosts, scope, resources, loopbackRedirects, redirectSchemes }
}

/** Resource servers that a policy or documents name must be there: else no client could be made by it. */
function admissionProblems({
  resources,
  client_registration: registration,
  client_id_metadata_documents: documents,
}: Settings) {
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

function tokensOf({ tokens }: Settings): Config['tokens'] {
  return {
    accessTokenSeconds: tokens.access_token_seconds,
    jwtAccessTokenSeconds: tokens.jwt_access_token_seconds,
    codeSeconds: tokens.code_seconds,
    interactionSeconds: tokens.interaction_seconds,
    refreshIdleSeconds: tokens.refresh_idle_seconds,
    refreshAbsoluteSeconds: tokens.refresh_absolute_seconds,
    refreshGraceSeconds: tokens.refresh_grace_seconds,
  }
}

function retentionOf({ retention }: Settings): Config['retention'] {
  const { ip_days: ipDays, pending_account_days: pendingAccountDays, delivery_days: deliveryDays, audit } = retention
  return { ipDays, pendingAccountDays, deliveryDays, audit }
}

function build(s: Settings, env: Environment, keys: readonly Buffer[]): Config {
  return {
    issuer: s.issuer,
    https: s.issuer.startsWith('https:'),
    port: s.port,
    host: s.host,
    managementPort: s.management_port,
    managementHost: s.management_host,
    dataDir: resolve(s.data_dir),
    databaseUrl: s.database_url,
    redisUrl: s.redis_url,
    smtpUrl: s.smtp_url,
    mailFrom: s.mail_from,
    secretKeys: keys,
    trustedProxies: s.trusted_proxies,
    mtls: mtlsOf(s),
    legacyProfile: s.legacy_profile,
    countryHeader: s.country_header,
    asnHeader: s.asn_header,
    // A provider on a loopback issuer is somebody's own machine: its clients are there too.
    outboundPrivateNetworks: s.issuer.startsWith('http:')
      ? [...s.outbound_private_networks, '127.0.0.0/8', '::1']
      : s.outbound_private_networks,
    logLevel: s.log_level,
    ...processOf(s),
    embedded: s.database_url === undefined,
    production: env.NODE_ENV === 'production',
    passwords: {
      memoryKib: s.passwords.memory_kib,
      passes: s.passwords.passes,
      parallelism: s.passwords.parallelism,
      minLength: s.passwords.min_length,
      // Signing and DNS share the thread pool with hashing: leave two threads and one core to them.
      maxConcurrent: s.passwords.max_concurrent ?? Math.max(1, Math.min(availableParallelism() - 1, threads(env) - 2)),
      queueMs: s.passwords.queue_ms,
      breachedFile: breachedFile(s.passwords.breached_file, env),
      breachedApi: s.passwords.breached_api === true ? RANGE_API : s.passwords.breached_api || undefined,
    },
    registration: s.registration,
    sessions: { idleSeconds: s.sessions.idle_seconds, absoluteSeconds: s.sessions.absolute_seconds },
    tokens: tokensOf(s),
    limits: limitsOf(s.limits),
    levels: s.levels.map((row) => ({ ...row, maxAge: row.max_age_seconds })),
    scopeLevels: s.scope_levels,
    secondFactor: { ...s.second_factor, emailDomains: s.second_factor.email_domains },
    passkeys: { relatedOrigins: s.passkeys.related_origins },
    recovery: { waitingHours: s.recovery.waiting_hours, support: s.recovery.support.map(supporterOf) },
    sms: smsOf(s, env),
    captcha: s.captcha === undefined ? undefined : captchaOf(s.captcha),
    agents: { idleDays: s.agents.idle_days },
    ...backchannelOf(s),
    retention: retentionOf(s),
    modules: modulesOf(s),
    home: s.modules.account_pages ? '/account' : '/',
    resources: s.resources,
    detailTypes: s.authorization_details_types,
    clients: s.clients,
    devPages: s.dev_pages,
    ...{ upstreams: s.upstreams, realms: s.realms, proofings: s.proofings, dnsServers: s.dns_servers },
    assertionIssuers: s.assertion_issuers,
    clientRegistration: registrationOf(s),
    clientDocuments: documentsOf(s),
    brands: s.brands.map((brand) => withAbsoluteFiles(brand, dirname(settingsPath(env) ?? '.'))),
    templatesDir: s.templates_dir === undefined ? undefined : resolve(s.templates_dir),
  }
}

function processOf(
  s: Settings,
): Pick<Config, 'databasePool' | 'drainMs' | 'workerBlockedMs' | 'connectionsPerAddress'> {
  return {
    databasePool: s.database_pool,
    drainMs: s.drain_seconds * 1000,
    workerBlockedMs: s.worker_blocked_seconds * 1000,
    connectionsPerAddress: s.connections_per_address,
  }
}

function backchannelOf({ approvals, conformance }: Settings): Pick<Config, 'approvals' | 'conformance'> {
  const { open_per_account: openPerAccount, requests_per_client: requestsPerClient } = approvals
  return { approvals: { openPerAccount, requestsPerClient }, conformance: { cibaHook: conformance.ciba_hook } }
}

function modulesOf({ modules }: Settings): Config['modules'] {
  return { registration: modules.registration, recovery: modules.recovery, accountPages: modules.account_pages }
}

/** On the embedded default every country is served, to files; in production only who says so sends anything. */
function smsOf({ sms: given, database_url: database }: Settings, env: Environment): Sms | undefined {
  const isDemo = database === undefined && env.NODE_ENV !== 'production'
  if (given === undefined && !isDemo) return undefined
  const s = given ?? sms.parse({ countries: 'any' })
  const { budget, conversion, countries } = s
  return {
    provider:
      s.url === undefined
        ? undefined
        : { url: s.url, headers: s.headers, bodyTemplate: s.body_template, timeoutSeconds: s.timeout_seconds },
    countries,
    budget: {
      prefixPerHour: budget.prefix_per_hour,
      prefixPerDay: budget.prefix_per_day,
      countryPerHour: budget.country_per_hour,
      countryPerDay: budget.country_per_day,
    },
    conversion,
  }
}

/** Of a vendor that the file describes: its widget may do what it does at the origin of its script. */
function presetOf(script: string): CaptchaPreset {
  const { origin } = new URL(script)
  const said = { widgetClass: '', responseField: '', verifyUrl: '' }
  return {
    ...said,
    script,
    attributes: {},
    sendsSiteKey: false,
    sources: { frame: [origin], connect: [origin], style: [] },
  }
}

/** The vendor's preset, and in front of it whatever the file says. */
function captchaOf(s: NonNullable<Settings['captcha']>): Captcha {
  const preset = CAPTCHAS[s.vendor] ?? presetOf(s.script ?? '')
  const { frame, connect, style } = s.csp
  return {
    ...preset,
    ...{ vendor: s.vendor, siteKey: s.site_key, secret: s.secret },
    script: s.script ?? preset.script,
    widgetClass: s.widget_class ?? preset.widgetClass,
    responseField: s.response_field ?? preset.responseField,
    verifyUrl: s.verify_url ?? preset.verifyUrl,
    secretHeader: s.secret_header ?? preset.secretHeader,
    attributes: { ...preset.attributes, ...s.attributes },
    sources: {
      frame: frame ?? preset.sources.frame,
      connect: connect ?? preset.sources.connect,
      style: style ?? preset.sources.style,
    },
  }
}

function limitsOf(s: Settings['limits']): Config['limits'] {
  return {
    windowSeconds: s.window_seconds,
    challengeAtPercent: s.challenge_at_percent,
    signIn: {
      identifier: s.sign_in_per_identifier,
      device: s.sign_in_per_device,
      address: s.sign_in_per_address,
      subnet: s.sign_in_per_subnet,
      asn: s.sign_in_per_asn,
      client: s.sign_in_per_client,
      all: s.sign_in_in_all,
    },
    request: {
      address: s.requests_per_address,
      subnet: s.requests_per_subnet,
      asn: s.requests_per_asn,
      client: s.requests_per_client,
      all: s.requests_in_all,
    },
    client: { requests: s.client_requests, seconds: s.client_seconds, tokensPerDay: s.client_tokens_per_day },
  }
}

/** It lies beside the file that names it. */
function breachedFile(file: string | undefined, env: Environment): string | undefined {
  return file === undefined ? undefined : resolve(dirname(settingsPath(env) ?? '.'), file)
}

/** A brand's files lie beside the file that names them. */
function withAbsoluteFiles(brand: BrandDeclaration, folder: string): BrandDeclaration {
  const files = ['css', 'logo', 'logo_dark'].flatMap((name) =>
    typeof brand[name] === 'string' ? [[name, resolve(folder, brand[name])]] : [],
  )
  return { ...brand, ...Object.fromEntries(files) }
}

/** Threads of the pool that hashing shares (libuv's default is four). */
function threads(env: Environment): number {
  return Number(env.UV_THREADPOOL_SIZE) || 4
}

function deepFreeze<T>(value: T): T {
  if (value === null || typeof value !== 'object' || Buffer.isBuffer(value) || Object.isFrozen(value)) return value
  for (const item of Object.values(value)) deepFreeze(item)
  return Object.freeze(value)
}
