/**
 * Answers of a server that has more to do than it can: made once, then sent as they are in front of Koa, since whoever is
 * turned away must cost almost nothing. Pages have the brand, if it is known without asking a store; programs get the error
 * of their protocol, which browser apps of clients may read.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Brand } from '../platform/brand.ts'
import type { Views } from '../platform/views.ts'
import { byPriority } from './language.ts'
import { cookieOf, type Ranked } from './request_rank.ts'
import { STATIC_PAGE, securityHeaders } from './security_headers.ts'

export interface BusyDeps {
  readonly issuer: string
  readonly views: Pick<Views, 'render' | 'pickLocale'>
  /** The brand of a client's pages; the default one while it is not known. */
  readonly brandOf: (clientId: string | undefined) => Brand
  /** Whether a client registered the origin, as far as is known. */
  readonly knownOrigin: (origin: string) => boolean
  /** Paths whose errors are OAuth's, and whose answers browsers of clients' origins may read. */
  readonly clientPaths: ReadonlySet<string>
  readonly random?: () => number
}

export interface BusyAnswers {
  /** Come again in a moment. */
  busy(req: IncomingMessage, res: ServerResponse, ranked: Ranked): void
  /** The place in the line. `cookie` is a whole Set-Cookie. */
  waiting(
    req: IncomingMessage,
    res: ServerResponse,
    told: {
      readonly ranked: Ranked
      readonly waitSeconds: number
      readonly againSeconds: number
      readonly cookie: string
    },
  ): void
}

/** Come again between these seconds: not everybody at once. */
const SOONEST = 2
const SPREAD = 4
/** A wait is told in steps that people think in; each is a page to keep. */
const MINUTES = [1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 45, 60]
const OAUTH = JSON.stringify({
  error: 'temporarily_unavailable',
  error_description: 'the server is busy; try again after the seconds of Retry-After',
})
const PROBLEM = JSON.stringify({
  type: 'urn:genkan:error:temporarily_unavailable',
  title: 'Service Unavailable',
  status: 503,
  code: 'temporarily_unavailable',
})
const EXPOSED = 'Retry-After'
/** Stands in a kept page for the parameters of the request. */
const PLACE = { name: 'place', value: '' }
const PLACE_HTML = '<input type="hidden" name="place" value="">'
/** Whoever sends more has to do without choosing a language. */
const MOST_PARAMETERS = 4096

export function createBusyAnswers(deps: BusyDeps): BusyAnswers {
  const { clientPaths, knownOrigin, random = Math.random } = deps
  const fixed = securityHeaders(deps)
  const pageOf = createPageKeeper(deps)
  const later = (seconds: number) => String(Math.ceil(seconds + random() * SPREAD))

  function answerPage(req: IncomingMessage, res: ServerResponse, page: KeptPage, more: Record<string, string>): void {
    send(req, res, page.body, { ...fixed, ...PAGE_HEADERS, 'Content-Language': page.locale, ...more })
  }

  return {
    busy(req, res, ranked) {
      const seconds = later(SOONEST)
      if (ranked.isPage) {
        const retry = req.method !== 'POST'
        const page = pageOf(req, ranked, { template: 'busy', values: { retry } })
        answerPage(req, res, page, { 'Retry-After': seconds, ...(retry ? { Refresh: seconds } : {}) })
        return
      }
      const isOAuth = clientPaths.has(ranked.path) || ranked.rank === 'protocol'
      const { origin = '' } = req.headers
      const cors = clientPaths.has(ranked.path) && origin !== '' && knownOrigin(origin)
      send(req, res, isOAuth ? OAUTH : PROBLEM, {
        ...fixed,
        'Content-Type': isOAuth ? 'application/json; charset=utf-8' : 'application/problem+json',
        'Retry-After': seconds,
        Vary: 'Origin, Accept',
        ...(cors ? { 'Access-Control-Allow-Origin': origin, 'Access-Control-Expose-Headers': EXPOSED } : {}),
      })
    },
    waiting(req, res, { ranked, waitSeconds, againSeconds, cookie }) {
      const told = { 'Retry-After': String(againSeconds), 'Set-Cookie': cookie }
      if (!ranked.isPage) {
        send(req, res, PROBLEM, { ...fixed, 'Content-Type': 'application/problem+json', Vary: 'Accept', ...told })
        return
      }
      const minutes = waitSeconds < 60 ? 0 : (MINUTES.find((each) => each * 60 >= waitSeconds) ?? 61)
      const page = pageOf(req, ranked, { template: 'waiting_room', values: { minutes, fields: [PLACE] } })
      const body = page.body.replace(PLACE_HTML, () => fieldsOf(ranked.query))
      answerPage(req, res, { ...page, body }, { ...told, Refresh: String(againSeconds) })
    },
  }
}

/** With its length, headers and body are one write. */
function send(req: IncomingMessage, res: ServerResponse, body: string, headers: Record<string, string>): void {
  res.writeHead(503, { ...headers, 'Content-Length': Buffer.byteLength(body) })
  res.end(req.method === 'HEAD' ? undefined : body)
}

const PAGE_HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': STATIC_PAGE,
  Vary: 'Accept, Accept-Language, Cookie',
}

interface KeptPage {
  readonly body: string
  readonly locale: string
}

interface Wanted {
  readonly template: 'busy' | 'waiting_room'
  readonly values: { readonly [name: string]: unknown }
}

/** The parameters of the request as fields of a form. */
function fieldsOf(query: string): string {
  if (query.length > MOST_PARAMETERS) return ''
  return [...new URLSearchParams(query)]
    .filter(([name]) => name !== 'ui_locales')
    .map(([name, value]) => `<input type="hidden" name="${escaped(name)}" value="${escaped(value)}">`)
    .join('')
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`)
}

/** Renders each page once for a brand and a language; a changed brand is another object. */
function createPageKeeper({ issuer, views, brandOf }: BusyDeps) {
  const kept = new WeakMap<Brand, Map<string, KeptPage>>()
  const cookie = `${issuer.startsWith('https:') ? '__Host-' : ''}genkan_locale`
  return (req: IncomingMessage, { query }: Ranked, { template, values }: Wanted): KeptPage => {
    const parameters = new URLSearchParams(query.slice(0, MOST_PARAMETERS))
    const brand = brandOf(parameters.get('client_id') ?? undefined)
    const locale = views.pickLocale(
      byPriority({
        uiLocales: parameters.get('ui_locales') ?? undefined,
        cookie: cookieOf(req, cookie),
        accept: req.headers['accept-language'] ?? '',
        brand: brand.defaultLocale,
      }),
    )
    const pages = kept.get(brand) ?? new Map<string, KeptPage>()
    kept.set(brand, pages)
    const key = `${locale} ${template} ${JSON.stringify(values)}`
    const known = pages.get(key)
    if (known !== undefined) return known
    const chooser = { action: '/language', returnTo: '' }
    const page = { locale, body: views.render(template, { ...values, brand, locale, chooser, nonce: '', csrf: '' }) }
    pages.set(key, page)
    return page
  }
}
