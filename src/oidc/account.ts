/** The engine's view of an account: is it alive, and what may be said about it. */
import Provider, { type Account, type FindAccount } from 'oidc-provider'
import { VERIFIED_CLAIMS } from '../interaction/verified_claims.ts'
import type { AccountState } from './adapter/adapter.ts'
import { hintedAccount } from './ciba.ts'
import type { Pairwise } from './pairwise.ts'
import { release, type VerifiedRecord } from './verified_claims.ts'

export interface AccountDeps {
  readonly accountState: (accountId: string) => Promise<AccountState | undefined>
  /** Every standard claim of the account, in the words of OIDC Core §5.1. */
  readonly accountClaims: (accountId: string) => Promise<{ [claim: string]: unknown } | undefined>
  /** Identifications that count now, newest first. */
  readonly verifiedOf: (accountId: string) => Promise<readonly VerifiedRecord[]>
  readonly clock: { now(): Date }
  readonly pairwise: Pairwise
}

/** `findAccount` of the engine: a disabled, deleted or just-ended account is not found. Reads SQL only for claims. */
export function createFindAccount({ pairwise, ...deps }: AccountDeps): FindAccount {
  const { accountState, accountClaims, verifiedOf, clock } = deps
  return async (ctx, sub) => {
    if (ctx.oidc.route === 'backchannel_authentication') return hintedAccount(ctx, sub, pairwise)
    const state = await accountState(sub)
    if (state?.active !== true) return undefined
    // "End everything" between the last proof and this resume: the sign-in is void.
    const login = ctx.oidc.entities.Interaction?.result?.login as { accountId?: string; epoch?: number } | undefined
    if (login?.accountId === sub && login.epoch !== state.epoch) return undefined
    const account: Account = {
      accountId: sub,
      claims: async (use, _scope, requested) => {
        if (use === 'id_token' && !Object.keys(requested).some(isOfAccount) && !carriesProfile()) return { sub }
        const { client, entities } = ctx.oidc
        const asked = requested[VERIFIED_CLAIMS]
        const isGranted = asked !== undefined && client !== undefined && entities.Grant !== undefined
        const verified = isGranted && release(asked, client, entities.Grant, await verifiedOf(sub), clock.now())
        return { ...(await accountClaims(sub)), ...(verified && { [VERIFIED_CLAIMS]: verified }), sub }
      },
    }
    return account
  }
}

/** What the engine asks for itself (after `prompt=login`, `max_age`) and answers from the session. */
const OF_SESSION: ReadonlySet<string> = new Set(['acr', 'amr', 'auth_time', 'sub'])

const isOfAccount = (claim: string): boolean => !OF_SESSION.has(claim)

/** ID tokens carry profile claims only beside an access token for another audience, which userinfo refuses. */
function carriesProfile(): boolean {
  return (Provider.ctx?.oidc.entities.AccessToken as { aud?: unknown } | undefined)?.aud !== undefined
}
