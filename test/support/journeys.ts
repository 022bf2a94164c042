/** What people and clients do again and again in tests: register, sign in, agree, and get tokens, all by the front door. */
import * as oidc from 'openid-client'
import type { Browser, Page } from './browser.ts'
import { codeFrom, type Mailbox } from './mailbox.ts'

export const PASSWORD = 'quiet harbour lantern 47'
export const SECRET = 'test-only-secret-of-enough-length-0123456789'
export const API = 'https://api.test.example'

/** Where the test clients live; nothing listens there: tests stop the browser at these addresses. */
export const WEB = 'https://web.test.example'
export const SPA = 'https://spa.test.example'
export const OTHER = 'https://other.test.example'

/** Settings with one client of each kind. `web` and `other` ask for consent, `own` is first-party. */
export const SETTINGS = {
  resources: [{ identifier: API, scopes: ['orders:read', 'orders:write'] }],
  clients: [
    webClient('web', WEB, { scope: 'openid profile email offline_access orders:read', resources: [API] }),
    webClient('other', OTHER, { scope: 'openid email offline_access' }),
    webClient('own', 'https://own.test.example', { first_party: true, scope: 'openid profile email offline_access' }),
    {
      client_id: 'spa',
      client_name: 'Browser app',
      token_endpoint_auth_method: 'none',
      redirect_uris: [`${SPA}/callback`],
      post_logout_redirect_uris: [`${SPA}/`],
      cors_origins: [SPA],
      first_party: true,
      scope: 'openid profile email offline_access orders:read',
      resources: [API],
    },
    {
      client_id: 'machine',
      client_secret: SECRET,
      grant_types: ['client_credentials'],
      scope: 'orders:read',
      resources: [API],
    },
    {
      client_id: 'api',
      client_secret: SECRET,
      grant_types: ['client_credentials'],
      scope: 'orders:read',
      resource_server_for: [API],
    },
  ],
} as const

function webClient(id: string, origin: string, more: object) {
  return {
    client_id: id,
    client_name: `The ${id} shop`,
    client_secret: SECRET,
    redirect_uris: [`${origin}/callback`],
    post_logout_redirect_uris: [`${origin}/`],
    initiate_login_uri: `${origin}/start`,
    ...more,
  }
}

/** openid-client's configuration of a test client, discovered at the issuer. */
export async function discover(issuer: string, clientId: string): Promise<oidc.Configuration> {
  const auth = clientId === 'spa' ? oidc.None() : oidc.ClientSecretBasic(SECRET)
  return oidc.discovery(new URL(issuer), clientId, undefined, auth, { execute: [oidc.allowInsecureRequests] })
}

/** An authorization request (code, PKCE, state, nonce) and what is needed to check its answer. */
export interface Authorization {
  readonly url: string
  readonly redirectUri: string
  readonly checks: { pkceCodeVerifier: string; expectedState: string; expectedNonce: string }
}

export async function authorization(
  config: oidc.Configuration,
  redirectUri: string,
  parameters: { readonly [name: string]: string } = {},
): Promise<Authorization> {
  const checks = {
    pkceCodeVerifier: oidc.randomPKCECodeVerifier(),
    expectedState: oidc.randomState(),
    expectedNonce: oidc.randomNonce(),
  }
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: 'openid',
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: 'S256',
    ...parameters,
  })
  return { url: url.href, redirectUri, checks }
}

/** From the sign-in page to a proven account; ends where the conversation leads next. */
export async function register(browser: Browser, start: Page, mailbox: Mailbox, email: string, password = PASSWORD) {
  const form = start.forms.findIndex(({ action }) => action.endsWith('/register'))
  const page = form >= 0 ? start : await choose(browser, start, 'create')
  const sent = await browser.submit(page, { email, password }, { form: '/register' })
  if (sent.status >= 400) throw new Error(`${email} was not registered: ${sent.status} ${sent.text}`)
  return browser.submit(sent, { code: codeFrom(await mailbox.to(email)) }, { form: '/verify_email' })
}

/** Presses the button that leads to another part of the conversation: `create`, `login` or `recover`. */
export async function choose(browser: Browser, page: Page, to: string): Promise<Page> {
  const index = page.forms.findIndex(
    ({ action, fields }) =>
      action.endsWith('/switch') && fields.some(({ name, value }) => name === 'to' && value === to),
  )
  if (index < 0) throw new Error(`no way to ${to} on ${page.title}`)
  return browser.submit(page, {}, { form: index })
}

/** From the identifier page (or the password page, after a login_hint) through the password. */
export async function signIn(browser: Browser, start: Page, email: string, password = PASSWORD): Promise<Page> {
  const asksWho = start.forms.some(({ action }) => action.endsWith('/identifier'))
  const page = asksWho ? await browser.submit(start, { identifier: email }, { form: '/identifier' }) : start
  return browser.submit(page, { password }, { form: '/password' })
}

/** Presses Allow on the consent page. */
export function allow(browser: Browser, page: Page): Promise<Page> {
  return browser.submit(page, {}, { form: '/consent', button: 'allow' })
}

/** Redeems the code at the end of the journey. */
export function redeem(config: oidc.Configuration, request: Authorization, end: Page) {
  return oidc.authorizationCodeGrant(config, new URL(end.url), request.checks)
}
