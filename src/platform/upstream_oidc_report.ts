/** What an OpenID provider says it can do, held against what it is asked for. */
import type { ServerMetadata } from 'openid-client'
import { UpstreamError, type UpstreamReport } from './upstream.ts'
import { readyKey } from './upstream_keys.ts'
import { DEFAULT_ALGORITHMS, type OidcUpstreamSettings } from './upstream_oidc_settings.ts'

const SHOWN = [
  ...['authorization_endpoint', 'token_endpoint', 'userinfo_endpoint', 'jwks_uri'],
  ...['pushed_authorization_request_endpoint', 'authorization_response_iss_parameter_supported'],
  ...['backchannel_logout_supported', 'acr_values_supported', 'claims_supported', 'scopes_supported'],
]

export async function oidcReport(
  settings: OidcUpstreamSettings,
  discover: () => Promise<ServerMetadata>,
  loadKeys: (uri: string) => Promise<void>,
): Promise<UpstreamReport> {
  const { issuer } = settings
  let metadata: ServerMetadata
  try {
    metadata = await discover()
  } catch (error) {
    return { issuer, found: {}, problems: [`its discovery document cannot be used: ${reasonOf(error)}`] }
  }
  const found = SHOWN.flatMap((name) => (metadata[name] === undefined ? [] : [[name, String(metadata[name])]]))
  const unloaded = await loadKeys(metadata.jwks_uri ?? '').then(
    () => [],
    (error: unknown) => [`its keys cannot be used: ${reasonOf(error)}`],
  )
  const problems = [...unloaded, ...mismatches(settings, metadata), ...(await unusableKeys(settings))]
  return { issuer, found: Object.fromEntries(found), problems }
}

function mismatches(settings: OidcUpstreamSettings, metadata: ServerMetadata): string[] {
  const { algorithms = DEFAULT_ALGORITHMS, clientAuthentication, responseMode = 'query', signedRequests } = settings
  const method =
    clientAuthentication.method === 'apple_client_secret' ? 'client_secret_post' : clientAuthentication.method
  const listed = (name: string): readonly unknown[] | undefined => {
    const value = metadata[name]
    return Array.isArray(value) ? value : undefined
  }
  /** What is not listed is not known: no problem. */
  const lacks = (name: string, wanted: readonly string[]) => {
    const values = listed(name)
    return values !== undefined && !wanted.some((value) => values.includes(value))
  }
  const table: readonly [boolean, string][] = [
    [
      lacks('id_token_signing_alg_values_supported', algorithms),
      `it signs ID tokens with none of ${algorithms.join(', ')}`,
    ],
    [lacks('code_challenge_methods_supported', ['S256']), 'it does not take PKCE with S256'],
    [lacks('response_modes_supported', [responseMode]), `it does not answer by ${responseMode}`],
    [lacks('token_endpoint_auth_methods_supported', [method]), `it does not take ${method}`],
    [signedRequests === true && metadata.request_parameter_supported === false, 'it takes no signed requests'],
    [settings.userinfo === true && metadata.userinfo_endpoint === undefined, 'it has no UserInfo endpoint'],
  ]
  return table.filter(([wrong]) => wrong).map(([, text]) => text)
}

async function unusableKeys({ signingKeys = [], decryptionKeys = [], ...settings }: OidcUpstreamSettings) {
  const { clientAuthentication: how, signedRequests } = settings
  const signs = how.method === 'private_key_jwt' || signedRequests === true
  const problems = signs && signingKeys.length === 0 ? ['no key of ours signs for us'] : []
  const apple = how.method === 'apple_client_secret' ? [how.key] : []
  for (const key of [...signingKeys, ...decryptionKeys, ...apple]) {
    await readyKey(key).catch(() => problems.push(`our key ${key.keyId} is no private key for ${key.algorithm}`))
  }
  return problems
}

function reasonOf(error: unknown): string {
  return error instanceof UpstreamError ? error.reason : 'unknown'
}
