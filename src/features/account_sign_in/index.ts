/**
 * How a person gets into the account pages and out of them: as a first-party client of the same provider, with an authorization code and
 * PKCE (RFC 6749 §4.1, RFC 7636, OIDC Core §3.1). Owns the account cookies, which are worth nothing once the session row
 * has ended, and fresh authentication for sensitive acts (`prompt=login`, `auth_time`). There is no second login path:
 * the hosted conversation signs in, `redeem` takes the code, and the pages themselves are the room `account_pages`.
 */
import type { Feature } from '../../feature.ts'
import { type AccountSignInRouteDeps, createGate, createSignInRouter, type Gate } from './routes.ts'
import { type AccountSignInDeps, createAccountSignInService } from './service.ts'

export type AccountSignInFeatureDeps = AccountSignInDeps & Pick<AccountSignInRouteDeps, 'pages' | 'csrf' | 'languages'>

/** The feature and its gate: `gate` is what the account pages get. */
export function createAccountSignIn(deps: AccountSignInFeatureDeps): Feature & { readonly gate: Gate } {
  const service = createAccountSignInService(deps)
  const { issuer, pages, csrf, languages } = deps
  const routes = { issuer, service, pages, csrf, languages }
  const gate = createGate(routes)
  return { name: 'account_sign_in', gate, router: createSignInRouter(routes, gate) }
}
