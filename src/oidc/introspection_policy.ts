import type { Client, KoaContextWithOIDC } from 'oidc-provider'

/** Told of a token that the asker may not learn about. */
export type IntrospectionDenied = (ctx: KoaContextWithOIDC) => void

/** A client learns of its own tokens and, as a resource server, of those meant for it; nothing else, and of no dead client's. */
export function createIntrospectionPolicy(
  findClient: (clientId: string) => Promise<object | undefined>,
  denied: IntrospectionDenied,
) {
  return async (ctx: KoaContextWithOIDC, client: Client, token: { clientId?: string; aud?: unknown }) => {
    if (token.clientId === undefined || (await findClient(token.clientId)) === undefined) return false
    if (token.clientId === client.clientId) return true
    const serves = (client.resource_server_for ?? []) as readonly unknown[]
    const isAllowed = token.aud !== undefined && serves.includes(token.aud)
    if (!isAllowed) denied(ctx)
    return isAllowed
  }
}
