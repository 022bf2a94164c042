/** RFC 7009 §2.1: a token is revoked by the client that it was issued to. */
import { type Client, errors, type KoaContextWithOIDC } from 'oidc-provider'

/**
 * Whether the client may revoke the token. A public client learns nothing of a token that is not its own; one that authenticated is
 * told, as the engine does by default, where the default also writes to the log in a form of its own.
 */
export function mayRevoke(
  _ctx: KoaContextWithOIDC,
  client: Client,
  token: { readonly clientId?: string | undefined },
): boolean {
  if (token.clientId === client.clientId) return true
  if (client.clientAuthMethod === 'none') return false
  throw new errors.InvalidRequest('client is not authorized to revoke the presented token')
}
