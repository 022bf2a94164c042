/** Somebody tries passwords as fast as the net allows: do others get their tokens, and is the flood answered at once? */
import { lateNote, latencyPlot, onGround, reasonsOf, stream, streamTable, TOKENS } from '../ground.ts'
import { atMost, type Findings, type Part } from '../part.ts'
import { placementNote } from '../processes.ts'
import { STRANGER, WRONG_PASSWORD } from '../scenarios.ts'
import { median, sum } from '../statistics.ts'
import type { StreamResult } from '../tally.ts'

const TIMES = 10
const TOKEN_SHARE = 0.25
/** After which the queue of hashes is full. */
const RAMP_SECONDS = 1

/** The quiet, and the flood that came right after it. */
interface Pair {
  readonly quiet: StreamResult
  readonly flooded: StreamResult
  readonly tries: readonly StreamResult[]
}

const ratioOf = ({ quiet, flooded }: Pair) => flooded.done.p99 / quiet.done.p99

export const FLOOD: Part = {
  name: 'flood',
  title: 'A flood of logins',
  what: 'Wrong passwords at ten times what the server can hash, half of them for addresses without an account, beside token requests for a quarter of the CPU (as they cost in a closed loop; it is nearly half of it in this open one). The limits of tries are set out of reach, so that the queue in front of the hashing alone must stop the flood. Quiet and flood take turns of a few seconds, and each flood is compared with the quiet before it: a machine that is not alone becomes slower and faster by the minute. Shown is the pair in the middle.',
  minutes: { full: 3.5, quick: 0.6 },
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
      const seconds = RAMP_SECONDS + (context.quick ? 3 : 6)
      const measured = [{ ...tokens, window: [RAMP_SECONDS, seconds] as const }]
      // What a young process does once is over before anything counts: a stall in the quiet would flatter the ratio.
      await generator.run([tokens], context.quick ? 4 : 20)
      const pairs: Pair[] = []
      for (let round = 0; round < (context.quick ? 1 : 11); round++) {
        const quiet = await generator.run(measured, seconds)
        const [flooded, tries] = await Promise.all([generator.run(measured, seconds), flooder.run(flood, seconds)])
        if (quiet[0] !== undefined && flooded[0] !== undefined)
          pairs.push({ quiet: quiet[0], flooded: flooded[0], tries })
      }
      return findings(pairs, [
        `The server can hash ${capacity.toFixed(1)} passwords a second here.`,
        placementNote(place),
      ])
    })
  },
}

function findings(pairs: readonly Pair[], notes: readonly string[]): Findings {
  const ratio = median(pairs.map(ratioOf))
  const middle = pairs.filter((pair) => ratioOf(pair) === ratio).slice(0, 1)
  const tokens = pairs.map(({ flooded }) => flooded)
  const tries = pairs.flatMap((pair) => pair.tries)
  const wrong = (results: readonly StreamResult[]) => sum(results.map(({ failed, broken }) => failed + broken))
  const refused = tries.filter((one) => one.refused.count > 0)
  const impolite = sum(tries.map((one) => one.refused.count - one.refusedWithRetryAfter))
  const all = [...pairs.map(({ quiet }) => quiet), ...tokens, ...tries]
  return {
    tables: [
      streamTable(
        middle.flatMap((pair) => [
          ['tokens, quiet', pair.quiet] as const,
          ['tokens, flooded', pair.flooded] as const,
          ...pair.tries.map((result) => [result.name, result] as const),
        ]),
      ),
    ],
    gates: [
      atMost('token p99 in the flood to quiet', ratio, 1.5),
      atMost(
        'token requests that failed, were refused or unanswered',
        wrong(tokens) + sum(tokens.map((one) => one.refused.count)),
        0,
        'count',
        'requests',
      ),
      atMost('refusals of the flood without Retry-After', impolite, 0, 'count', 'answers'),
      atMost('tries of the flood that failed otherwise', wrong(tries), 0, 'count', 'tries'),
      atMost('refusals of the flood, p99', median(refused.map((one) => one.refused.p99)), 100, 'absolute', 'ms'),
    ],
    plots: [
      latencyPlot(
        'Token p99 by second, the pair in the middle',
        middle.flatMap(({ quiet, flooded }) => [['quiet', quiet] as const, ['flooded', flooded] as const]),
      ),
    ],
    notes: [
      ...notes,
      `Token p99 in the flood to quiet, by pairs: ${pairs.map((pair) => ratioOf(pair).toFixed(2)).join(', ')}.`,
      ...lateNote(all),
      ...reasonsOf([...tokens, ...tries]),
    ],
  }
}
