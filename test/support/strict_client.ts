/** A client of the FAPI 2.0 profiles as it goes over the wire, also where a good library would never go. */
import { type MadeCertificate, rfc9440 } from './certificates.ts'
import { assertionClaims, type Claims, type ClientKey, dpopProof, seconds } from './client_keys.ts'
import { authorizationRequest, type Person, redirectUri } from './people.ts'
import { type Code, type Fields, postForm, type TokenAnswer } from './token_requests.ts'

/** The header that the servers of these tests are told of. */
export const CERTIFICATE_HEADER = 'client-cert'
export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

export interface StrictOptions {
  readonly issuer: string
  readonly clientId: string
  /** Signs assertions, where the client authenticates by them, and request objects. */
  readonly key?: ClientKey
  readonly authenticatesBy: 'assertion' | 'certificate'
  readonly certificate?: MadeCertificate
  /** Tokens are bound to it; without, to the certificate. */
  readonly proofKey?: ClientKey
}

type Headers = { readonly [name: string]: string }

/** One request; what is undefined in `fields` or `headers` is left out. */
export interface StrictRequest {
  readonly fields?: Fields
  readonly headers?: { readonly [name: string]: string | undefined }
  /** Changes of the client assertion. */
  readonly assertion?: Claims
  readonly assertionHeader?: Claims
}

export type StrictClient = ReturnType<typeof strictClient>

export function strictClient(options: StrictOptions) {
  const { issuer, clientId, key, certificate, proofKey } = options
  const identity = ({ assertion, assertionHeader }: StrictRequest): Fields => {
    if (options.authenticatesBy === 'certificate') return { client_id: clientId }
    const claims = { ...assertionClaims(issuer, clientId), ...assertion }
    return {
      client_id: clientId,
      client_assertion_type: ASSERTION_TYPE,
      client_assertion: key?.sign(claims, assertionHeader),
    }
  }
  const proof = (path: string, more: Claims = {}) =>
    proofKey === undefined ? undefined : dpopProof(proofKey, 'POST', `${issuer}${path}`, more)
  const shown: Headers = certificate === undefined ? {} : { [CERTIFICATE_HEADER]: rfc9440(certificate) }
  const post = (path: string, request: StrictRequest, own: StrictRequest['headers'] = {}) => {
    const headers = present({ ...shown, ...own, ...request.headers })
    return postForm(`${issuer}${path}`, { ...identity(request), ...request.fields }, headers)
  }
  const push = (request: StrictRequest = {}) => post('/request', request)
  const token = (request: StrictRequest) => post('/token', request, { dpop: proof('/token') })
  const opened = (requestUri: string, more: Headers = {}) =>
    `${issuer}/auth?${new URLSearchParams({ client_id: clientId, request_uri: requestUri, ...more })}`
  return {
    clientId,
    proof,
    post,
    /** Pushes what it is given, and nothing more (RFC 9126 §2.1). */
    push,
    /** Where the browser goes with a pushed request. */
    opened,
    /** A request object of the parameters (RFC 9101). */
    requestObject: (fields: Fields, changes: Claims = {}, header: Claims = {}) => {
      const now = seconds()
      const claims = { ...fields, client_id: clientId, iss: clientId, aud: issuer, nbf: now, exp: now + 300 }
      return key?.sign({ ...claims, ...changes }, { typ: 'oauth-authz-req+jwt', ...header }) ?? ''
    },
    /** Pushes a good request and lets the person agree. */
    async code(person: Person, changes: Fields = {}, request: StrictRequest = {}): Promise<Code> {
      const { fields, verifier } = parametersOf(clientId, changes)
      const answer = await push({ ...request, fields: { ...fields, ...request.fields } })
      const end = await person.browser.get(opened(requestUriOf(answer)))
      const code = end.params.get('code')
      if (code === null) throw new Error(`no code for ${clientId}: ${end.url} ${end.text.slice(0, 300)}`)
      return { clientId, code, verifier, redirectUri: redirectUri(clientId) }
    },
    redeem: ({ code, verifier, redirectUri: uri }: Code, request: StrictRequest = {}) => {
      const fields = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: uri }
      return token({ ...request, fields: { ...fields, ...request.fields } })
    },
    refresh: (refreshToken: string, request: StrictRequest = {}) =>
      token({ ...request, fields: { grant_type: 'refresh_token', refresh_token: refreshToken, ...request.fields } }),
  }
}

/** A good request with PKCE; a parameter that is undefined is left out. */
export function parametersOf(clientId: string, changes: Fields = {}) {
  const { url, verifier } = authorizationRequest('http://unused', clientId, { scope: 'openid email', ...changes })
  const { client_id: _id, ...fields } = Object.fromEntries(new URL(url).searchParams)
  return { fields: fields as Fields, verifier }
}

export function requestUriOf({ status, body }: TokenAnswer): string {
  if (status !== 201) throw new Error(`not pushed: ${status} ${JSON.stringify(body)}`)
  return String(body.request_uri)
}

function present(headers: { readonly [name: string]: string | undefined }): { [name: string]: string } {
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}
