/** Each flow by itself at 70 % of the CPU: how long do people wait, and does anything ever fail? */
import { lateNote, onGround, reasonsOf, stream, streamTable } from '../ground.ts'
import { atLeast, atMost, type Gate, type Part } from '../part.ts'
import { placementNote } from '../processes.ts'
import * as scenarios from '../scenarios.ts'
import type { StreamResult } from '../tally.ts'

/** What is asked of a CPU: flows a second, and the 99th percentile at 70 %. */
const ASKED: readonly { readonly scenario: scenarios.Scenario; readonly perSecond: number; readonly p99: number }[] = [
  { scenario: scenarios.DISCOVERY, perSecond: 1500, p99: 20 },
  { scenario: scenarios.JWKS, perSecond: 1500, p99: 20 },
  { scenario: scenarios.CREDENTIALS_JWT, perSecond: 200, p99: 100 },
  { scenario: scenarios.REFRESH, perSecond: 200, p99: 100 },
  { scenario: scenarios.INTROSPECTION, perSecond: 300, p99: 60 },
  { scenario: scenarios.USERINFO, perSecond: 300, p99: 60 },
  { scenario: scenarios.SSO, perSecond: 100, p99: 150 },
  { scenario: scenarios.LOGIN, perSecond: 15, p99: 800 },
]
const BUSY = 0.7
/** More than this a second is too much for the generator. */
const MOST = 4000

export const STEADY: Part = {
  name: 'steady',
  title: 'Each flow at 70 % of the CPU',
  what: `Each flow by itself, in an open loop at 70 % of what the server can do (at most ${MOST.toLocaleString('en')} a second: the documents cost the generator more than the server). The login hashes with the default argon2id.`,
  minutes: { full: 4.5, quick: 0.8 },
  run: (context) => {
    const lanes = context.quick ? 12 : 60
    const wanted = ASKED.map(({ scenario }) => ({ scenario, lanes }))
    return onGround(context, { scenarios: wanted }, async ({ generator, place, cpus, cost }) => {
      const results: StreamResult[] = []
      const gates: Gate[] = []
      for (const { scenario, perSecond, p99 } of ASKED) {
        const capacity = 1_000_000 / (await cost([scenario]))
        const load = stream(context, scenario.name, [scenario], Math.min(MOST, BUSY * capacity * cpus))
        await generator.run([load], context.quick ? 0.5 : 5)
        const [result] = await generator.run([load], context.quick ? 2 : 20)
        if (result === undefined) continue
        results.push(result)
        gates.push(
          atLeast(`${scenario.name} a second and CPU`, capacity, perSecond, 'absolute', 'flows'),
          atMost(`${scenario.name}, p99`, result.done.p99, p99, 'absolute', 'ms'),
        )
      }
      const wrong = results.reduce((total, { failed, broken, refused }) => total + failed + broken + refused.count, 0)
      return {
        tables: [streamTable(results.map((result) => [result.name, result]))],
        gates: [atMost('flows that failed, were refused or unanswered', wrong, 0, 'count', 'flows'), ...gates],
        plots: [],
        notes: [placementNote(place), ...lateNote(results), ...reasonsOf(results)],
      }
    })
  },
}
