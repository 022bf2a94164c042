/** What the custom grants have in common: the one target of a request, its scopes, whom a client belongs to, and the token. */
import type { Client, KoaContextWithOIDC } from 'oidc-provider'
import type { Config } from '../config/config.ts'
import type { Fact } from '../events.ts'
import type { AccountState } from './adapter/adapter.ts'
import { type ShownKeys, tokenResponse } from './engine_internals.ts'
import { refusal } from './grant_refusals.ts'
import type { OwnTokenDeps } from './own_tokens.ts'
import type { Pairwise } from './pairwise.ts'
import { serverFor } from './resource_servers.ts'

export interface GrantDeps extends OwnTokenDeps {
  readonly config: Pick<Config, 'issuer' | 'resources' | 'tokens'>
  readonly accountState: (accountId: string) => Promise<AccountState | undefined>
  readonly pairwise: Pick<Pairwise, 'accountOf' | 'subjectOf'>
  /** States a fact. It is awaited before a token is made: without the fact there is none. */
  readonly state: (fact: Fact) => Promise<void>
}

export type TokenType = `urn:ietf:params:oauth:token-type:${string}`
export const ACCESS_TOKEN: TokenType = 'urn:ietf:params:oauth:token-type:access_token'

/** A parameter that was given once. What the engine lets through twice comes as a list. */
export function textOf({ oidc }: KoaContextWithOIDC, name: string): string | undefined {
  const value = oidc.params?.[name]
  return typeof value === 'string' ? value : undefined
}

/** Values of parameters that may come more than once (RFC 8693 §2.1). */
export function valuesOf({ oidc }: KoaContextWithOIDC, ...names: readonly string[]): string[] {
  return [...new Set(names.flatMap((name) => oidc.params?.[name] ?? []).map(String))]
}

/** The client of the request: it was authenticated before a grant is asked. */
export function clientOf({ oidc }: KoaContextWithOIDC): Client {
  if (oidc.client === undefined) throw new Error('there is no client')
  return oidc.client
}

/**
 * The row that the request is about. A request that names no target means the only one that there is; one that names two is
 * refused, since each token is for one (RFC 8707 §2.2 leaves it to us).
 */
export function rowFor<Row>(rows: readonly Row[], asked: readonly string[], target: (row: Row) => string): Row {
  const [named, ...others] = asked
  const found = named === undefined ? rows : rows.filter((row) => target(row) === named)
  const [row, ...more] = found
  if (others.length > 0 || more.length > 0) throw refusal('target_missing')
  if (row === undefined)
    throw refusal(rows.length === 0 || named !== undefined ? 'target_not_allowed' : 'target_missing')
  return row
}

/** The scopes of the new token: what is asked for, or everything, within all limits. Asking for more is told (A77). */
export function narrowed(asked: string | undefined, ...limits: readonly (readonly string[])[]): string[] {
  const most = limits.reduce((left, limit) => left.filter((scope) => limit.includes(scope)))
  const wanted = [...new Set(asked?.split(' ').filter(Boolean) ?? most)]
  const wider = wanted.filter((scope) => !most.includes(scope))
  if (wider.length > 0) throw refusal('scope_not_allowed', { scope: wider.join(' ') })
  if (wanted.length === 0) throw refusal('scope_empty')
  return wanted
}

/** Whether two clients may deal with each other's tokens: of two that act for an organization, each must act for the same. */
export function sameOrganization(a: Client, b: Client): boolean {
  const [one, other] = [a.organization_id, b.organization_id]
  return one === undefined || other === undefined || one === other
}

export function secondsOf({ now }: Pick<GrantDeps, 'now'>): number {
  return Math.floor(now().getTime() / 1000)
}

/** A token of the engine, before it is saved. */
export interface NewToken {
  resourceServer: unknown
  scope: string
  exp: number
  readonly tokenType: string
  setThumbprint(kind: 'jkt' | 'x5t', key: unknown): void
  save(): Promise<string>
}

interface Made {
  readonly resource: string
  readonly scopes: readonly string[]
  /** Seconds since the epoch; it ends earlier where tokens of this kind do. */
  readonly expiresAt: number
  /** Which of the keys shown it is bound to. */
  readonly bindTo: ShownKeys | undefined
}

/** Aims a new token at its resource server, limits it, and binds it. Says when it ends. */
export function aim(deps: GrantDeps, ctx: KoaContextWithOIDC, token: NewToken, made: Made): number {
  const client = clientOf(ctx)
  const declared = deps.config.resources.find(({ identifier }) => identifier === made.resource)
  // A row may outlive what it names: resource servers leave the settings without asking clients.
  if (declared === undefined) throw refusal('target_not_allowed')
  const info = serverFor(deps.config, declared, client, made.scopes)
  const { ResourceServer } = ctx.oidc.provider as unknown as {
    ResourceServer: new (identifier: string, info: object) => object
  }
  token.resourceServer = new ResourceServer(made.resource, info)
  token.scope = made.scopes.join(' ')
  token.exp = Math.min(made.expiresAt, secondsOf(deps) + Number(info.accessTokenTTL))
  // What the token was made of is nearly over; a store takes a life of nothing for one without end.
  if (token.exp - secondsOf(deps) < 2) throw refusal('subject_dead')
  if (made.bindTo?.jkt !== undefined) token.setThumbprint('jkt', made.bindTo.jkt)
  else if (made.bindTo?.certificate !== undefined) token.setThumbprint('x5t', made.bindTo.certificate)
  return token.exp
}

/** Scopes of a configured resource server. */
export function scopesAt({ config }: Pick<GrantDeps, 'config'>, resource: string): readonly string[] {
  const declared = config.resources.find(({ identifier }) => identifier === resource)
  if (declared === undefined) throw refusal('target_not_allowed')
  return declared.scopes
}

/** Saves the token and answers with it. */
export async function answerWith(
  deps: GrantDeps,
  ctx: KoaContextWithOIDC,
  token: NewToken,
  issued: { readonly issuedTokenType?: TokenType } = {},
): Promise<void> {
  const accessToken = await token.save()
  const { scope, tokenType } = token
  const expiresIn = token.exp - secondsOf(deps)
  ctx.body = tokenResponse(ctx, { ...issued, accessToken, tokenType, expiresIn, scope })
}
