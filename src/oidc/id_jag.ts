/**
 * Identity Assertion JWT Authorization Grants (draft-ietf-oauth-identity-assertion-authz-grant-04), issued: our word to another
 * authorization server about a person who has signed in to the client, for the client to get a token there. It is no access
 * token, opens nothing here, and is never taken back by us as a grant.
 */
import type { Client, Grant, KoaContextWithOIDC } from 'oidc-provider'
import type { Config } from '../config/config.ts'
import type { IdentityAssertionRow } from '../platform/grant_policies.ts'
import { newId } from '../platform/ids.ts'
import { isAlive, type Root } from './delegation.ts'
import { type ShownKeys, shownKeys, signJwt, spendProof, tokenResponse } from './engine_internals.ts'
import { refusal } from './grant_refusals.ts'
import {
  clientOf,
  type GrantDeps,
  narrowed,
  rowFor,
  secondsOf,
  type TokenType,
  textOf,
  valuesOf,
} from './grant_requests.ts'
import { accountOf, readIdToken } from './own_tokens.ts'
import { sectorOf } from './pairwise.ts'

export const ID_JAG: TokenType = 'urn:ietf:params:oauth:token-type:id-jag'
export const ID_JAG_TYP = 'oauth-id-jag+jwt'
const ID_TOKEN: TokenType = 'urn:ietf:params:oauth:token-type:id_token'
const REFRESH_TOKEN: TokenType = 'urn:ietf:params:oauth:token-type:refresh_token'

export interface IdJagDeps extends GrantDeps {
  /** The sign-in behind an ID token, by its `sid`; undefined when it was ended. */
  readonly signInOf: (of: {
    accountId: string
    clientId: string
    sid: string
  }) => Promise<{ readonly grantId: string; readonly sessionUid: string } | undefined>
  readonly accountClaims: (accountId: string) => Promise<{ readonly [claim: string]: unknown } | undefined>
}

/** Who the assertion is about, and how that person signed in. */
interface SignedIn {
  readonly accountId: string
  readonly grant: Grant
  /** Seconds since the epoch; an ID-JAG does not outlive the ID token that it was made of. */
  readonly exp: number
  readonly authentication: { readonly auth_time?: unknown; readonly acr?: unknown; readonly amr?: unknown }
}

/** What the discovery documents say of it (§7): what is issued, and whether such of others are taken; never whose. */
export function idJagMetadata({ assertionIssuers }: Pick<Config, 'assertionIssuers'>) {
  const accepts = assertionIssuers.some(({ profiles }) => Array.isArray(profiles) && profiles.includes('id-jag'))
  return {
    identity_chaining_requested_token_types_supported: [ID_JAG],
    ...(accepts && { authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'] }),
  }
}

/** Answers with an ID-JAG (§4.3). */
export async function issueIdJag(deps: IdJagDeps, ctx: KoaContextWithOIDC): Promise<void> {
  const client = clientOf(ctx)
  if (client.clientAuthMethod === 'none') throw refusal('public_client')
  const rows = (client.identity_assertions ?? []) as readonly IdentityAssertionRow[]
  const row = rowFor(rows, valuesOf(ctx, 'audience'), ({ audience }) => audience)
  // The draft leaves what an actor token would mean to others; ignoring one would hide who acts.
  if (textOf(ctx, 'actor_token') !== undefined || textOf(ctx, 'actor_token_type') !== undefined) {
    throw refusal('actor_token_unused')
  }
  const keys = await shownKeys(ctx)
  const person = await signedIn(deps, ctx, client, row, keys)
  if ((await deps.accountState(person.accountId))?.active !== true) throw refusal('subject_dead')
  const resources = valuesOf(ctx, 'resource')
  if (resources.some((resource) => !row.resources.includes(resource))) throw refusal('target_not_allowed')
  const asked = textOf(ctx, 'scope')
  const scopes = asked === undefined && row.scopes.length === 0 ? [] : narrowed(asked, row.scopes)

  const iat = secondsOf(deps)
  const exp = Math.min(iat + row.max_seconds, person.exp)
  const jti = newId()
  const scope = scopes.length === 0 ? undefined : scopes.join(' ')
  const claims = {
    ...{ iss: deps.issuer, sub: await subjectFor(deps, ctx, client, row, person.accountId), aud: row.audience },
    ...{ client_id: row.client_id ?? client.clientId, jti, iat, exp, scope },
    resource: resources.length > 1 ? resources : resources[0],
    ...person.authentication,
    ...(await addressOf(deps, person)),
    ...(keys.jkt !== undefined && { cnf: { jkt: keys.jkt } }),
  }
  await spendProof(ctx, keys)
  await deps.state({
    ...{ type: 'assertion.issued', accountId: person.accountId, clientId: client.clientId },
    ...{ actor: `client:${client.clientId}`, data: { audience: row.audience, scopes, resources, jti, expiresAt: exp } },
  })
  const accessToken = await signJwt(ctx, claims, ID_JAG_TYP)
  ctx.body = tokenResponse(ctx, { accessToken, issuedTokenType: ID_JAG, tokenType: 'N_A', expiresIn: exp - iat, scope })
}

/** Reads the subject token: an ID token or a refresh token, the client's own and of a sign-in that is alive (§4.3.3). */
async function signedIn(
  deps: IdJagDeps,
  ctx: KoaContextWithOIDC,
  client: Client,
  row: IdentityAssertionRow,
  keys: ShownKeys,
): Promise<SignedIn> {
  const type = textOf(ctx, 'subject_token_type')
  const value = textOf(ctx, 'subject_token')
  if (value === undefined) throw refusal('subject_missing')
  if (type === ID_TOKEN && row.subject_token_types.includes('id_token')) return byIdToken(deps, ctx, client, value)
  if (type === REFRESH_TOKEN && row.subject_token_types.includes('refresh_token')) {
    return byRefreshToken(ctx, client, value, keys)
  }
  throw refusal('subject_token_type')
}

async function byIdToken(deps: IdJagDeps, ctx: KoaContextWithOIDC, client: Client, value: string): Promise<SignedIn> {
  const claims = await readIdToken(deps, value, client)
  // Without a `sid` it is of no sign-in that could be asked for; a signed answer of userinfo has none either.
  if (claims === undefined || typeof claims.sid !== 'string') throw refusal('subject_unreadable')
  const accountId = await accountOf(deps.pairwise, String(claims.sub), client)
  if (accountId === undefined) throw refusal('subject_unreadable')
  const found = await deps.signInOf({ accountId, clientId: client.clientId, sid: claims.sid })
  if (found === undefined) throw refusal('subject_dead')
  const grant = await aliveGrant(ctx, { ...found, clientId: client.clientId }, accountId)
  const { auth_time, acr, amr } = claims
  return { accountId, grant, exp: Number(claims.exp), authentication: { auth_time, acr, amr } }
}

/** A refresh token as the engine keeps it. */
interface StoredRefreshToken {
  readonly clientId: string
  readonly accountId: string
  readonly grantId: string
  readonly isExpired: boolean
  readonly consumed?: unknown
  readonly jkt?: string
  readonly 'x5t#S256'?: string
  readonly authTime?: number
  readonly acr?: string
  readonly amr?: readonly string[]
}

/** As the refresh grant would take it, but for the rotation: what is used here stays good there. */
async function byRefreshToken(
  ctx: KoaContextWithOIDC,
  client: Client,
  value: string,
  keys: ShownKeys,
): Promise<SignedIn> {
  const { RefreshToken, Grant } = ctx.oidc.provider
  const stored = (await RefreshToken.find(value, { ignoreExpiration: true })) as unknown as
    | StoredRefreshToken
    | undefined
  if (stored === undefined || stored.clientId !== client.clientId || stored.isExpired)
    throw refusal('subject_unreadable')
  const { accountId, grantId, authTime, acr, amr, jkt, 'x5t#S256': x5t } = stored
  if (stored.consumed) {
    // One that was rotated long ago is in the hands of somebody who should not have it, as at the refresh grant.
    await (await Grant.find(grantId))?.destroy()
    throw refusal('subject_dead')
  }
  if ((jkt !== undefined && jkt !== keys.jkt) || (x5t !== undefined && x5t !== keys.x5t))
    throw refusal('subject_unproven')
  const grant = await aliveGrant(ctx, { grantId, clientId: client.clientId }, accountId)
  return { accountId, grant, exp: Number.POSITIVE_INFINITY, authentication: { auth_time: authTime, acr, amr } }
}

async function aliveGrant({ oidc }: KoaContextWithOIDC, root: Root, accountId: string): Promise<Grant> {
  const isLive = await isAlive(oidc.provider, root, accountId)
  const grant = isLive ? await oidc.provider.Grant.find(root.grantId) : undefined
  if (grant === undefined) throw refusal('subject_dead')
  return grant
}

/** What the other server calls the person: as an ID token of ours for it would. */
async function subjectFor(
  { pairwise }: IdJagDeps,
  ctx: KoaContextWithOIDC,
  client: Client,
  row: IdentityAssertionRow,
  accountId: string,
): Promise<string> {
  const known = row.subject_of === undefined ? client : await ctx.oidc.provider.Client.find(row.subject_of)
  if (known === undefined) throw refusal('target_not_allowed')
  return known.subjectType === 'pairwise' ? pairwise.subjectOf(accountId, sectorOf(known)) : accountId
}

/** The address, for a server that finds people by it, when the person has let the client have it. */
async function addressOf({ accountClaims }: IdJagDeps, { accountId, grant }: SignedIn): Promise<object> {
  if (!grant.getOIDCScope().split(' ').includes('email')) return {}
  const { email, email_verified } = (await accountClaims(accountId)) ?? {}
  return { email, email_verified }
}

/** ID tokens say their `sid` to clients that turn them into ID-JAGs: by it a sign-in is found again. */
export function nameSessions(clientModel: object): void {
  const { prototype } = clientModel as { prototype: { includeSid(this: Client): boolean } }
  const includeSid = prototype.includeSid
  prototype.includeSid = function (this: Client) {
    return this.identity_assertions !== undefined || includeSid.call(this)
  }
}
