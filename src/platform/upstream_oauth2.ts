/**
 * A provider of plain OAuth 2 as somewhere to come from, by a template: where to send people, where to exchange the code, and
 * how its own API says who they are. Nothing is signed: what is believed is what the provider's API answers to a token
 * that it gave for our code and our secret.
 */
import { createHmac } from 'node:crypto'
import * as client from 'openid-client'
import {
  type Arrival,
  type Departed,
  type Departure,
  type Upstream,
  UpstreamError,
  type UpstreamIdentity,
} from './upstream.ts'
import { boundedClaims, subjectOf, withVerifiedEmail } from './upstream_claims.ts'
import {
  codeOf,
  createUpstreamRequests,
  exchangeCode,
  jsonObject,
  type UpstreamDeps,
  type UpstreamRequests,
} from './upstream_exchange.ts'

/** Names of JSON members with dots between: `picture.data.url`. */
type Path = string

export interface OAuth2UpstreamSettings {
  /** Constant that stands for the provider in the key of its identities; what its `iss` parameter must say if there is one (RFC 9207). */
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  readonly clientAuthentication: 'client_secret_basic' | 'client_secret_post'
  readonly authorizationEndpoint: string
  readonly tokenEndpoint: string
  /** Whether it takes PKCE (S256); where it does not, the secret and `state` alone bind the code. */
  readonly pkce: boolean
  readonly scopes: readonly string[]
  /** More parameters of the authorization request. Ours cannot be replaced. */
  readonly parameters?: { readonly [name: string]: string } | undefined
  /** JSON about the person whose access token it is. */
  readonly profileEndpoint: string
  readonly headers?: { readonly [name: string]: string } | undefined
  /** Of the profile: a text, or a positive integer. */
  readonly subject: Path
  /** Of the profile, by the name of the OIDC claim that each becomes. `email_verified` is believed when boolean true. */
  readonly claims: { readonly [claim: string]: Path }
  /** A list of all addresses, of which the primary one is meant; its marks are boolean members (GitHub). */
  readonly emails?: EmailList | undefined
  /** Requests of the profile carry proof of the secret (Facebook's `appsecret_proof`). */
  readonly appSecretProof?: boolean | undefined
  /** Hands the access and refresh token on. */
  readonly keepTokens?: boolean | undefined
}

interface EmailList {
  readonly endpoint: string
  readonly address: string
  readonly primary: string
  readonly verified: string
}

export function createOAuth2Upstream(settings: OAuth2UpstreamSettings, deps: UpstreamDeps): Upstream {
  const requests = createUpstreamRequests(deps)
  return {
    provesFreshness: false,
    depart: (departure) => requests.leg(() => depart(settings, departure)),
    finish: (arrival) => requests.leg(() => finish(settings, requests, arrival)),
    inspect: () =>
      requests.leg(async () => {
        const { issuer, authorizationEndpoint, tokenEndpoint, profileEndpoint } = settings
        // Without a token it refuses: that it answers at all is what can be known without a person.
        const reached = requests.fetch(profileEndpoint, { headers: { ...settings.headers } })
        const problems = await reached.then(
          () => [],
          (error: unknown) => [
            `its API cannot be reached: ${error instanceof UpstreamError ? error.reason : 'unknown'}`,
          ],
        )
        return { issuer, found: { authorizationEndpoint, tokenEndpoint, profileEndpoint }, problems }
      }),
  }
}

async function depart(settings: OAuth2UpstreamSettings, departure: Departure): Promise<Departed> {
  const { redirectUri, state, fresh } = departure
  // Whoever holds the browser may take a parameter away, and nothing in the answer says when they showed it.
  if (fresh === true) throw new UpstreamError('level_unmet', 'not_fresh')
  const verifier = client.randomPKCECodeVerifier()
  const challenge = { code_challenge_method: 'S256', code_challenge: await client.calculatePKCECodeChallenge(verifier) }
  const url = new URL(settings.authorizationEndpoint)
  const parameters = {
    ...settings.parameters,
    ...{ response_type: 'code', client_id: settings.clientId, redirect_uri: redirectUri, state },
    scope: settings.scopes.join(' '),
    ...(settings.pkce ? challenge : {}),
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return { url: url.href, kept: settings.pkce ? { verifier } : {} }
}

async function finish(
  settings: OAuth2UpstreamSettings,
  requests: UpstreamRequests,
  arrival: Arrival,
): Promise<UpstreamIdentity> {
  const { issuer, clientId, clientSecret, tokenEndpoint: endpoint } = settings
  const verifier = verifierIn(settings, arrival)
  const code = codeOf(arrival, { issuer: (iss) => iss === issuer, issuerDemanded: false })
  const proof = { client_secret_basic: client.ClientSecretBasic, client_secret_post: client.ClientSecretPost }
  const auth = proof[settings.clientAuthentication](clientSecret)
  const prove = (body: URLSearchParams, headers: Headers) => auth({ issuer }, { client_id: clientId }, body, headers)
  const tokens = await exchangeCode({ requests, endpoint, prove, arrival, code, verifier })
  const { accessToken, refreshToken } = tokens

  const profile = await jsonObject(await ask(settings, requests, settings.profileEndpoint, accessToken))
  const read = Object.entries(settings.claims).map(([claim, path]) => [claim, at(profile, path)])
  const claims: { [claim: string]: unknown } = Object.fromEntries(read)
  if (settings.emails !== undefined) Object.assign(claims, await primaryEmail(settings, requests, accessToken))
  return {
    issuer,
    subject: templateSubject(at(profile, settings.subject)),
    claims: withVerifiedEmail(boundedClaims(claims), 'claim'),
    ...(settings.keepTokens === true ? { tokens: { accessToken, refreshToken } } : {}),
  }
}

function verifierIn({ pkce }: OAuth2UpstreamSettings, { kept }: Arrival): string | undefined {
  const { verifier } = (kept ?? {}) as { readonly [name: string]: unknown }
  if (pkce && typeof verifier !== 'string') throw new UpstreamError('answer_refused', 'not_departed')
  return pkce ? String(verifier) : undefined
}

async function ask(
  { appSecretProof, clientSecret, headers }: OAuth2UpstreamSettings,
  requests: UpstreamRequests,
  endpoint: string,
  accessToken: string,
): Promise<Response> {
  const url = new URL(endpoint)
  if (appSecretProof === true) {
    url.searchParams.set('appsecret_proof', createHmac('sha256', clientSecret).update(accessToken).digest('hex'))
  }
  const authorization = `Bearer ${accessToken}`
  const response = await requests.fetch(url, { headers: { accept: 'application/json', ...headers, authorization } })
  if (response.status !== 200) throw new UpstreamError('answer_refused', 'profile_refused')
  return response
}

/** The primary address of the list, whatever address the profile shows to the public. */
async function primaryEmail(settings: OAuth2UpstreamSettings, requests: UpstreamRequests, accessToken: string) {
  const { emails } = settings
  if (emails === undefined) return {}
  const response = await ask(settings, requests, emails.endpoint, accessToken)
  const list: unknown = await response.json().catch(() => undefined)
  if (!Array.isArray(list)) throw new UpstreamError('answer_refused', 'answer_not_json')
  const primary: unknown = list.find((entry) => at(entry, emails.primary) === true)
  return { email: at(primary, emails.address), email_verified: at(primary, emails.verified) }
}

/** Own members only: `constructor` is no claim. */
function at(value: unknown, path: Path): unknown {
  let current = value
  for (const name of path.split('.')) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, name)) return undefined
    current = (current as { readonly [member: string]: unknown })[name]
  }
  return current
}

/** Numeric ids become decimal text; above 2^53 JSON numbers are two people's. */
function templateSubject(value: unknown): string {
  if (typeof value !== 'number') return subjectOf(value)
  return subjectOf(Number.isSafeInteger(value) && value > 0 ? String(value) : undefined)
}
