/**
 * What people and clients do while something is broken. An act is done, or refused as it may be (503, 429, `temporarily_unavailable`),
 * or lost (no answer), or it strayed: the conversation went on elsewhere, as after lost state. What else happens is a fault.
 */
import type { Browser, Page } from '../support/browser.ts'
import { allow, PASSWORD, SECRET } from '../support/journeys.ts'
import { codeFrom } from '../support/mailbox.ts'
import { authorizationRequest, redirectUri, stepOf } from '../support/people.ts'
import type { World } from './world.ts'

export class NotDone extends Error {
  readonly kind: 'refused' | 'lost' | 'strayed'
  constructor(kind: NotDone['kind'], message: string) {
    super(message)
    this.kind = kind
  }
}

export interface Account {
  readonly email: string
  password: string
  readonly sub: string
  /** With a session, unless that was lost. */
  readonly browser: Browser
}

export interface Code {
  readonly clientId: string
  readonly code: string
  readonly verifier: string
}

export interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
  readonly id_token: string
}

export type Fields = { readonly [name: string]: string }

const basic = (clientId: string) => `Basic ${Buffer.from(`${clientId}:${SECRET}`).toString('base64')}`

/** Any answer of a protocol endpoint; what is no verdict on the request is `NotDone`. */
export async function post(
  world: Pick<World, 'issuer'>,
  path: string,
  clientId: string,
  fields: Fields,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const mine = clientId === 'spa' ? { client_id: clientId } : {}
  const answer = await fetch(world.issuer + path, {
    method: 'POST',
    headers: clientId === 'spa' ? {} : { authorization: basic(clientId) },
    body: new URLSearchParams({ ...fields, ...mine }),
    signal: AbortSignal.timeout(40_000),
  }).catch((error: unknown) => {
    throw new NotDone('lost', String(error))
  })
  const text = await answer.text().catch((error: unknown) => {
    throw new NotDone('lost', String(error))
  })
  if (answer.status === 502) throw new NotDone('lost', `${path}: no answer`)
  if (answer.status === 503 || answer.status === 429) throw new NotDone('refused', `${path}: ${answer.status}`)
  const body = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {}
  return { status: answer.status, body }
}

/** An answer of the token endpoint that must be tokens. */
export async function tokens(world: Pick<World, 'issuer'>, clientId: string, fields: Fields): Promise<Tokens> {
  const { status, body } = await post(world, '/token', clientId, fields)
  if (status !== 200) throw new Error(`/token ${fields.grant_type}: ${status} ${body.error}: ${body.error_description}`)
  return body as unknown as Tokens
}

export function redeem(world: World, { clientId, code, verifier }: Code): Promise<Tokens> {
  return tokens(world, clientId, {
    ...{ grant_type: 'authorization_code', code, code_verifier: verifier },
    redirect_uri: redirectUri(clientId),
  })
}

/** The page, where it is one that was wanted. */
export function went(page: Page): Page {
  if (page.status === 503 || page.status === 429) throw new NotDone('refused', `${page.url}: ${page.status}`)
  if (page.status === 502) throw new NotDone('lost', `${page.url}: no answer`)
  if (page.params.get('error') === 'temporarily_unavailable') throw new NotDone('refused', page.url)
  return page
}

/** One step of a conversation; when its form is not there, the conversation has gone elsewhere. */
export async function step(
  browser: Browser,
  page: Page,
  form: string,
  values: { readonly [name: string]: string },
): Promise<Page> {
  if (!page.forms.some(({ action }) => action.endsWith(form)))
    throw new NotDone('strayed', `no ${form} at ${page.url} (${page.status}): ${page.text.slice(0, 200)}`)
  return went(await browser.submit(page, values, { form }).catch(lost))
}

export async function open(browser: Browser, url: string): Promise<Page> {
  return went(await browser.get(url).catch(lost))
}

function lost(error: unknown): never {
  throw new NotDone('lost', String(error))
}

/** The code that a journey ended with. */
function codeAt(page: Page, clientId: string, verifier: string): Code {
  const code = page.params.get('code')
  if (page.status !== 0 || code === null)
    throw new NotDone('strayed', `no code: ${page.status} ${page.url} ${page.text.slice(0, 200)}`)
  return { clientId, code, verifier }
}

let count = 0

/** An address that nobody has had. */
export function newEmail(what: string): string {
  count += 1
  return `${what}-${process.pid}-${count}@example.com`
}

/** From nothing to the page that asks for the code of the mail. */
export async function beginRegistration(world: World, clientId: string, email: string, browser: Browser) {
  const request = authorizationRequest(world.issuer, clientId, { prompt: 'create', scope: 'openid email' })
  const page = await open(browser, request.url)
  const sent = await step(browser, page, '/register', { email, password: PASSWORD })
  return { sent, verifier: request.verifier }
}

/** Registers, agrees where asked, and redeems: an account, and its tokens. */
export async function register(
  world: World,
  clientId: string,
  email: string,
  milliseconds = 20_000,
): Promise<{ account: Account; code: Code; tokens: Tokens; agreed: boolean }> {
  const browser = world.person()
  const { sent, verifier } = await beginRegistration(world, clientId, email, browser)
  const mail = await world.mailbox.to(email, { milliseconds })
  let page = await step(browser, sent, '/verify_email', { code: codeFrom(mail) })
  const agreed = stepOf(page) === 'consent'
  if (agreed) page = went(await allow(browser, page).catch(lost))
  const code = codeAt(page, clientId, verifier)
  const redeemed = await redeem(world, code)
  return { account: { email, password: PASSWORD, sub: subOf(redeemed), browser }, code, tokens: redeemed, agreed }
}

/** Signs in anew, in this browser, as far as the page after the password. */
export async function signInPage(world: World, clientId: string, account: Account, parameters: Fields = {}) {
  const { email: login_hint, browser, password } = account
  const wanted = { prompt: 'login', login_hint, scope: 'openid email', ...parameters }
  const request = authorizationRequest(world.issuer, clientId, wanted)
  let page = await open(browser, request.url)
  if (stepOf(page) === 'identifier') page = await step(browser, page, '/identifier', { identifier: account.email })
  return { page: await step(browser, page, '/password', { password }), verifier: request.verifier }
}

/** The same person at another browser: what ends a session or grant there ends nothing here. */
export const elsewhere = (world: World, account: Account): Account => ({ ...account, browser: world.person() })

/** Signs in anew and agrees where asked. */
export async function signIn(
  world: World,
  clientId: string,
  account: Account,
  parameters: Fields = {},
): Promise<{ code: Code; agreed: boolean }> {
  const { page, verifier } = await signInPage(world, clientId, account, parameters)
  const agreed = stepOf(page) === 'consent'
  const end = agreed ? went(await allow(account.browser, page).catch(lost)) : page
  return { code: codeAt(end, clientId, verifier), agreed }
}

export function subOf({ id_token }: Tokens): string {
  const claims = JSON.parse(Buffer.from(id_token.split('.')[1] ?? '', 'base64url').toString()) as { sub: string }
  return claims.sub
}
