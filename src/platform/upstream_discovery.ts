/** What an OpenID provider says of itself (OIDC Discovery 1.0 §4), asked once for everybody and kept for an hour. */
import type { ServerMetadata } from 'openid-client'
import type { Clock } from './clock.ts'
import { UpstreamError } from './upstream.ts'
import { jsonObject, type UpstreamRequests } from './upstream_exchange.ts'

interface Place {
  /** What `issuer` must say, to the character. */
  readonly issuer: string
  readonly url: string
}

const FRESH_MS = 60 * 60_000
/** For so long an old answer serves when no new one is to be had: the endpoints rarely move. */
const USABLE_MS = 24 * 60 * 60_000
const ENDPOINTS = [
  ...['authorization_endpoint', 'token_endpoint', 'userinfo_endpoint', 'jwks_uri'],
  'pushed_authorization_request_endpoint',
]
const NEEDED = ['authorization_endpoint', 'token_endpoint', 'jwks_uri']

export function createDiscovery(place: Place, requests: UpstreamRequests, clock: Clock): () => Promise<ServerMetadata> {
  let held: { readonly metadata: ServerMetadata; readonly at: number } | undefined
  let asking: Promise<ServerMetadata> | undefined

  const ask = async (): Promise<ServerMetadata> => {
    const response = await requests.fetch(place.url, { headers: { accept: 'application/json' } })
    if (response.status !== 200) throw new UpstreamError('misconfigured', 'discovery_refused')
    const metadata = checked(await jsonObject(response), place.issuer)
    held = { metadata, at: clock.now().getTime() }
    return metadata
  }
  return async () => {
    const age = held === undefined ? Number.POSITIVE_INFINITY : clock.now().getTime() - held.at
    if (held !== undefined && age < FRESH_MS) return held.metadata
    asking ??= ask().finally(() => {
      asking = undefined
    })
    try {
      return await asking
    } catch (error) {
      if (held === undefined || age >= USABLE_MS) throw error
      return held.metadata
    }
  }
}

function checked(body: { readonly [member: string]: unknown }, issuer: string): ServerMetadata {
  // §4.3: another's document, or one that an attacker placed, speaks for another issuer.
  if (body.issuer !== issuer) throw new UpstreamError('misconfigured', 'discovery_issuer')
  for (const name of ENDPOINTS) {
    const value = body[name]
    if (value === undefined && !NEEDED.includes(name)) continue
    const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
    // Plain http is for issuers of a private network, whom the guarded client knows.
    const secure = url?.protocol === 'https:' || (url?.protocol === 'http:' && issuer.startsWith('http:'))
    if (!secure) throw new UpstreamError('misconfigured', 'discovery_endpoint')
  }
  return { ...body, issuer }
}
