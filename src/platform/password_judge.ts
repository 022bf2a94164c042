/** Judges new passwords, one at a time and in turns: where passwords are hashed, since each estimate takes a processor for a while. */
import { createFairQueue, type FairQueueOptions } from './fair_queue.ts'
import type { Judging } from './hashing.ts'
import type { Weakness } from './password_strength.ts'
import { networkOfRequest } from './request_scope.ts'

/**
 * What makes a password easy to guess; undefined when nothing does. `own` are words, in lower case, that it must not be made of.
 * Rejects with AppError `temporarily_unavailable` when too many are to be judged or who judges is gone, `too_many_requests` when a
 * network has its share.
 */
export type PasswordJudge = (password: string, own: readonly string[]) => Promise<Weakness | undefined>

const GUESS_MS = 20

/** Nobody waits longer than `queueMs` for a turn. */
export function createPasswordJudge(
  judging: Judging,
  queueMs: number,
  refused?: NonNullable<FairQueueOptions['watch']>['refused'],
): PasswordJudge {
  const watch = refused && { refused, waited: () => {} }
  const queue = createFairQueue({ width: 1, deadlineMs: queueMs, guessMs: GUESS_MS, watch })
  return (password, own) =>
    queue.run({ priority: 'sign_up', network: networkOfRequest() }, () => judging.weaknessOf(password, own))
}
