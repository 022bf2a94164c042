/** The engine's view of an account: is it alive, and what may be said about it. */
import Provider, { type Account, type FindAccount } from 'oidc-provider'
import type { AccountState } from './adapter/adapter.ts'

export interface AccountDeps {
  readonly accountState: (accountId: string) => Promise<AccountState | undefined>
  /** Every standard claim of the account, in the words of OIDC Core §5.1. */
  readonly accountClaims: (accountId: string) => Promise<{ [claim: string]: unknown } | undefined>
}

/** `findAccount` of the engine: a disabled, deleted or just-ended account is not found. Reads SQL only for claims. */
export function createFindAccount({ accountState, accountClaims }: AccountDeps): FindAccount {
  return async (ctx, sub) => {
    const state = await accountState(sub)
    if (state?.active !== true) return undefined
    // "End everything" between the last proof and this resume: the sign-in is void.
    const login = ctx.oidc.entities.Interaction?.result?.login as { accountId?: string; epoch?: number } | undefined
    if (login?.accountId === sub && login.epoch !== state.epoch) return undefined
    const account: Account = {
      accountId: sub,
      claims: async (use, _scope, requested) => {
        if (use === 'id_token' && Object.keys(requested).length === 0 && !carriesProfile()) return { sub }
        return { ...(await accountClaims(sub)), sub }
      },
    }
    return account
  }
}

/** ID tokens carry profile claims only beside an access token for another audience, which userinfo refuses. */
function carriesProfile(): boolean {
  return (Provider.ctx?.oidc.entities.AccessToken as { aud?: unknown } | undefined)?.aud !== undefined
}
