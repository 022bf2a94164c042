/** Which resource servers a client may ask tokens for (RFC 8707) and in which form (RFC 9068). */
import { type Client, errors, type KoaContextWithOIDC, type ResourceServer } from 'oidc-provider'
import type { ResourceDeclaration } from '../config/clients.ts'
import type { Config } from '../config/config.ts'
import type { DetailType } from '../platform/authorization_details.ts'
import { resourcesOfDetails } from './authorization_details.ts'

/** `resourceIndicators` of the engine: only declared resources, only those the client is allowed, only its scopes. */
export function createResourceServers(
  config: Pick<Config, 'resources' | 'tokens'>,
  detailTypes: readonly DetailType[] = [],
) {
  const declared = new Map(config.resources.map((resource) => [resource.identifier, resource]))
  return {
    enabled: true,
    // Without one, a person's token is for userinfo. A machine's would be for nobody and everybody: it gets the one resource
    // server that its client may use, and has to choose when there are several.
    defaultResource: ({ oidc }: KoaContextWithOIDC, client: Client) => {
      if (!machineAsks(oidc)) {
        const { authorization_details: details } = (oidc.params ?? {}) as { authorization_details?: unknown }
        const [first, ...more] = resourcesOfDetails(detailTypes, details) ?? []
        return (more.length === 0 ? first : [first, ...more]) as string
      }
      const [only, ...others] = (client.resources ?? []) as readonly string[]
      if (only === undefined || others.length > 0) {
        throw new errors.InvalidTarget(
          'a resource indicator is required: name the resource server that the token is for',
        )
      }
      return only
    },
    useGrantedResource: () => true,
    getResourceServerInfo(ctx: KoaContextWithOIDC, indicator: string, client: Client): ResourceServer {
      const resource = declared.get(indicator)
      const allowed = (client.resources ?? []) as readonly string[]
      if (resource === undefined || !allowed.includes(indicator)) {
        throw new errors.InvalidTarget('resource indicator is missing, or unknown')
      }
      const own = client.resource_scopes as readonly string[] | undefined
      const scopes = resource.scopes.filter((scope) => own?.includes(scope) !== false)
      refuseWiderScope(ctx, scopes)
      return serverFor(config, resource, client, scopes)
    },
  }
}

/** How tokens of this client for a resource server are made; they hold `scopes` at the most. */
export function serverFor(
  config: Pick<Config, 'tokens'>,
  resource: ResourceDeclaration,
  client: Client,
  scopes: readonly string[],
): ResourceServer {
  const format = (client.access_token_format as 'jwt' | 'opaque' | undefined) ?? resource.access_token_format
  return {
    audience: resource.identifier,
    scope: scopes.join(' '),
    accessTokenFormat: format,
    accessTokenTTL: lifetime(format, resource.access_token_seconds, client, config),
    jwt: { sign: { alg: 'ES256' } },
  }
}

/** The engine drops scopes it does not know; a machine that asks for too much must hear of it (RFC 6749 §5.2, A77). */
function refuseWiderScope({ oidc }: KoaContextWithOIDC, scopes: readonly string[]): void {
  const { scope } = oidc.params as { scope?: string }
  if (!machineAsks(oidc) || scope === undefined) return
  const wider = scope.split(' ').filter((name) => !scopes.includes(name))
  if (wider.length > 0) throw new errors.InvalidScope('requested scope is not allowed', wider.join(' '))
}

function machineAsks({ route, params }: KoaContextWithOIDC['oidc']): boolean {
  return route === 'token' && params?.grant_type === 'client_credentials'
}

/** A JWT cannot be revoked, so it lives five minutes at the most whatever is asked for. */
function lifetime(
  format: 'jwt' | 'opaque',
  seconds: number | undefined,
  client: Client,
  { tokens }: Pick<Config, 'tokens'>,
) {
  if (format === 'opaque') return (client.access_token_seconds as number | undefined) ?? tokens.accessTokenSeconds
  const wanted = (client.jwt_access_token_seconds as number | undefined) ?? seconds ?? tokens.jwtAccessTokenSeconds
  return Math.min(wanted, 300)
}
