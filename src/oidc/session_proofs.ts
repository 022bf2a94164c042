import type { Proof } from '../interaction/step.ts'

/** What was shown in a session. */
export function proofsOf(session: unknown): readonly Proof[] {
  return (session as { readonly proofs?: readonly Proof[] } | undefined)?.proofs ?? []
}
