/** The engine's configuration for the bare provider: the same clients, keys, algorithms and rotation as Genkan, nothing else. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { type Configuration, errors, type JWK, type KoaContextWithOIDC } from 'oidc-provider'
import type { ClientDeclaration, ResourceDeclaration } from '../clients.ts'

/** `oidc` metadata of a client: what Genkan adds to it is left out. */
function engineClients(clients: readonly ClientDeclaration[]): ClientDeclaration[] {
  return clients.map(({ first_party, resources, ...metadata }) => ({
    ...metadata,
    id_token_signed_response_alg: 'ES256',
    backchannel_logout_session_required: false,
  }))
}

export function bareConfiguration(
  clients: readonly ClientDeclaration[],
  resources: readonly ResourceDeclaration[],
): Configuration {
  const firstParty = new Set(clients.filter((client) => client.first_party === true).map((client) => client.client_id))
  return {
    clients: engineClients(clients) as never,
    jwks: { keys: signingKeys() },
    cookies: { keys: ['a bare provider has nothing to keep'] },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    scopes: ['openid', 'profile', 'email', ...resources.flatMap((resource) => resource.scopes)],
    claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
    findAccount: async (_ctx, id) => ({
      accountId: id,
      claims: async () => ({ sub: id, name: 'Somebody', email: id, email_verified: true }),
    }),
    loadExistingGrant: async (ctx) => {
      const clientId = ctx.oidc.client?.clientId ?? ''
      const granted = ctx.oidc.result?.consent?.grantId ?? ctx.oidc.session?.grantIdFor(clientId)
      if (granted !== undefined) return ctx.oidc.provider.Grant.find(granted)
      return firstParty.has(clientId) ? grantEverything(ctx) : undefined
    },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    ttl: {
      AccessToken: 3600,
      ClientCredentials: 3600,
      Grant: 86_400,
      IdToken: 3600,
      RefreshToken: 86_400,
      Session: 86_400,
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: async () => true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined as unknown as string,
        useGrantedResource: async () => true,
        getResourceServerInfo: (_ctx, indicator) => {
          const resource = resources.find(({ identifier }) => identifier === indicator)
          if (resource === undefined) throw new errors.InvalidTarget()
          return {
            audience: indicator,
            scope: resource.scopes.join(' '),
            accessTokenFormat: resource.access_token_format,
            accessTokenTTL: 300,
            jwt: { sign: { alg: 'ES256' } },
          }
        },
      },
    },
  }
}

/** First-party clients skip consent: the pattern of the engine's documentation. */
async function grantEverything({ oidc }: KoaContextWithOIDC) {
  const grant = new oidc.provider.Grant({
    clientId: oidc.client?.clientId ?? '',
    accountId: oidc.session?.accountId ?? '',
  })
  grant.addOIDCScope(String(oidc.params?.scope ?? 'openid'))
  await grant.save()
  return grant
}

function signingKeys(): JWK[] {
  const jwk = (key: KeyObject, alg: string) => ({ ...key.export({ format: 'jwk' }), alg, use: 'sig', kid: alg }) as JWK
  return [
    jwk(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, 'ES256'),
    jwk(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, 'RS256'),
    jwk(generateKeyPairSync('ed25519').privateKey, 'EdDSA'),
  ]
}
