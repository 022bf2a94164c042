/** The rules of consent: what a client asks, what is new, and what "Allow" gives it. */
import type { Fact } from '../../events.ts'
import type { FlowState } from '../../interaction/step.ts'
import { permissionsIn, readVerifiedPermission, type VerifiedOffer } from '../../interaction/verified_claims.ts'
import type { Statement } from '../../platform/outbox.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { ConsentRepository } from './repository.ts'
import type { AgreedDetail, Agreement, Consent, Permission, ResourceScopes, StoredDetail } from './types.ts'

export interface ConsentDeps {
  readonly repository: ConsentRepository
  readonly outbox: { insert(facts: readonly Fact[]): Statement; wake(): void }
  readonly clock: { now(): Date }
  readonly newId: () => string
  /** Makes the engine's Grant for an agreement, or extends the one named if it is this account's and client's; returns its id. */
  readonly grantFor: (
    grant: Agreement & { accountId: string; clientId: string; grantId?: string | undefined },
  ) => Promise<string>
}

/** What is agreed to on one page. */
type Asked = Agreement & { readonly details?: readonly Omit<AgreedDetail, 'id'>[] }

/** For the engine: the Grant, and the digests of what was agreed to in detail, for this request and no other. */
export interface Allowed {
  readonly grantId: string
  readonly details?: readonly string[]
}

export type ConsentService = ReturnType<typeof createConsentService>

export function createConsentService({ repository, outbox, clock, newId, grantFor }: ConsentDeps) {
  return {
    find: (accountId: string, clientId: string): Promise<Consent | undefined> => repository.find(accountId, clientId),
    listByAccount: (accountId: string): Promise<Consent[]> => repository.listByAccount(accountId),
    /** Which of these details, by digest, an account has agreed to so that it counts now (RFC 9396). */
    liveDetails: (accountId: string, clientId: string, digests: readonly string[]) =>
      repository.liveDetails({ accountId, clientId, digests }, clock.now()),
    detailsByAccount: (accountId: string): Promise<StoredDetail[]> => repository.listDetails(accountId, clock.now()),
    permissionsOf,

    /** Takes back the agreement. Revoking the grants made from it is `sessions.revokeClient`, which calls this. */
    revoke: (accountId: string, clientId: string, now: Date, tx: Tx): Promise<boolean> =>
      repository.revoke(accountId, clientId, now, tx),

    /** Takes back every account's agreement with a client that ends. */
    revokeAll: (clientId: string, now: Date, tx: Tx): Promise<string[]> => repository.revokeAll(clientId, now, tx),

    /**
     * Stores the agreement with its fact, then makes the engine's Grant from all that is agreed, or extends `grantId`.
     * In this order a crash leaves an agreement without a Grant, which `loadExistingGrant` mends; never the reverse.
     */
    async allow(accountId: string, clientId: string, asked: Asked, grantId?: string): Promise<Allowed> {
      const details = (asked.details ?? []).map((detail): AgreedDetail => ({ id: newId(), ...detail }))
      const digests = details.map(({ digest }) => digest)
      const data = {
        ...{ scopes: [...asked.scopes], claims: [...asked.claims], resources: { ...asked.resources } },
        ...(digests.length > 0 && { details: digests }),
      }
      const facts = outbox.insert([{ type: 'consent.granted', accountId, clientId, data }])
      const consent = await repository.grant(newId(), accountId, clientId, { ...asked, details }, clock.now(), facts)
      outbox.wake()
      const { scopes, claims, resources } = consent
      const made = await grantFor({ accountId, clientId, scopes, claims, resources, grantId })
      if (details.length === 0) return { grantId: made }
      const ids = details.map(({ id }) => id)
      await repository.bindDetails(ids, made)
      return { grantId: made, details: digests }
    },
  }
}

/**
 * What is asked now, from the engine's own prompt details and parameters and never from a form. The details name what the
 * present Grant lacks; what was agreed or granted before is asked again only as far as this request repeats it.
 */
export function askedBy({ prompt, params }: Pick<FlowState, 'prompt' | 'params'>, before?: Agreement): Agreement {
  const { missingOIDCScope, missingOIDCClaims, missingResourceScopes, granted } = prompt.details
  const requested = new Set(strings(typeof params.scope === 'string' ? params.scope.split(' ') : []))
  const held = [before, agreementOf(granted)].filter((agreement) => agreement !== undefined)
  const claims = new Set([...claimsIn(params.claims), ...permissionsIn(offeredIn({ prompt }))])
  return {
    scopes: unique([
      ...held.flatMap(({ scopes }) => scopes).filter((scope) => requested.has(scope)),
      ...strings(missingOIDCScope),
    ]),
    claims: unique([
      ...held.flatMap((agreement) => agreement.claims).filter((claim) => claims.has(claim)),
      ...strings(missingOIDCClaims),
    ]),
    resources: mergeResources(
      ...held.map((agreement) => repeatedResources(agreement, requested)),
      resourceScopes(missingResourceScopes),
    ),
  }
}

/** An agreement out of the engine's details, where they have one. */
function agreementOf(granted: unknown): Agreement | undefined {
  if (typeof granted !== 'object' || granted === null) return undefined
  const { scopes, claims, resources } = granted as { readonly [name: string]: unknown }
  return { scopes: strings(scopes), claims: strings(claims), resources: resourceScopes(resources) }
}

/** Names in the `claims` parameter (OIDC Core §5.5), which the engine has checked, beside those that need no consent. */
function claimsIn(parameter: unknown): ReadonlySet<string> {
  if (typeof parameter !== 'string') return new Set()
  const { userinfo, id_token: idToken } = JSON.parse(parameter) as {
    userinfo?: object | null
    id_token?: object | null
  }
  return new Set([...Object.keys(userinfo ?? {}), ...Object.keys(idToken ?? {})])
}

/**
 * What the account had agreed to when the engine asked, as `oidc/grants.ts` found it: the page shows and the answer adds to
 * one and the same. `null` when there was nothing, undefined when the engine had no reason to look.
 */
export function agreedBefore({ prompt }: Pick<FlowState, 'prompt'>): Agreement | null | undefined {
  const { agreed } = prompt.details
  return agreed === null ? null : agreementOf(agreed)
}

/** What was verified of the person and could be given to the client, as the engine found it. */
export function offeredIn({ prompt }: Pick<FlowState, 'prompt'>): readonly VerifiedOffer[] {
  const { verified } = prompt.details
  return Array.isArray(verified) ? (verified as VerifiedOffer[]) : []
}

/** Known scopes in a fixed order, so that the same request always reads the same; what lasts longest comes last. */
const READING_ORDER = ['openid', 'profile', 'email', 'address', 'phone', '', 'offline_access']

/** The agreement as a page shows it, what is new against `before` marked. */
export function permissionsOf(agreement: Agreement, before?: Agreement): Permission[] {
  const lines = (names: readonly string[], held: readonly string[] = [], resource = ''): Permission[] =>
    names.map((name) => {
      const verified = readVerifiedPermission(name)
      const isNew = !held.includes(name)
      if (verified === undefined) return { name, isNew, resource }
      return { name: verified.claim, isNew, resource, verifiedBy: verified.upstream }
    })
  const rank = (scope: string) => READING_ORDER.indexOf(READING_ORDER.includes(scope) ? scope : '')
  const scopes = [...agreement.scopes].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b))
  return [
    ...lines(scopes, before?.scopes),
    ...lines(agreement.claims, before?.claims),
    ...Object.entries(agreement.resources).flatMap(([resource, names]) =>
      lines(names, before?.resources[resource], resource),
    ),
  ]
}

function repeatedResources({ resources }: Agreement, requested: ReadonlySet<string>): ResourceScopes {
  const entries = Object.entries(resources)
  return Object.fromEntries(
    entries.map(([resource, scopes]) => [resource, scopes.filter((scope) => requested.has(scope))]),
  )
}

function mergeResources(...all: readonly ResourceScopes[]): ResourceScopes {
  const merged: Record<string, string[]> = {}
  for (const [resource, scopes] of all.flatMap((resources) => Object.entries(resources))) {
    const union = unique([...(merged[resource] ?? []), ...scopes])
    if (union.length > 0) merged[resource] = union
  }
  return merged
}

function resourceScopes(value: unknown): ResourceScopes {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(Object.entries(value).map(([resource, scopes]) => [resource, strings(scopes)]))
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string' && item !== '') : []
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)]
}
