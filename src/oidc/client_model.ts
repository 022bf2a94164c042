/** What we change in the engine's clients: where they come from, their secrets, and their logouts. */
import type { X509Certificate } from 'node:crypto'
import Provider, { errors, type KoaContextWithOIDC } from 'oidc-provider'
import { SCOPES } from './claims.ts'
import { type KeyedClient, keepClientKeys } from './client_keys.ts'

export interface ClientModelDeps {
  readonly secretMatches: (clientId: string, secret: string) => Promise<boolean>
  /** Whether it was a secret of the client. */
  readonly secretHasExpired: (clientId: string, secret: string) => Promise<boolean>
  readonly findClient: (clientId: string) => Promise<{ [key: string]: unknown } | undefined>
  readonly now: () => Date
  /** The certificate that a request shows, where such are asked for. */
  readonly certificateOf: (ctx: KoaContextWithOIDC) => X509Certificate | undefined
}

interface Model {
  readonly prototype: { [name: string]: (...args: never[]) => unknown }
  [name: string]: unknown
}

/** Applies our changes to one provider's clients. */
export function adaptClient(provider: Provider, deps: ClientModelDeps): void {
  const { secretMatches, secretHasExpired, findClient, now, certificateOf } = deps
  const model = provider.Client as unknown as Model
  // Secrets are stored hashed and several may overlap, so the engine's comparison with one plain value cannot serve.
  model.prototype.compareClientSecret = async function (this: { clientId: string }, secret: string) {
    if (await secretMatches(this.clientId, secret)) return true
    // Only the detail differs, which no answer tells.
    if (await secretHasExpired(this.clientId, secret)) throw new errors.InvalidClientAuth('the secret has expired')
    return false
  } as never
  const grantTypeAllowed = model.prototype.grantTypeAllowed as (this: unknown, type: string) => boolean
  // A grant type the client may not use has a code of its own (RFC 6749 §5.2); the engine would say invalid_request.
  model.prototype.grantTypeAllowed = function (this: unknown, type: string) {
    if (grantTypeAllowed.call(this, type)) return true
    const { route, params } = Provider.ctx?.oidc ?? {}
    if (route !== 'token' || params?.grant_type !== type) return false
    throw new errors.UnauthorizedClient('requested grant type is not allowed for this client')
  } as never
  // Logouts are enqueued with the end of the session (`sessionEnded`), pings with the person's answer; inline delivery would make
  // the person wait.
  model.deliverLogout = model.prototype.backchannelLogout
  model.prototype.backchannelLogout = (async () => {}) as never
  model.deliverPing = model.prototype.backchannelPing
  model.prototype.backchannelPing = (async () => {}) as never
  // The engine hashes a client's whole metadata at each request; our records stay identical while unchanged.
  const clients = new WeakMap<object, unknown>()
  model.find = async (id: unknown) => {
    if (typeof id !== 'string' || id.length === 0) return undefined
    const metadata = await findClient(id)
    if (metadata === undefined) return undefined
    const known = clients.get(metadata)
    if (known !== undefined) return known
    const Client = provider.Client as unknown as new (metadata: object) => object
    const client = new Client(engineMetadata(metadata, provider.issuer))
    keepClientKeys(client as KeyedClient, metadata, { now, certificateOf })
    clients.set(metadata, client)
    return client
  }
}

/**
 * Metadata as the engine takes it. It wants a secret where one is used (ours are compared in `compareClientSecret`), and
 * only its own scopes in `scope`: those of resource servers go beside it.
 */
function engineMetadata(metadata: { [key: string]: unknown }, issuer: string): object {
  const { scope, token_endpoint_auth_method: method, initiate_login_uri: startUri, jwks, ...rest } = metadata
  const allowed = typeof scope === 'string' ? scope.split(' ') : undefined
  const own = allowed?.filter((name) => (SCOPES as readonly string[]).includes(name))
  return {
    ...rest,
    token_endpoint_auth_method: method,
    // It writes thumbprints of certificates into the keys; our records are frozen.
    ...(jwks === undefined ? {} : { jwks: { keys: (jwks as Jwks).keys.map((key) => ({ ...key })) } }),
    // Under another name, since the engine refuses http here even for a loopback development client.
    ...(typeof startUri === 'string' ? { start_uri: withIssuer(startUri, issuer) } : {}),
    ...(own === undefined || own.length === 0 ? {} : { scope: own.join(' ') }),
    ...(allowed === undefined ? {} : { resource_scopes: allowed.filter((name) => !own?.includes(name)) }),
    ...(String(method).startsWith('client_secret_') ? { client_secret: 'stored hashed' } : {}),
  }
}

interface Jwks {
  readonly keys: readonly object[]
}

/** OIDC Core §4: who is sent to a client to sign in brings along by whom. Our own pages know. */
function withIssuer(uri: string, issuer: string): string {
  const { origin, searchParams } = new URL(uri)
  if (origin === issuer || searchParams.has('iss')) return uri
  return `${uri}${uri.includes('?') ? '&' : '?'}iss=${encodeURIComponent(issuer)}`
}
