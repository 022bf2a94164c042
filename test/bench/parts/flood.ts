/** Somebody tries passwords as fast as the net allows: do others get their tokens, and is the flood answered at once? */
import { lateNote, latencyPlot, onGround, reasonsOf, stream, streamTable, TOKENS } from '../ground.ts'
import { atMost, type Part } from '../part.ts'
import { placementNote } from '../processes.ts'
import { STRANGER, WRONG_PASSWORD } from '../scenarios.ts'
import { median, sum } from '../statistics.ts'
import type { StreamResult } from '../tally.ts'

const TIMES = 10
const TOKEN_SHARE = 0.25

export const FLOOD: Part = {
  name: 'flood',
  title: 'A flood of logins',
  what: 'Wrong passwords at ten times what the server can hash, half of them for addresses without an account, beside token requests for a quarter of the CPU (as they cost in a closed loop; it is nearly half of it in this open one). The limits of tries are set out of reach, so that the queue in front of the hashing alone must stop the flood.',
  minutes: { full: 3, quick: 0.6 },
  run: (context) => {
    const lanes = context.quick ? 40 : 300
    const tokenLanes = context.quick ? 12 : 60
    const scenarios = TOKENS.map((scenario) => ({ scenario, lanes: tokenLanes }))
    const floods = [WRONG_PASSWORD, STRANGER].map((scenario) => ({ scenario, lanes }))
    return onGround(context, { scenarios, floods }, async ({ generator, flooder, place, cpus, cost }) => {
      const capacity = (cpus * 1_000_000) / (await cost([WRONG_PASSWORD]))
      const tokens = stream(context, 'tokens', TOKENS, (TOKEN_SHARE * cpus * 1_000_000) / (await cost(TOKENS)))
      const flood = [
        stream(context, 'flood, known', [WRONG_PASSWORD], (TIMES * capacity) / 2),
        stream(context, 'flood, unknown', [STRANGER], (TIMES * capacity) / 2),
      ]
      const seconds = context.quick ? 4 : 20
      // What a young process does once is over before anything counts: a stall in the quiet would flatter the ratio.
      await generator.run([tokens], seconds)
      const quiet: StreamResult[] = []
      const flooded: StreamResult[][] = []
      for (let round = 0; round < (context.quick ? 1 : 3); round++) {
        quiet.push(...(await generator.run([tokens], seconds)))
        const runs = [generator.run([tokens], seconds), flooder.run(flood, seconds)]
        flooded.push((await Promise.all(runs)).flat())
      }
      const tokensThen = flooded.flatMap((results) => results.slice(0, 1))
      const tries = flooded.flatMap((results) => results.slice(1))
      const p99 = (results: readonly StreamResult[]) => median(results.map(({ done }) => done.p99))
      const wrong = (results: readonly StreamResult[]) => sum(results.map(({ failed, broken }) => failed + broken))
      const refused = tries.filter((one) => one.refused.count > 0)
      const impolite = sum(tries.map((one) => one.refused.count - one.refusedWithRetryAfter))
      return {
        tables: [
          streamTable([
            ...quiet.map((result) => ['tokens, quiet', result] as const),
            ...flooded
              .flat()
              .map((result) => [`${result.name}${result.name === 'tokens' ? ', flooded' : ''}`, result] as const),
          ]),
        ],
        gates: [
          atMost('token p99 in the flood to quiet', p99(tokensThen) / p99(quiet), 1.5),
          atMost(
            'token requests that failed, were refused or unanswered',
            wrong(tokensThen) + sum(tokensThen.map((one) => one.refused.count)),
            0,
            'count',
            'requests',
          ),
          atMost('refusals of the flood without Retry-After', impolite, 0, 'count', 'answers'),
          atMost('tries of the flood that failed otherwise', wrong(tries), 0, 'count', 'tries'),
          atMost('refusals of the flood, p99', median(refused.map((one) => one.refused.p99)), 100, 'absolute', 'ms'),
        ],
        plots: [
          latencyPlot('Token p99 by second, last round', [
            ...quiet.slice(-1).map((result) => ['quiet', result] as const),
            ...tokensThen.slice(-1).map((result) => ['flooded', result] as const),
          ]),
        ],
        notes: [
          `The server can hash ${capacity.toFixed(1)} passwords a second here.`,
          placementNote(place),
          ...lateNote([...quiet, ...flooded.flat()]),
          ...reasonsOf([...tokensThen, ...tries]),
        ],
      }
    })
  },
}
