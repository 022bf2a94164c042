/**
 * How much one client may ask: requests in a time, and tokens in a day or month. Counted when the client has proven who it is
 * and before anything is done for it: whoever only names a client uses nothing up, and of many requests at once exactly so
 * many pass (one command of the store). A client without limits costs nothing. While Redis is away each process counts alone.
 */
import type { X509Certificate } from 'node:crypto'
import Provider, { errors, type KoaContextWithOIDC } from 'oidc-provider'
import { MTLS_AUTH_METHODS } from '../platform/client_protocol.ts'
import type { Hit, Limit } from '../platform/key_value.ts'
import { hasKnownCertificate, type KeyedClient } from './client_keys.ts'

/** What the settings allow a client that says nothing of it. */
export interface ClientLimitDefaults {
  readonly requests?: number | undefined
  readonly seconds: number
  readonly tokensPerDay?: number | undefined
}

export interface ClientLimitDeps {
  readonly hit: (limits: readonly Limit[]) => Promise<Hit>
  readonly now: () => Date
  readonly defaults: ClientLimitDefaults
  readonly certificateOf: (ctx: KoaContextWithOIDC) => X509Certificate | undefined
  /** Whether the request shows the certificate that a `tls_client_auth` client has registered. */
  readonly isRegisteredCertificate: (ctx: KoaContextWithOIDC, client: object) => boolean
}

/** The part of the engine's client that is looked at. */
export interface LimitedClient extends KeyedClient {
  readonly clientId: string
  readonly rate_limit?: { readonly requests: number; readonly seconds: number } | undefined
  readonly quota?: { readonly tokens: number; readonly per: 'day' | 'month' } | undefined
}

interface Policy extends Limit {
  readonly name: 'requests' | 'tokens'
}

/** Grant types whose answers are polled for: their clients take `slow_down` as "not yet" (RFC 8628 §3.5). */
const POLLED = ['urn:ietf:params:oauth:grant-type:device_code', 'urn:openid:params:grant-type:ciba']

/** Counts where clients authenticate. */
export function limitClients(provider: Provider, deps: ClientLimitDeps): void {
  const counted = new WeakSet<object>()
  const admit = async (client: LimitedClient) => {
    const { ctx } = Provider
    if (ctx === undefined || counted.has(ctx)) return
    counted.add(ctx)
    await count(ctx, client, policiesOf(client, String(ctx.oidc.route), deps), deps)
  }
  const client = provider.Client as unknown as {
    prototype: { compareClientSecret(secret: string): Promise<boolean> }
    find(id: unknown): Promise<LimitedClient | undefined>
  }
  const { compareClientSecret } = client.prototype
  client.prototype.compareClientSecret = async function (this: LimitedClient, secret: string) {
    const matches = await compareClientSecret.call(this as never, secret)
    if (matches) await admit(this)
    return matches
  }
  const replays = provider.ReplayDetection as unknown as { unique(...used: unknown[]): Promise<boolean> }
  const { unique } = replays
  // The last thing that the engine looks at of a client assertion.
  replays.unique = async (...used) => {
    const isFirst = await unique.apply(replays, used)
    const { client, params } = Provider.ctx?.oidc ?? {}
    if (isFirst && client !== undefined && params?.client_assertion !== undefined)
      await admit(client as unknown as LimitedClient)
    return isFirst
  }
  const { find } = client
  // Certificates are compared without a pause in which anything could be counted: who shows a right one is counted here.
  client.find = async (id) => {
    const found = await find.call(client, id)
    if (found !== undefined && (await showsCertificate(found, deps))) await admit(found)
    return found
  }
}

async function showsCertificate(client: LimitedClient, deps: ClientLimitDeps): Promise<boolean> {
  if (!MTLS_AUTH_METHODS.includes(client.clientAuthMethod ?? '')) return false
  const { ctx } = Provider
  if (ctx === undefined || !isAuthenticating(ctx, client.clientId)) return false
  if (policiesOf(client, String(ctx.oidc.route), deps).length === 0) return false
  return client.clientAuthMethod === 'tls_client_auth'
    ? deps.isRegisteredCertificate(ctx, client)
    : hasKnownCertificate(client, deps.certificateOf(ctx))
}

/** Whether the engine is about to authenticate this client by its certificate. */
function isAuthenticating({ oidc, headers }: KoaContextWithOIDC, clientId: string): boolean {
  const { client, params } = oidc
  const isBare = !params?.client_secret && params?.client_assertion === undefined && !headers.authorization
  return client === undefined && isBare && params?.client_id === clientId && oidc.route !== 'authorization'
}

function policiesOf(
  client: LimitedClient,
  route: string,
  { defaults, now }: Pick<ClientLimitDeps, 'defaults' | 'now'>,
) {
  const { requests, seconds } = client.rate_limit ?? defaults
  const { tokens, per } = client.quota ?? { tokens: defaults.tokensPerDay, per: 'day' }
  const family = `{client:${client.clientId}}`
  const policies: Policy[] = []
  if (requests !== undefined) {
    policies.push({ name: 'requests', key: `${family}:requests:${seconds}`, limit: requests, windowSeconds: seconds })
  }
  if (tokens !== undefined && route === 'token') {
    const { began, seconds: windowSeconds } = periodOf(now(), per)
    policies.push({ name: 'tokens', key: `${family}:tokens:${per}:${began}`, limit: tokens, windowSeconds })
  }
  return policies
}

/** The day or month of the calendar, in UTC, and what is left of it. */
function periodOf(now: Date, per: 'day' | 'month'): { began: string; seconds: number } {
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()]
  const end = per === 'day' ? Date.UTC(year, month, day + 1) : Date.UTC(year, month + 1)
  const began = now.toISOString().slice(0, per === 'day' ? 10 : 7)
  return { began, seconds: Math.max(1, Math.ceil((end - now.getTime()) / 1000)) }
}

async function count(
  ctx: KoaContextWithOIDC,
  client: LimitedClient,
  policies: readonly Policy[],
  { hit }: ClientLimitDeps,
): Promise<void> {
  if (policies.length === 0) return
  // Fields of draft-ietf-httpapi-ratelimit-headers, lists of RFC 9651.
  const said = policies.map(({ name, limit, ...of }) => `"${name}";q=${limit};w=${lengthOf(name, of, client)}`)
  ctx.set('RateLimit-Policy', said.join(', '))
  const { allowed, retryAfter, by } = await hit(policies)
  if (allowed) return
  const used = policies.find(({ key }) => key === by)?.name ?? 'requests'
  ctx.set('RateLimit', `"${used}";r=0;t=${retryAfter}`)
  ctx.set('Retry-After', String(retryAfter))
  throw tooMany(ctx, used)
}

/** A period of the calendar is as long as it is, however much of it is left. */
function lengthOf(name: Policy['name'], { windowSeconds }: Omit<Policy, 'name' | 'limit'>, { quota }: LimitedClient) {
  if (name === 'requests') return windowSeconds
  return quota?.per === 'month' ? 2_592_000 : 86_400
}

/**
 * 429 (RFC 6585 §4) with a code that OAuth libraries know, since none is registered for this: who polls goes on more slowly,
 * anybody else tries again later.
 */
function tooMany({ oidc }: KoaContextWithOIDC, used: Policy['name']): Error {
  const polls = oidc.route === 'token' && POLLED.includes(String(oidc.params?.grant_type))
  const description = used === 'tokens' ? 'the token quota of the client is used up' : 'the client asks too often'
  const code = polls ? 'slow_down' : 'temporarily_unavailable'
  const error = new errors.CustomOIDCProviderError(code, `${description}; see Retry-After`)
  return Object.assign(error, { status: 429, statusCode: 429, expose: true, error_detail: description })
}
