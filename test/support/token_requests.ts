/** Requests of clients as they go over the wire, also those that a good library would never send. */
import { SECRET } from './journeys.ts'

export interface TokenAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: { readonly [member: string]: unknown }
}

export type Fields = { readonly [name: string]: string | undefined }

/** A code and what is needed to redeem it. */
export interface Code {
  readonly clientId: string
  readonly code: string
  readonly verifier: string
  readonly redirectUri: string
}

export interface TokenSet {
  readonly access: string
  readonly refresh: string
  readonly id: string
  readonly scope: string
}

export type ClientRequests = ReturnType<typeof clientRequests>

/** Clients without a secret say who they are in the body. */
const PUBLIC = new Set(['spa'])

/** The `Authorization` of a client that has the secret of all test clients. */
export function basic(clientId: string, secret: string = SECRET): { readonly authorization: string } {
  const pair = `${encodeURIComponent(clientId)}:${encodeURIComponent(secret)}`
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
}

/** Posts a form; a field that is undefined is left out. */
export async function postForm(
  url: string,
  fields: Fields,
  headers: { [name: string]: string } = {},
): Promise<TokenAnswer> {
  const present = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined)
  return answerOf(await fetch(url, { method: 'POST', body: new URLSearchParams(present), headers, redirect: 'manual' }))
}

export async function answerOf(response: Response): Promise<TokenAnswer> {
  const text = await response.text()
  const json = response.headers.get('content-type')?.includes('json') === true && text !== ''
  return { status: response.status, headers: response.headers, body: json ? JSON.parse(text) : { text } }
}

/** What clients ask of the provider at `issuer`, as themselves unless told otherwise. */
export function clientRequests(issuer: string) {
  const as = (clientId: string) => (PUBLIC.has(clientId) ? {} : basic(clientId))
  const named = (clientId: string) => (PUBLIC.has(clientId) ? { client_id: clientId } : {})
  const post = (path: string, clientId: string, fields: Fields, headers: { [name: string]: string } = {}) =>
    postForm(`${issuer}${path}`, { ...named(clientId), ...fields }, { ...as(clientId), ...headers })
  return {
    token: (clientId: string, fields: Fields, headers = {}) => post('/token', clientId, fields, headers),
    redeem: ({ clientId, code, verifier, redirectUri }: Code, changes: Fields = {}, by = clientId, headers = {}) => {
      const fields = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: redirectUri }
      return post('/token', by, { ...fields, ...changes }, headers)
    },
    refresh: (clientId: string, token: string, changes: Fields = {}, headers = {}) =>
      post('/token', clientId, { grant_type: 'refresh_token', refresh_token: token, ...changes }, headers),
    revoke: (clientId: string, token: string, hint?: string) =>
      post('/token/revocation', clientId, { token, token_type_hint: hint }),
    introspect: (clientId: string, token: string, hint?: string) =>
      post('/token/introspection', clientId, { token, token_type_hint: hint }),
    userinfo: async (token: string, scheme = 'Bearer', headers = {}) =>
      answerOf(await fetch(`${issuer}/me`, { headers: { authorization: `${scheme} ${token}`, ...headers } })),
  }
}

export function tokensOf({ status, body }: TokenAnswer): TokenSet {
  if (status !== 200) throw new Error(`no tokens: ${status} ${JSON.stringify(body)}`)
  const text = (name: string) => String(body[name] ?? '')
  return { access: text('access_token'), refresh: text('refresh_token'), id: text('id_token'), scope: text('scope') }
}

/** What a JWS says, unverified. */
export function payloadOf(jws: string): { readonly [claim: string]: unknown } {
  return JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString())
}

export function headerOf(jws: string): { readonly [member: string]: unknown } {
  return JSON.parse(Buffer.from(jws.split('.')[0] ?? '', 'base64url').toString())
}
