/** When an open loop starts its flows: decided before the run by rate and seed, whatever the server does meanwhile. */
import { generator } from '../support/sample.ts'

export type Arrivals =
  /** One every 1/rate seconds. */
  | { readonly kind: 'constant'; readonly perSecond: number }
  /** Independent people: gaps are exponential, so bursts happen. */
  | { readonly kind: 'poisson'; readonly perSecond: number }
  /** A closed loop: each lane starts its next flow when the last one ended. It finds a capacity and hides waiting. */
  | { readonly kind: 'closed'; readonly lanes: number }

/** Intended starts in milliseconds from the beginning, in order, without end. */
export function* intendedStarts({ kind, perSecond }: Exclude<Arrivals, { kind: 'closed' }>, seed: number) {
  const random = generator(seed)
  const gap = 1000 / perSecond
  let at = 0
  for (let index = 1; ; index++) {
    at = kind === 'constant' ? index * gap : at - Math.log(1 - random()) * gap
    yield at
  }
}
