/** A CAPTCHA in place of the puzzle. */
import { z } from 'zod'
import { headerName, isLoopback, type Parsed } from './values.ts'

/** By https, or to this machine itself, where a test or a proxy may be. */
const vendorUrl = z.string().refine((value) => {
  if (!URL.canParse(value)) return false
  const url = new URL(value)
  return (
    (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url))) && url.username + url.password === ''
  )
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

export const captchaShape = { captcha: captcha.optional() }

type Settings = Parsed<typeof captchaShape>

export interface CaptchaConfig {
  /** Whose CAPTCHA takes the place of the puzzle. */
  readonly captcha: Captcha | undefined
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

export function captchaOf({ captcha: given }: Settings): CaptchaConfig {
  return { captcha: given === undefined ? undefined : withPreset(given) }
}

/** The vendor's preset, and in front of it whatever the file says. */
function withPreset(s: z.output<typeof captcha>): Captcha {
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

/** What a preset would say. */
const OWN_VENDOR = ['script', 'widget_class', 'response_field', 'verify_url'] as const

export function captchaProblems({ captcha: given }: Settings): string[] {
  if (given?.vendor !== 'custom') return []
  const missing = OWN_VENDOR.filter((name) => given[name] === undefined)
  return missing.map((name) => `captcha.${name}: is needed for a vendor that Genkan has no preset of`)
}
