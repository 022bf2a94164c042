/** What a feature may contribute to the house. `app.ts` is a list of these. */
import type Router from '@koa/router'
import type { RecordedFact } from './events.ts'
import type { Step } from './interaction/step.ts'
import type { Reaction } from './platform/outbox.ts'
import type { SealedColumn } from './platform/personal_columns.ts'

/** Work that repeats. Jobs are idempotent and bounded; several instances may run one at the same time. */
export interface Job {
  readonly name: string
  readonly everySeconds: number
  /** Runs once more when the server drains, after the last request: for what is kept in memory until the next run. */
  readonly atStop?: true
  run(now: Date): Promise<void>
}

/** A consumer of facts: called at least once for each fact of these types, retried with back-off when it throws. */
export interface Subscription {
  /** Stable name: it is the key of the delivery rows. */
  readonly consumer: string
  readonly types: readonly string[]
  handle(fact: RecordedFact): Promise<void>
}

export interface Feature {
  readonly name: string
  readonly router?: Router
  readonly adminRouter?: Router
  readonly steps?: readonly Step[]
  readonly jobs?: readonly Job[]
  readonly subscribe?: readonly Subscription[]
  /** What must follow at once, in the transaction of the fact, whichever room states it. */
  readonly reacts?: readonly Reaction[]
  /** Its columns of personal data, sealed under the data keys. */
  readonly personal?: readonly SealedColumn[]
  /** Its columns of secrets, sealed under the secret keys. */
  readonly secrets?: readonly SealedColumn[]
}
