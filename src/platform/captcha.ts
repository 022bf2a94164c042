/**
 * A CAPTCHA of somebody else's in place of our puzzle, where an operator chose one: which widget a page shows, and whether the
 * vendor accepts the token that it gave. Every vendor has the same request ("siteverify") in a spelling of its own. Whatever is
 * no plain answer is `away`: nobody passes by it, and nobody is locked out, since the puzzle takes its place.
 */
import type { HttpClient } from './http_client.ts'

export interface CaptchaSettings extends CaptchaWidget {
  readonly vendor: string
  readonly secret: string
  /** The header that the secret goes in; without, it is a field of the form. */
  readonly secretHeader?: string | undefined
  readonly verifyUrl: string
  /** Whether the vendor is told for which site key the token must be. */
  readonly sendsSiteKey: boolean
}

/** What a page needs to know. Nothing of it is secret. */
export interface CaptchaWidget {
  /** The vendor's script; `{locale}` in it is the language of the page. */
  readonly script: string
  /** By which the script finds the place of its widget. */
  readonly widgetClass: string
  readonly siteKey: string
  /** More attributes of that place. */
  readonly attributes: { readonly [name: string]: string }
  /** The field that the widget puts its token in. */
  readonly responseField: string
  /** What the page's policy allows the vendor beside its script (Content-Security-Policy). */
  readonly sources: CaptchaSources
}

export interface CaptchaSources {
  readonly frame: readonly string[]
  readonly connect: readonly string[]
  readonly style: readonly string[]
}

/** `away`: whether the token is good could not be learned. */
export type CaptchaVerdict = 'passed' | 'refused' | 'away'

export interface Captcha {
  /** Undefined for a while after the vendor did not answer. */
  widget(): CaptchaWidget | undefined
  check(token: string, ip: string): Promise<CaptchaVerdict>
  /**
   * Whether the vendor knows our secret, learned by a token that is none.
   * @throws when the vendor does not answer
   */
  secretIsKnown(): Promise<boolean>
}

export interface CaptchaDeps {
  readonly settings: CaptchaSettings
  /** Guarded, with a time-out that a person may be kept waiting for. */
  readonly http: Pick<HttpClient, 'fetch'>
  /** Where our pages are: a token of another site is worth nothing here. */
  readonly hostname: string
  readonly clock: { now(): Date }
  readonly warn: (details: object, message: string) => void
}

/** For so long after a failure of the vendor people get the puzzle at once, and it is not asked. */
const REST_MS = 30_000
/** Whoever holds more of them open than people do cannot make us keep them all. */
const MOST_AT_ONCE = 20

export function createCaptcha({ settings, http, hostname, clock, warn }: CaptchaDeps): Captcha {
  const { script, widgetClass, siteKey, attributes, responseField, sources, vendor } = settings
  const shown: CaptchaWidget = { script, widgetClass, siteKey, attributes, responseField, sources }
  let restUntil = 0
  let underWay = 0
  const rests = () => clock.now().getTime() < restUntil

  async function judge(token: string, ip: string): Promise<CaptchaVerdict> {
    const { success, host, codes } = await ask(settings, http, token, ip)
    if (success === true && (host === undefined || host === hostname)) return 'passed'
    if (success === true) {
      warn({ vendor, host }, 'a token of a CAPTCHA was made at another host')
      return 'refused'
    }
    if (success === false && !codes.some((code) => OURS.test(code))) return 'refused'
    warn(
      { vendor, codes },
      'the vendor of the CAPTCHA does not accept our requests: proofs of work are asked for instead',
    )
    return 'away'
  }

  return {
    widget: () => (rests() ? undefined : shown),

    async check(token, ip) {
      if (rests() || underWay >= MOST_AT_ONCE) return 'away'
      underWay++
      try {
        return await judge(token, ip)
      } catch (error) {
        restUntil = clock.now().getTime() + REST_MS
        warn({ vendor, err: error }, 'the vendor of the CAPTCHA cannot be asked: proofs of work are asked for instead')
        return 'away'
      } finally {
        underWay--
      }
    },

    async secretIsKnown() {
      const { success, codes } = await ask(settings, http, 'no-token')
      if (success === undefined) throw new Error('its answer is none of a siteverify API')
      return !codes.some((code) => OURS.test(code))
    },
  }
}

/** Codes of failure that say nothing of the token: the keys are wrong, or the vendor is. */
const OURS = /secret|auth_|sitekey|keys|internal|bad.?request/
/** What hCaptcha says in place of a host name while a site has much traffic. */
const NOT_SAID = 'not-provided'

interface Said {
  /** Undefined when the answer is none. */
  readonly success: boolean | undefined
  readonly host: string | undefined
  readonly codes: readonly string[]
}

async function ask(settings: CaptchaSettings, http: CaptchaDeps['http'], token: string, ip?: string): Promise<Said> {
  const { secret, secretHeader, verifyUrl, siteKey, sendsSiteKey } = settings
  const body = new URLSearchParams({
    ...(secretHeader === undefined && { secret }),
    response: token,
    ...(ip !== undefined && { remoteip: ip }),
    ...(sendsSiteKey && { sitekey: siteKey }),
  })
  const headers = { accept: 'application/json', ...(secretHeader !== undefined && { [secretHeader]: secret }) }
  const response = await http.fetch(verifyUrl, { method: 'POST', headers, body })
  // Busy, broken, or elsewhere by now. What another 4xx means is in its body, and may be about this one token.
  const { status } = response
  if (status >= 500 || status === 429 || (status >= 300 && status < 400)) throw new Error(`it answered ${status}`)
  return read(await response.text())
}

/** The answers of all vendors: `hostname` and `error-codes`, or what Friendly Captcha has in their place. */
function read(text: string): Said {
  const answer = object(parse(text))
  const { success, hostname, 'error-codes': listed } = answer
  const { origin } = object(object(answer.data).challenge)
  const { error_code: single } = object(answer.error)
  return {
    success: typeof success === 'boolean' ? success : undefined,
    host: hostOf(hostname) ?? hostOf(origin),
    codes: [...(Array.isArray(listed) ? listed : []), single].filter((code) => typeof code === 'string'),
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function object(value: unknown): { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null ? (value as { readonly [name: string]: unknown }) : {}
}

/** The host name of a name (with a port or not) or an origin; undefined where nothing is said. */
function hostOf(said: unknown): string | undefined {
  if (typeof said !== 'string' || said === '' || said === NOT_SAID) return undefined
  const url = said.includes('://') ? said : `https://${said}`
  return URL.canParse(url) ? new URL(url).hostname : said
}
