/** How we prove to an OpenID provider that we are its client, in each of the ways that it may ask for. */
import { SignJWT } from 'jose'
import * as client from 'openid-client'
import type { Clock } from './clock.ts'
import { UpstreamError } from './upstream.ts'
import type { ReadyKey } from './upstream_keys.ts'
import { readyKey } from './upstream_keys.ts'
import type { OidcUpstreamSettings } from './upstream_oidc_settings.ts'

/** Apple takes up to six months; an hour is enough, and a leaked one is soon worth nothing. */
const APPLE_SECONDS = 60 * 60
const APPLE_RENEWAL_SECONDS = 5 * 60

/** Made once for a provider: Apple's secret is kept while it is good. */
export function createClientProof(
  { clientAuthentication: how, clientId, issuer }: OidcUpstreamSettings,
  signingKey: () => Promise<ReadyKey>,
  clock: Clock,
): () => Promise<client.ClientAuth> {
  let secret: { readonly text: string; readonly expires: number } | undefined
  const appleSecret = async (teamId: string, key: Parameters<typeof readyKey>[0]): Promise<string> => {
    const now = Math.floor(clock.now().getTime() / 1000)
    if (secret === undefined || secret.expires - APPLE_RENEWAL_SECONDS <= now) {
      const ready = await readyKey(key)
      const expires = now + APPLE_SECONDS
      const jwt = new SignJWT({ iss: teamId, iat: now, exp: expires, aud: issuer, sub: clientId })
      secret = { text: await jwt.setProtectedHeader({ alg: ready.alg, kid: ready.kid }).sign(ready.key), expires }
    }
    return secret.text
  }
  return async () => {
    switch (how.method) {
      case 'client_secret_basic':
        return client.ClientSecretBasic(how.secret)
      case 'client_secret_post':
        return client.ClientSecretPost(how.secret)
      case 'private_key_jwt':
        return client.PrivateKeyJwt(await signingKey())
      case 'apple_client_secret':
        return client.ClientSecretPost(await appleSecret(how.teamId, how.key))
      case 'none':
        return client.None()
    }
  }
}

/** The key that signs for us. */
export function signingKeyOf({ signingKeys = [] }: OidcUpstreamSettings): () => Promise<ReadyKey> {
  let ready: Promise<ReadyKey> | undefined
  return () => {
    const [first] = signingKeys
    if (first === undefined) return Promise.reject(new UpstreamError('misconfigured', 'signing_key_missing'))
    ready ??= readyKey(first)
    return ready
  }
}
