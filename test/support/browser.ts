/**
 * A browser without a window or JavaScript: cookies, redirects, forms, and the headers by which servers tell navigations from
 * attacks (Origin, Referer, Sec-Fetch-*). It opens no keep-alive connections, so each request may reach another instance.
 */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { LookupFunction } from 'node:net'
import { type CookieJar, createCookieJar } from './cookie_jar.ts'
import { type Form, formsOf, type Link, linksOf, textOf, titleOf } from './html.ts'

export interface Page {
  /** The address bar: where the redirects ended. */
  readonly url: string
  /** 0 when the browser was told not to go there (`stopAt`). */
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly html: string
  readonly title: string
  readonly text: string
  readonly forms: readonly Form[]
  readonly links: readonly Link[]
  /** Every address on the way, the last one included. */
  readonly visited: readonly string[]
  /** The parameters of the address, from query or fragment. */
  readonly params: URLSearchParams
}

export type Values = { readonly [field: string]: string | boolean }

export interface BrowserOptions {
  /** Redirects to addresses that start with one of these are not followed: a client's redirect URI, for instance. */
  readonly stopAt?: readonly string[]
  /** Trusted root certificate (PEM) for https. */
  readonly ca?: string
  readonly userAgent?: string
  readonly locale?: string
  /** More headers on every request. */
  readonly headers?: { readonly [name: string]: string }
}

export interface RawRequest {
  readonly method?: string
  readonly headers?: { readonly [name: string]: string }
  readonly body?: string
  /** The page that asks; decides Origin, Referer and SameSite. Absent: the person typed the address. */
  readonly from?: string
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Browser {
  readonly jar: CookieJar
  /** Types an address or follows a link `from` a page. */
  get(url: string, from?: Page | string): Promise<Page>
  /** Presses a button: `button` by its value or name=value, else the first one. Unnamed values of `values` must exist. */
  submit(page: Page, values?: Values, options?: { form?: number | string; button?: string }): Promise<Page>
  /** One request with this browser's cookies; redirects are not followed, cookies are kept. */
  send(url: string, request?: RawRequest): Promise<Answer>
  /** Posts an own form to an address, as a page at `from` would. */
  post(url: string, values: { readonly [field: string]: string }, from?: string): Promise<Page>
}

const REDIRECTS = 20
const CHROME = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36'

export function createBrowser(options: BrowserOptions = {}): Browser {
  const jar = createCookieJar()

  async function send(address: string, { method = 'GET', headers = {}, body, from }: RawRequest = {}): Promise<Answer> {
    const url = new URL(address)
    const site = from === undefined ? 'none' : siteRelation(new URL(from), url)
    const cookie = jar.header(url, {
      crossSite: site === 'cross-site',
      topLevelGet: method === 'GET' || method === 'HEAD',
    })
    const answer = await exchange(url, method, options.ca, body, {
      accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
      'accept-language': options.locale ?? 'en',
      'user-agent': options.userAgent ?? CHROME,
      'sec-fetch-site': site,
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
      'sec-fetch-user': '?1',
      ...(from === undefined ? {} : { referer: site === 'same-origin' ? from : `${new URL(from).origin}/` }),
      ...(method === 'POST' ? { origin: from === undefined ? 'null' : new URL(from).origin } : {}),
      ...(cookie === undefined ? {} : { cookie }),
      ...options.headers,
      ...headers,
    })
    jar.store(url, answer.headers['set-cookie'] ?? [])
    return answer
  }

  async function navigate(address: string, first: RawRequest): Promise<Page> {
    const visited: string[] = []
    let url = address
    let request = first
    for (;;) {
      visited.push(url)
      if (options.stopAt?.some((prefix) => url.startsWith(prefix))) return stopped(url, visited)
      const answer = await send(url, request)
      const location = answer.headers.location
      if (answer.status < 300 || answer.status > 399 || location === undefined) return toPage(url, answer, visited)
      if (visited.length > REDIRECTS) throw new Error(`too many redirects:\n${visited.join('\n')}`)
      const { hash } = new URL(url)
      const next = new URL(location, url)
      if (next.hash === '') next.hash = hash
      url = next.href
      const keeps = answer.status === 307 || answer.status === 308
      request = keeps ? request : { ...(request.from === undefined ? {} : { from: request.from }) }
    }
  }

  return {
    jar,
    send,
    get: (url, from) => {
      const base = typeof from === 'object' ? from.url : from
      return navigate(new URL(url, base).href, base === undefined ? {} : { from: base })
    },
    submit: async (page, values = {}, { form: which = 0, button } = {}) => {
      const form = pickForm(page, which)
      const body = encodeForm(form, values, button)
      const target = new URL(form.action === '' ? page.url : form.action, page.url)
      if (form.method === 'post') return navigate(target.href, posting(body.toString(), page.url))
      target.search = body.toString()
      return navigate(target.href, { from: page.url })
    },
    post: (url, values, from = url) => navigate(url, posting(new URLSearchParams(values).toString(), from)),
  }
}

function posting(body: string, from: string): RawRequest {
  return { method: 'POST', body, from, headers: { 'content-type': 'application/x-www-form-urlencoded' } }
}

function pickForm(page: Page, which: number | string): Form {
  const form =
    typeof which === 'number'
      ? page.forms[which]
      : page.forms.find(({ action, attributes }) => attributes.id === which || action.endsWith(which))
  if (form === undefined)
    throw new Error(`no form ${which} at ${page.url} (${page.status}):\n${page.text.slice(0, 500)}`)
  return form
}

/** What a browser would send: filled-in values, hidden ones, checked boxes, and the pressed button. */
function encodeForm(form: Form, values: Values, button: string | undefined): URLSearchParams {
  const body = new URLSearchParams()
  for (const name of Object.keys(values)) {
    if (!form.fields.some((field) => field.name === name)) {
      throw new Error(`the form ${form.action} has no field ${name}, only ${form.fields.map((f) => f.name).join(', ')}`)
    }
  }
  for (const field of form.fields) {
    if (field.name === '' || field.type === 'submit' || field.type === 'button' || 'disabled' in field.attributes)
      continue
    const value = values[field.name]
    if (field.type === 'checkbox' || field.type === 'radio') {
      const chosen = typeof value === 'string' ? value === field.value : (value ?? field.checked)
      if (chosen) body.append(field.name, field.value)
    } else body.append(field.name, typeof value === 'string' ? value : field.value)
  }
  const buttons = form.fields.filter(({ type }) => type === 'submit')
  const matches = (field: { name: string; value: string }) =>
    button === field.value || button === field.name || button === `${field.name}=${field.value}`
  const pressed = button === undefined ? buttons[0] : buttons.find(matches)
  if (button !== undefined && pressed === undefined) throw new Error(`the form ${form.action} has no button ${button}`)
  if (pressed !== undefined && pressed.name !== '') body.append(pressed.name, pressed.value)
  return body
}

/** Fetch metadata's view of two addresses. A site is scheme and host here: our hosts have no registrable parent. */
function siteRelation(from: URL, to: URL): 'same-origin' | 'same-site' | 'cross-site' {
  if (from.origin === to.origin) return 'same-origin'
  return from.protocol === to.protocol && from.hostname === to.hostname ? 'same-site' : 'cross-site'
}

/** Most pages are looked at for one thing: each is read out of the source when it is asked for. */
function toPage(url: string, { status, headers, body }: Answer, visited: readonly string[]): Page {
  let forms: readonly Form[] | undefined
  return {
    url,
    status,
    headers,
    html: body,
    get title() {
      return titleOf(body)
    },
    get text() {
      return textOf(body)
    },
    get forms() {
      forms ??= formsOf(body)
      return forms
    },
    get links() {
      return linksOf(body)
    },
    visited,
    params: paramsOf(url),
  }
}

function stopped(url: string, visited: readonly string[]): Page {
  return toPage(url, { status: 0, headers: {}, body: '' }, visited)
}

function paramsOf(address: string): URLSearchParams {
  const url = new URL(address)
  return url.search === '' ? new URLSearchParams(url.hash.slice(1)) : url.searchParams
}

/** Asking the resolver for each request would cost as much as the rest of it. */
const thisMachine: LookupFunction = (_, { all }, callback) => {
  const there = { address: '127.0.0.1', family: 4 }
  if (all === true) callback(null, [there])
  else callback(null, there.address, there.family)
}

function exchange(
  url: URL,
  method: string,
  ca: string | undefined,
  body: string | undefined,
  headers: { readonly [name: string]: string },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const open = url.protocol === 'https:' ? httpsRequest : httpRequest
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const request = open(url, {
      method,
      agent: false,
      ...(url.hostname === 'localhost' ? { lookup: thisMachine } : {}),
      headers: { ...headers, ...length },
      ...(ca === undefined ? {} : { ca }),
    })
    request.setTimeout(30_000, () => request.destroy(new Error(`${method} ${url.href} took over 30 s`)))
    request.once('error', reject)
    request.once('response', (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.once('error', reject)
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts).toString() }),
      )
    })
    request.end(body)
  })
}
