/**
 * The account pages under /account: what people see and change of their own account. Owns no table: every act goes through
 * the room that does (accounts, passwords, sessions, consents), in one transaction with its facts and the mail that tells
 * the person. Who is there, and how fresh their proof is, comes from the gate of `account_sign_in`.
 */
import type { Feature } from '../../feature.ts'
import { type AccountPagesRouteDeps, createAccountRouter } from './routes.ts'
import { createAccountActs } from './service.ts'
import type { AccountPagesDeps } from './types.ts'

export type AccountPagesFeatureDeps = AccountPagesDeps & Omit<AccountPagesRouteDeps, 'acts'>

export function createAccountPages(deps: AccountPagesFeatureDeps): Feature {
  return { name: 'account_pages', router: createAccountRouter({ ...deps, acts: createAccountActs(deps) }) }
}
