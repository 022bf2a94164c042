/** What clients ask of people who are elsewhere (CIBA), and who may answer in their place. */
import { z } from 'zod'
import type { Environment } from './reading.ts'
import { count, isLoopback, type Parsed } from './values.ts'

export const backchannelShape = {
  approvals: z.strictObject({ open_per_account: count(3), requests_per_client: count(6) }).prefault({}),
  conformance: z.strictObject({ ciba_hook: z.boolean().default(false) }).prefault({}),
}

type Settings = Parsed<typeof backchannelShape>

export interface BackchannelConfig {
  /** What waits for an account's answer at once, and how often a client reaches one account in a window of the limits. */
  readonly approvals: { readonly openPerAccount: number; readonly requestsPerClient: number }
  /** What only the conformance suite may do: answer what clients ask of people. On a loopback issuer, or with CONFORMANCE=1. */
  readonly conformance: { readonly cibaHook: boolean }
}

export function backchannelOf({ approvals, conformance }: Settings): BackchannelConfig {
  const { open_per_account: openPerAccount, requests_per_client: requestsPerClient } = approvals
  return { approvals: { openPerAccount, requestsPerClient }, conformance: { cibaHook: conformance.ciba_hook } }
}

export function backchannelProblems(
  { conformance, issuer }: Settings & { readonly issuer: string },
  env: Environment,
): string[] {
  if (!conformance.ciba_hook || isLoopback(issuer) || env.CONFORMANCE === '1') return []
  return [
    'conformance.ciba_hook: answers in the place of people: for a loopback issuer, or with CONFORMANCE=1 in the environment',
  ]
}
