/** Grants from what the account agreed to. The consent record in SQL is the truth; a Grant is made from it when needed. */
import type Provider from 'oidc-provider'
import type { Grant, KoaContextWithOIDC } from 'oidc-provider'
import { permissionsIn, VERIFIED_CLAIMS, type VerifiedOffer } from '../interaction/verified_claims.ts'
import { createNotes } from '../platform/notes.ts'
import { asksForVerified, holdsVerified, offersFor, type VerifiedRecord } from './verified_claims.ts'

/** What an account agreed to for one client. */
export interface Agreed {
  readonly scopes: readonly string[]
  readonly claims: readonly string[]
  /** Scopes by resource indicator. */
  readonly resources: { readonly [indicator: string]: readonly string[] }
}

export type FindConsent = (accountId: string, clientId: string) => Promise<Agreed | undefined>

const looked = createNotes<object, Agreed | null>()

/** What the account had agreed to, for the consent page: `null` for nothing, undefined when this request did not look. */
export function consentIn(ctx: KoaContextWithOIDC): Agreed | null | undefined {
  return looked.get(ctx)
}

const offers = createNotes<object, readonly VerifiedOffer[]>()

/** What of the account's verified claims this request could be given, were it agreed to. */
export function verifiedIn(ctx: KoaContextWithOIDC): readonly VerifiedOffer[] {
  return offers.get(ctx) ?? []
}

/** Names of single claims that a Grant must hold: of verified ones only those that there are, each by itself. */
export function claimsAsked(ctx: KoaContextWithOIDC): string[] {
  const plain = [...ctx.oidc.requestParamClaims].filter((claim) => claim !== VERIFIED_CLAIMS)
  return [...plain, ...permissionsIn(verifiedIn(ctx))]
}

interface GrantDeps {
  readonly findConsent: FindConsent
  readonly verifiedOf: (accountId: string) => Promise<readonly VerifiedRecord[]>
  readonly clock: { now(): Date }
}

/**
 * `loadExistingGrant` of the engine. A first-party client is agreed to by using it, also to what was verified: its operator
 * has recorded that itself, and nobody else learns it. Others only by a consent record.
 */
export function createLoadExistingGrant({ findConsent, verifiedOf, clock }: GrantDeps) {
  return async (ctx: KoaContextWithOIDC): Promise<Grant | undefined> => {
    const { oidc } = ctx
    const { client, session, account } = oidc
    if (client === undefined || account === undefined) return undefined
    const { claims: parameter } = oidc.params as { claims?: unknown }
    if (asksForVerified(parameter)) {
      offers.set(ctx, offersFor(parameter, client, await verifiedOf(account.accountId), clock.now()))
    }
    const consented = (oidc.result?.consent as { grantId?: string } | undefined)?.grantId
    const grantId = consented ?? session?.grantIdFor(client.clientId)
    const grant = grantId === undefined ? undefined : await oidc.provider.Grant.find(grantId)
    const own = grant?.accountId === account.accountId && grant.clientId === client.clientId ? grant : undefined
    if (own !== undefined && covers(own, ctx)) return own
    const agreed = client.first_party
      ? requested(ctx)
      : await look(findConsent, ctx, account.accountId, client.clientId)
    if (agreed === undefined) return own
    const fresh = own ?? new oidc.provider.Grant({ accountId: account.accountId, clientId: client.clientId })
    if (add(fresh, agreed) || own === undefined) await fresh.save()
    return fresh
  }
}

async function look(find: FindConsent, ctx: KoaContextWithOIDC, accountId: string, clientId: string) {
  const agreed = await find(accountId, clientId)
  const { scopes, claims, resources } = agreed ?? {}
  looked.set(ctx, scopes && claims && resources ? { scopes, claims, resources } : null)
  return agreed
}

/** Makes or extends a Grant for a consent that was just given, outside the engine's routes. */
export function createGrantFor(provider: Provider) {
  return async (consent: Agreed & { accountId: string; clientId: string; grantId?: string | undefined }) => {
    const { accountId, clientId, grantId } = consent
    const found = grantId === undefined ? undefined : await provider.Grant.find(grantId)
    const own = found?.accountId === accountId && found.clientId === clientId ? found : undefined
    const grant = own ?? new provider.Grant({ accountId, clientId })
    add(grant, consent)
    return grant.save()
  }
}

function covers(grant: Grant, ctx: KoaContextWithOIDC): boolean {
  const { oidc } = ctx
  const scopes = new Set(grant.getOIDCScopeEncountered().split(' '))
  const claims = new Set(grant.getOIDCClaimsEncountered())
  if ([...oidc.requestParamOIDCScopes].some((scope) => !scopes.has(scope))) return false
  if (claimsAsked(ctx).some((claim) => !claims.has(claim))) return false
  return Object.entries(oidc.resourceServers ?? {}).every(([indicator, server]) => {
    const granted = new Set(grant.getResourceScopeEncountered(indicator).split(' '))
    return [...oidc.requestParamScopes].every((scope) => !server.scopes.has(scope) || granted.has(scope))
  })
}

/** All that this request asks for. */
export function requested(ctx: KoaContextWithOIDC): Agreed {
  const { oidc } = ctx
  const scopes = [...oidc.requestParamScopes]
  return {
    scopes: [...oidc.requestParamOIDCScopes],
    claims: claimsAsked(ctx),
    resources: Object.fromEntries(
      Object.entries(oidc.resourceServers ?? {}).map(([indicator, server]) => [
        indicator,
        scopes.filter((scope) => server.scopes.has(scope)),
      ]),
    ),
  }
}

/** What a Grant holds. */
export function agreedIn(grant: Grant): Agreed {
  const names = (list: string) => list.split(' ').filter(Boolean)
  const indicators = Object.keys(grant.resources ?? {})
  return {
    scopes: names(grant.getOIDCScopeEncountered()),
    claims: grant.getOIDCClaimsEncountered().filter((claim) => claim !== VERIFIED_CLAIMS),
    resources: Object.fromEntries(
      indicators.map((indicator) => [indicator, names(grant.getResourceScopeEncountered(indicator))]),
    ),
  }
}

/** Adds what is agreed; tells whether the Grant grew. */
function add(grant: Grant, agreed: Agreed): boolean {
  const before = JSON.stringify([grant.openid, grant.resources])
  if (agreed.scopes.length > 0) grant.addOIDCScope(agreed.scopes.join(' '))
  const container = holdsVerified(agreed.claims) ? [VERIFIED_CLAIMS] : []
  if (agreed.claims.length > 0) grant.addOIDCClaims([...agreed.claims, ...container])
  for (const [indicator, scopes] of Object.entries(agreed.resources)) {
    if (scopes.length > 0) grant.addResourceScope(indicator, scopes.join(' '))
  }
  return before !== JSON.stringify([grant.openid, grant.resources])
}
