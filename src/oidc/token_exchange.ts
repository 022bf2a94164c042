/**
 * Token exchange (RFC 8693) for delegation: a service that was called with a person's access token gets one for the next
 * service. The result always names who acts and never more than was there: its scopes, its time, its key, and who may act are
 * those of the token shown or less, by a row of the client's `token_exchange`.
 */
import type { Client, KoaContextWithOIDC } from 'oidc-provider'
import type { Fact } from '../events.ts'
import type { ExchangeRow } from '../platform/grant_policies.ts'
import { type Act, actingIn, actingNow, actorsIn } from './actors.ts'
import { carry, isAlive, mayAct, type Root } from './delegation.ts'
import { type ShownKeys, shownKeys, spendProof } from './engine_internals.ts'
import { refusal } from './grant_refusals.ts'
import {
  ACCESS_TOKEN,
  aim,
  answerWith,
  clientOf,
  type GrantDeps,
  type NewToken,
  narrowed,
  rowFor,
  sameOrganization,
  scopesAt,
  secondsOf,
  textOf,
  valuesOf,
} from './grant_requests.ts'
import { accountOf, readAccessToken } from './own_tokens.ts'

/** An access token that somebody has shown, whatever its form. */
interface ShownToken {
  readonly clientId: string
  readonly audience: string | undefined
  readonly scopes: readonly string[]
  readonly exp: number
  readonly cnf: { readonly jkt?: unknown; readonly 'x5t#S256'?: unknown }
  /** What it says beside that. */
  readonly claims: { readonly [claim: string]: unknown }
}

interface Subject extends ShownToken {
  readonly accountId: string
  readonly root: Root
}

/** Answers with an access token for another resource server. */
export async function exchangeAccessToken(deps: GrantDeps, ctx: KoaContextWithOIDC): Promise<void> {
  const client = clientOf(ctx)
  const rows = (client.token_exchange ?? []) as readonly ExchangeRow[]
  const row = rowFor(rows, valuesOf(ctx, 'resource', 'audience'), ({ resource }) => resource)
  if (client.clientAuthMethod === 'none' && !row.public) throw refusal('public_client')
  const subject = await subjectOf(deps, ctx, client)
  const keys = await shownKeys(ctx)
  const actor = await actorOf(deps, ctx, client, row, keys)
  if (!mayAct(subject.claims.may_act, actor)) throw refusal('actor_not_named')
  const act = actingNow(actor, subject.claims.act as Act | undefined)
  if (act === undefined) throw refusal('chain_too_long')
  const bindTo = confirmed(subject, keys, row, client)
  const scopes = narrowed(textOf(ctx, 'scope'), subject.scopes, row.scopes, scopesAt(deps, row.resource))

  const { AccessToken } = ctx.oidc.provider
  const { accountId, root } = subject
  const token = new AccessToken({ accountId, client, gty: 'token_exchange' } as never) as unknown as NewToken
  Object.assign(token, { root })
  const expiresAt = Math.min(subject.exp, secondsOf(deps) + row.max_seconds)
  const exp = aim(deps, ctx, token, { resource: row.resource, scopes, expiresAt, bindTo })
  carry(token, inherited(subject, act))
  await spendProof(ctx, keys)
  const data = { audience: row.resource, scopes, actors: actorsIn(act), from: subject.clientId, expiresAt: exp }
  const fact = {
    type: 'token.exchanged',
    accountId,
    clientId: client.clientId,
    actor: `client:${actor}`,
    data,
  } as const
  await stateExchange(deps, ctx, { subject, actor, act, resource: row.resource, scopes }, fact)
  await answerWith(deps, ctx, token, { issuedTokenType: ACCESS_TOKEN })
}

interface Exchange {
  readonly subject: Subject
  readonly actor: string
  readonly act: Act
  readonly resource: string
  readonly scopes: readonly string[]
}

/**
 * States the exchange. Where agents have to do with it, it is listed among what acts for the person, who may have taken it
 * back: an agent with a token of theirs that no consent of its own gave it is otherwise seen by nobody (CAPABILITIES R27).
 * The holder of the token counts beside the actor, who may be a machine that the agent only brings along.
 */
async function stateExchange(deps: GrantDeps, ctx: KoaContextWithOIDC, exchange: Exchange, fact: Fact): Promise<void> {
  const { subject, actor, act, resource, scopes } = exchange
  const { clientId } = clientOf(ctx)
  const { accountId, root } = subject
  const isOther = (id: string) => id !== root.clientId
  const found = await Promise.all([...new Set([actor, clientId])].map((id) => ctx.oidc.provider.Client.find(id)))
  const agents = found.flatMap((each) => (each?.agent === undefined ? [] : [each.clientId])).filter(isOther)
  const isFirst = subject.claims.act === undefined && subject.clientId === root.clientId
  if (agents.length === 0 && isFirst) return deps.state(fact)
  const acting = [...new Set([...actingIn(act, clientId), subject.clientId])].filter(isOther)
  const delegation = { accountId, subjectClientId: root.clientId, agents, acting, resource, scopes }
  if (!(await deps.delegate(delegation, fact))) throw refusal('actor_taken_back')
}

/** How the person signed in stays true; who may act stays limited. */
function inherited({ claims }: Subject, act: Act): object {
  const kept = ['acr', 'amr', 'auth_time', 'may_act'].flatMap((name) =>
    claims[name] === undefined ? [] : [[name, claims[name]] as const],
  )
  return { ...Object.fromEntries(kept), act }
}

/** The token of the person, when it is ours, good, alive with all that it hangs on, and was meant for the client (A80). */
async function subjectOf(deps: GrantDeps, ctx: KoaContextWithOIDC, client: Client): Promise<Subject> {
  if (textOf(ctx, 'subject_token_type') !== ACCESS_TOKEN) throw refusal('subject_token_type')
  const value = textOf(ctx, 'subject_token')
  if (value === undefined) throw refusal('subject_missing')
  const subject = value.includes('.') ? await jwtSubject(deps, ctx, value) : await opaqueSubject(ctx, value)
  if ((await deps.accountState(subject.accountId))?.active !== true) throw refusal('subject_dead')
  if (!(await isAlive(ctx.oidc.provider, subject.root, subject.accountId))) throw refusal('subject_dead')
  if (!isMeantFor(client, subject)) throw refusal('subject_of_another')
  const issuedTo = await ctx.oidc.provider.Client.find(subject.clientId)
  if (issuedTo === undefined) throw refusal('subject_dead')
  if (!sameOrganization(issuedTo, client)) throw refusal('subject_foreign_organization')
  return subject
}

async function jwtSubject(deps: GrantDeps, ctx: KoaContextWithOIDC, value: string): Promise<Subject> {
  const claims = await readAccessToken(deps, value)
  if (claims === undefined) throw refusal('subject_unreadable')
  const { provider } = ctx.oidc
  const shown = shownJwt(claims)
  if (claims.sub === shown.clientId) throw refusal('subject_no_person')
  const client = await provider.Client.find(shown.clientId)
  const accountId = await accountOf(deps.pairwise, String(claims.sub), client)
  if (accountId === undefined || typeof claims.grant_id !== 'string') throw refusal('subject_dead')
  // Whose grant it is the token does not say when it was exchanged before; that it is of the account is compared.
  const grant = await provider.Grant.find(claims.grant_id)
  if (grant?.clientId === undefined) throw refusal('subject_dead')
  return { ...shown, accountId, root: { grantId: claims.grant_id, clientId: grant.clientId } }
}

function shownJwt(claims: { readonly [claim: string]: unknown }): ShownToken {
  return {
    clientId: String(claims.client_id),
    audience: typeof claims.aud === 'string' ? claims.aud : undefined,
    scopes: typeof claims.scope === 'string' ? claims.scope.split(' ') : [],
    exp: Number(claims.exp),
    cnf: (claims.cnf ?? {}) as ShownToken['cnf'],
    claims,
  }
}

/** An opaque token as the engine keeps it. */
interface StoredToken {
  readonly clientId: string
  readonly accountId?: string
  readonly aud?: string
  readonly scopes: ReadonlySet<string>
  readonly exp: number
  readonly jkt?: string
  readonly 'x5t#S256'?: string
  readonly extra?: { readonly [claim: string]: unknown }
  readonly grantId?: string
  readonly root?: Root
  readonly expiresWithSession?: boolean
  readonly sessionUid?: string
}

async function opaqueSubject({ oidc }: KoaContextWithOIDC, value: string): Promise<Subject> {
  // Other models' values are under other names: a refresh token or a code is not found here (A27).
  const stored = (await oidc.provider.AccessToken.find(value)) as unknown as StoredToken | undefined
  if (stored === undefined) throw refusal('subject_unreadable')
  const { accountId, clientId, grantId, expiresWithSession, sessionUid } = stored
  if (accountId === undefined) throw refusal('subject_no_person')
  const own = grantId && { grantId, clientId, ...(expiresWithSession && { sessionUid }) }
  const root = stored.root ?? own
  if (!root) throw refusal('subject_dead')
  return { ...shownStored(stored), accountId, root }
}

function shownStored({ clientId, aud, scopes, exp, jkt, 'x5t#S256': x5t, extra }: StoredToken): ShownToken {
  const cnf = { ...(jkt && { jkt }), ...(x5t && { 'x5t#S256': x5t }) }
  return { clientId, audience: aud, scopes: [...scopes], exp, cnf, claims: extra ?? {} }
}

/** A token reaches a client by being given to it, or as that of its caller. Any other was found or taken (confused deputy). */
function isMeantFor(client: Client, { clientId, audience }: ShownToken): boolean {
  const serves = (client.resource_server_for ?? []) as readonly string[]
  return clientId === client.clientId || (audience !== undefined && serves.includes(audience))
}

/** Who acts: the client that asks, or the one whose own access token it brings. */
async function actorOf(
  deps: GrantDeps,
  ctx: KoaContextWithOIDC,
  client: Client,
  { actors = [client.clientId] }: ExchangeRow,
  keys: ShownKeys,
): Promise<string> {
  const value = textOf(ctx, 'actor_token')
  const type = textOf(ctx, 'actor_token_type')
  if ((value === undefined) !== (type === undefined)) throw refusal('actor_token_type')
  if (type !== undefined && type !== ACCESS_TOKEN) throw refusal('actor_token_type')
  const actor = value === undefined ? client.clientId : await machineIn(deps, ctx, client, value, keys)
  if (!actors.includes(actor)) throw refusal('actor_not_allowed')
  return actor
}

/** The client that an access token of a machine is about. */
async function machineIn(
  deps: GrantDeps,
  ctx: KoaContextWithOIDC,
  client: Client,
  value: string,
  keys: ShownKeys,
): Promise<string> {
  const { provider } = ctx.oidc
  const shown = value.includes('.') ? await jwtMachine(deps, value) : await opaqueMachine(ctx, value)
  if (!isMeantFor(client, shown)) throw refusal('actor_of_another')
  const actor = await provider.Client.find(shown.clientId)
  if (actor === undefined) throw refusal('actor_unreadable')
  if (!sameOrganization(actor, client)) throw refusal('actor_foreign_organization')
  if (isBound(shown) && !hasKey(shown, keys)) throw refusal('actor_unproven')
  return shown.clientId
}

async function jwtMachine(deps: GrantDeps, value: string): Promise<ShownToken> {
  const claims = await readAccessToken(deps, value)
  if (claims === undefined || claims.sub !== claims.client_id) throw refusal('actor_unreadable')
  return shownJwt(claims)
}

async function opaqueMachine({ oidc }: KoaContextWithOIDC, value: string): Promise<ShownToken> {
  const stored = (await oidc.provider.ClientCredentials.find(value)) as unknown as StoredToken | undefined
  if (stored === undefined) throw refusal('actor_unreadable')
  return shownStored(stored)
}

function isBound({ cnf }: ShownToken): boolean {
  return Object.keys(cnf).length > 0
}

/** Whether the key that a token is bound to is one of those shown. A confirmation that we do not know is none (RFC 7800 §3.1). */
function hasKey({ cnf: { jkt, 'x5t#S256': x5t } }: ShownToken, keys: ShownKeys): boolean {
  if (jkt !== undefined) return jkt === keys.jkt
  return x5t !== undefined && x5t === keys.x5t
}

/**
 * Keeps the constraint of the token shown (RFC 9449 §11, RFC 8705 §7): whoever has copied it cannot exchange it, and the new
 * one is bound too: to the same key, or to the actor's own where the row says so.
 */
function confirmed(subject: Subject, keys: ShownKeys, row: ExchangeRow, client: Client): ShownKeys | undefined {
  const hasOwn = keys.jkt !== undefined || keys.x5t !== undefined
  if (isBound(subject) && !(hasKey(subject, keys) || (row.own_key && hasOwn))) throw refusal('subject_unproven')
  // A certificate that was not asked for, as every client of a proxy shows one, binds nothing by itself.
  const byCertificate = isBound(subject) || client.tlsClientCertificateBoundAccessTokens === true
  return keys.jkt !== undefined || byCertificate ? keys : undefined
}
