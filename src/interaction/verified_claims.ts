/** How the consent to verified claims is named: of each claim by who verified it, so that another's word is another question. */

/** The claim that holds them (OpenID Connect for Identity Assurance 1.0 §5). */
export const VERIFIED_CLAIMS = 'verified_claims'

/** What a request could be given of one identification, for the consent page. No values. */
export interface VerifiedOffer {
  readonly upstream: string
  /** As pages call the provider. */
  readonly title: string
  /** When it verified them, in milliseconds since the epoch. */
  readonly at: number
  readonly claims: readonly string[]
}

/** The name of the consent; a provider's name has no colon. */
export function verifiedPermission(upstream: string, claim: string): string {
  return `${VERIFIED_CLAIMS}:${upstream}:${claim}`
}

/** What such a name is about; undefined for every other permission. */
export function readVerifiedPermission(
  name: string,
): { readonly upstream: string; readonly claim: string } | undefined {
  const [head, upstream, ...rest] = name.split(':')
  if (head !== VERIFIED_CLAIMS || upstream === undefined || rest.length === 0) return undefined
  return { upstream, claim: rest.join(':') }
}

/** The names of all that is offered. */
export function permissionsIn(offers: readonly VerifiedOffer[]): string[] {
  return offers.flatMap(({ upstream, claims }) => claims.map((claim) => verifiedPermission(upstream, claim)))
}
