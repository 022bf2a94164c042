/**
 * Who may speak for an OpenID provider. Nearly always its one issuer; at Microsoft's endpoints for many tenants the issuer is
 * a pattern, and which tenants may come must be said: else anybody with a tenant of their own could name anybody.
 */
import type { JWTPayload } from 'jose'
import { UpstreamError } from './upstream.ts'
import type { OidcUpstreamSettings } from './upstream_oidc_settings.ts'

const PLACE = '{tenantid}'
const TENANT_ID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/

export interface Issuers {
  /** Whether a signed statement with these claims may come from here. */
  ofClaims(claims: JWTPayload): boolean
  /** Whether an answer's `iss` parameter may. Which tenant it was, the ID token says. */
  ofAnswer(iss: string): boolean
}

export function createIssuers({ issuer, tenants }: Pick<OidcUpstreamSettings, 'issuer' | 'tenants'>): Issuers {
  if (!issuer.includes(PLACE)) {
    return { ofClaims: ({ iss }) => iss === issuer, ofAnswer: (iss) => iss === issuer }
  }
  if (tenants === undefined || tenants.length === 0) throw new UpstreamError('misconfigured', 'tenants_missing')
  const [before = '', after = ''] = issuer.split(PLACE)
  /** The tenant that an issuer names, if its people may come. */
  const tenantOf = (iss: string): string | undefined => {
    const id = iss.slice(before.length, iss.length - after.length)
    const known = TENANT_ID.test(id) && (tenants === 'any' || tenants.some((tenant) => tenant.id === id))
    return known && iss === `${before}${id}${after}` ? id : undefined
  }
  return {
    ofClaims: ({ iss, tid }) => iss !== undefined && tid !== undefined && tenantOf(iss) === tid,
    ofAnswer: (iss) => tenantOf(iss) !== undefined,
  }
}

/** Domains that the operator says are of the tenant that these claims come from. */
export function ownedDomains({ tenants }: OidcUpstreamSettings, { tid }: JWTPayload): readonly string[] {
  const tenant = Array.isArray(tenants) ? tenants.find(({ id }) => id === tid) : undefined
  return (tenant?.ownedDomains ?? []).map((domain: string) => domain.toLowerCase())
}
