/** The protocol flows that are measured, as a browser and a client would run them together. */
import { createHash, randomBytes } from 'node:crypto'
import { API, LEDGER, REDIRECT_URI, SECRET } from './clients.ts'
import { type Answer, type CookieJar, createCookieJar, type Http } from './http.ts'

export const PASSWORD = 'correct horse battery staple 42'

/** Somewhere flows are run against. */
export interface Target {
  readonly issuer: string
  readonly http: Http
  /** E-mail address of an account that exists and was not used before. */
  nextAccount(): string
}

export interface Tokens {
  readonly access_token: string
  readonly refresh_token?: string
}

const basic = (clientId: string) => ({
  authorization: `Basic ${Buffer.from(`${clientId}:${SECRET}`).toString('base64')}`,
})

/** Another status than the flow needs. */
export class WrongAnswer extends Error {
  readonly status: number
  readonly retryAfter: string | undefined

  constructor(what: string, { status, body, retryAfter }: Answer) {
    super(`${what} answered ${status}: ${body.replace(/\s+/g, ' ').slice(0, 600)}`)
    this.status = status
    this.retryAfter = retryAfter
  }
}

/** Posts to an endpoint of the issuer and demands a 200. */
export async function post(
  { issuer, http }: Target,
  path: string,
  form: { readonly [name: string]: string },
  clientId?: string,
): Promise<Answer> {
  const answer = await http.post(`${issuer}${path}`, form, clientId === undefined ? {} : basic(clientId))
  if (answer.status !== 200) throw new WrongAnswer(path, answer)
  return answer
}

export async function tokens(
  target: Target,
  form: { readonly [name: string]: string },
  clientId?: string,
): Promise<Tokens> {
  return JSON.parse((await post(target, '/token', form, clientId)).body) as Tokens
}

export function clientCredentials(target: Target, jwt: boolean): Promise<Tokens> {
  const asked = jwt ? { resource: API, scope: 'orders:read' } : { resource: LEDGER }
  return tokens(target, { grant_type: 'client_credentials', ...asked }, 'bench-machine')
}

export function refresh(target: Target, refreshToken: string): Promise<Tokens> {
  return tokens(target, { grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'bench-spa' })
}

/** What a person's browser keeps between two sign-ins. */
export interface Browser {
  readonly account: string
  readonly jar: CookieJar
  /** Where it is, as the load balancer says: people come from many networks, and each of those has its share of the hashing. */
  readonly ip: string
}

let browsers = 0

export function newBrowser(target: Target, account = target.nextAccount()): Browser {
  browsers += 1
  return {
    account,
    jar: createCookieJar(),
    ip: `10.${(browsers >> 16) & 255}.${(browsers >> 8) & 255}.${browsers & 255}`,
  }
}

/** Authorization request to tokens: every page on the way is filled in and sent, as often as there is one. */
export async function signIn(target: Target, browser: Browser, clientId: string): Promise<Tokens> {
  const verifier = randomBytes(32).toString('base64url')
  const code = await walk(target, browser, authorization(target, browser, clientId, verifier))
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT_URI, code_verifier: verifier }
  return clientId === 'bench-spa' ? tokens(target, { ...form, client_id: clientId }) : tokens(target, form, clientId)
}

function authorization({ issuer }: Target, { account }: Browser, clientId: string, verifier: string): string {
  const query = new URLSearchParams({
    client_id: clientId,
    redirect_uri: REDIRECT_URI,
    response_type: 'code',
    scope: 'openid profile email',
    state: randomBytes(8).toString('hex'),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    login_hint: account,
  })
  return `${issuer}/auth?${query}`
}

const MOST_PAGES = 12

async function walk(target: Target, browser: Browser, start: string): Promise<string> {
  let url = start
  let answer = await visit(target, browser, url)
  for (let i = 0; i < MOST_PAGES; i++) {
    if (answer.location === undefined) {
      const { action, fields } = readForm(answer, browser.account)
      url = new URL(action, url).href
      answer = await visit(target, browser, url, fields)
    } else {
      url = new URL(answer.location, url).href
      if (url.startsWith(REDIRECT_URI)) return codeOf(url)
      answer = await visit(target, browser, url)
    }
  }
  throw new Error(`the sign-in does not end, it is at ${url}`)
}

async function visit(
  { http, issuer }: Target,
  { jar, ip }: Browser,
  url: string,
  form?: { readonly [name: string]: string },
): Promise<Answer> {
  const headers = { cookie: jar.header(new URL(url).pathname), 'x-forwarded-for': ip }
  const origin = { origin: issuer, 'sec-fetch-site': 'same-origin' }
  const next = form === undefined ? await http.get(url, headers) : await http.post(url, form, { ...headers, ...origin })
  jar.keep(next.cookies)
  return next
}

/**
 * Goes to the page that asks for the password and stays there. What is returned sends a wrong password, as a flood does, and
 * demands the page again: the server has looked for the account and hashed, known or not.
 */
export async function parkAtPassword(target: Target, account: string): Promise<() => Promise<void>> {
  const browser = newBrowser(target, account)
  let url = authorization(target, browser, 'bench-first', randomBytes(32).toString('base64url'))
  let page = await visit(target, browser, url)
  for (let i = 0; i < MOST_PAGES && page.location !== undefined; i++) {
    url = new URL(page.location, url).href
    page = await visit(target, browser, url)
  }
  let form = readForm(page, account)
  return async () => {
    const at = new URL(form.action, url).href
    const answer = await visit(target, browser, at, { ...form.fields, password: 'a wrong password, as always 42' })
    if (answer.status !== 400) throw new WrongAnswer('a wrong password', answer)
    form = readForm({ ...answer, status: 200 }, account)
  }
}

function codeOf(url: string): string {
  const answer = new URL(url).searchParams
  const code = answer.get('code')
  if (code === null) throw new Error(`no code but ${answer.get('error')}: ${answer.get('error_description')}`)
  return code
}

/** The page's main form: the one that asks for a password or an identifier, else the first. */
function readForm(page: Answer, account: string): { action: string; fields: { [name: string]: string } } {
  const forms = [...page.body.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/g)]
  const main = forms.find(([, , body]) => /name="(password|identifier)"/.test(body ?? '')) ?? forms[0]
  if (page.status !== 200 || main === undefined) {
    throw new WrongAnswer('a page without a form', page)
  }
  const [, attributes = '', body = ''] = main
  const fields: { [name: string]: string } = {}
  for (const [tag] of body.matchAll(/<(input|button)\b[^>]*>/g)) {
    const name = attribute(tag, 'name')
    const value = attribute(tag, 'value') ?? ''
    // Consent is given; elsewhere the first button counts, which is the one that the Enter key presses.
    if (name === undefined || attribute(tag, 'type') === 'checkbox') continue
    if (!(name in fields) || value === 'allow') fields[name] = value
  }
  if ('password' in fields) fields.password = PASSWORD
  if ('identifier' in fields) fields.identifier = account
  return { action: attribute(attributes, 'action') ?? '', fields }
}

function attribute(tag: string, name: string): string | undefined {
  return new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1]?.replaceAll('&amp;', '&')
}
