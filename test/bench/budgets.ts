/** What one flow may send to the stores. Exact counts: beyond them the build fails. */
import * as scenarios from './scenarios.ts'

export interface Budget {
  readonly scenario: scenarios.Scenario
  readonly redis: number
  readonly sql: number
  readonly requests: number
}

export const BUDGETS: readonly Budget[] = [
  { scenario: scenarios.CREDENTIALS_OPAQUE, redis: 2, sql: 0, requests: 1 },
  { scenario: scenarios.CREDENTIALS_JWT, redis: 1, sql: 0, requests: 1 },
  { scenario: scenarios.REFRESH, redis: 9, sql: 0, requests: 1 },
  { scenario: scenarios.INTROSPECTION, redis: 7, sql: 0, requests: 1 },
  { scenario: scenarios.USERINFO, redis: 5, sql: 1, requests: 1 },
  { scenario: scenarios.SSO, redis: 14, sql: 1, requests: 2 },
  { scenario: scenarios.LOGIN, redis: 26, sql: 4, requests: 5 },
  { scenario: scenarios.LOGIN_CONSENT, redis: 42, sql: 6, requests: 8 },
]
