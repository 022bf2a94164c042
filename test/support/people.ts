/** People with an account and a browser, who let clients act for them. */
import { createHash, randomBytes } from 'node:crypto'
import { type Browser, createBrowser, type Page } from './browser.ts'
import { allow, register, signIn } from './journeys.ts'
import type { Mailbox } from './mailbox.ts'
import { type Code, clientRequests, type Fields, type TokenSet, tokensOf } from './token_requests.ts'

export interface Person {
  readonly email: string
  readonly browser: Browser
  /** Opens an authorization request of a client and agrees; ends at the client, or where the person is asked. */
  authorize(clientId: string, parameters?: Fields): Promise<Page>
  code(clientId: string, parameters?: Fields): Promise<Code>
  tokens(clientId: string, parameters?: Fields): Promise<TokenSet>
  /** Whether the session still leads to a code without a question. */
  signedIn(): Promise<boolean>
  /** The same account signed in in another browser. */
  elsewhere(): Promise<Person>
}

/** The redirect URI of each test client. */
export function redirectUri(clientId: string): string {
  return `https://${clientId}.test.example/callback`
}

export interface AuthorizationRequest {
  readonly url: string
  readonly verifier: string
}

/** An authorization request with PKCE (RFC 7636); a parameter that is undefined is left out. */
export function authorizationRequest(issuer: string, clientId: string, parameters: Fields = {}): AuthorizationRequest {
  const verifier = randomBytes(32).toString('base64url')
  const all: Fields = {
    client_id: clientId,
    response_type: 'code',
    redirect_uri: redirectUri(clientId),
    scope: 'openid',
    state: 'the-state',
    nonce: 'the-nonce',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...parameters,
  }
  const present = Object.entries(all).filter((field): field is [string, string] => field[1] !== undefined)
  return { url: `${issuer}/auth?${new URLSearchParams(present)}`, verifier }
}

/** Registers an account by the front door, with the first-party client `own`. */
export async function newPerson(issuer: string, mailbox: Mailbox, email: string): Promise<Person> {
  const browser = clientBrowser()
  const start = await browser.get(authorizationRequest(issuer, 'own', { prompt: 'create' }).url)
  const end = await register(browser, start, mailbox, email)
  if (!end.params.has('code')) throw new Error(`${email} was not registered: ${end.url} ${end.text}`)
  return person(issuer, browser, email)
}

/** A browser that stops at clients: they are https here, the provider is not. */
export function clientBrowser(): Browser {
  return createBrowser({ stopAt: ['https://'] })
}

function person(issuer: string, browser: Browser, email: string): Person {
  const client = clientRequests(issuer)
  const authorize = async (clientId: string, parameters: Fields = {}) =>
    agree(browser, await browser.get(authorizationRequest(issuer, clientId, parameters).url))
  const code = async (clientId: string, parameters: Fields = {}) => {
    const { url, verifier } = authorizationRequest(issuer, clientId, parameters)
    const end = await agree(browser, await browser.get(url))
    const value = end.params.get('code')
    if (value === null) throw new Error(`no code for ${clientId}: ${end.url}\n${end.text.slice(0, 300)}`)
    return { clientId, code: value, verifier, redirectUri: parameters.redirect_uri ?? redirectUri(clientId) }
  }
  return {
    email,
    browser,
    authorize,
    code,
    tokens: async (clientId, parameters) => tokensOf(await client.redeem(await code(clientId, parameters))),
    signedIn: async () => (await authorize('own', { prompt: 'none' })).params.has('code'),
    elsewhere: async () => {
      const other = clientBrowser()
      const end = await signIn(other, await other.get(authorizationRequest(issuer, 'own').url), email)
      if (!end.params.has('code')) throw new Error(`${email} could not sign in: ${end.url} ${end.text}`)
      return person(issuer, other, email)
    },
  }
}

async function agree(browser: Browser, page: Page): Promise<Page> {
  return page.forms.some(({ action }) => action.endsWith('/consent')) ? allow(browser, page) : page
}

/** The step of the conversation that a page shows, from the address its main form posts to. */
export function stepOf({ forms }: Page): string | undefined {
  const steps = forms.map(({ action }) => /\/interaction\/[^/]+\/(\w+)$/.exec(action)?.[1])
  return steps.find((step) => step !== undefined && step !== 'switch' && step !== 'abort')
}

/** Parameters that ask for a refresh token which outlives the session. */
export const OFFLINE = { scope: 'openid offline_access', prompt: 'consent' } as const
