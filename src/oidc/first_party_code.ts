/**
 * Redeems an authorization code of our own account pages without a trip over the network: the issuer's public URL need
 * not be reachable from its own host. The checks are those of the token endpoint (RFC 6749 §4.1.3, RFC 7636 §4.6).
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type Provider from 'oidc-provider'

export interface RedeemedCode {
  readonly accountId: string
  readonly sessionUid: string
  /** Seconds since the epoch. */
  readonly authTime: number
  readonly amr: readonly string[]
  readonly acr: string | undefined
  readonly nonce: string | undefined
}

/** Redeems `code` once; undefined when it is unknown, expired, used, another client's, or not bound to this verifier. */
export function createRedeemCode(current: () => Provider, clientId: string) {
  return async (code: string, verifier: string, redirectUri: string): Promise<RedeemedCode | undefined> => {
    const found = await current().AuthorizationCode.find(code)
    if (found === undefined || !found.isValid || found.clientId !== clientId) return undefined
    const { accountId, sessionUid, authTime, codeChallenge, grantId } = found
    if (found.redirectUri !== redirectUri || codeChallenge === undefined || !matches(verifier, codeChallenge))
      return undefined
    const grant = grantId === undefined ? undefined : await current().Grant.find(grantId)
    if (accountId === undefined || grant?.accountId !== accountId || sessionUid === undefined || authTime === undefined)
      return undefined
    try {
      await found.consume()
    } catch {
      return undefined
    }
    return { accountId, sessionUid, authTime, amr: found.amr ?? [], acr: found.acr, nonce: found.nonce }
  }
}

function matches(verifier: string, challenge: string): boolean {
  const expected = Buffer.from(challenge)
  const actual = Buffer.from(createHash('sha256').update(verifier).digest('base64url'))
  return expected.length === actual.length && timingSafeEqual(expected, actual)
}
