/** Tokens, single sign-on and password logins together: do logins make tokens slow? */
import { lateNote, latencyPlot, onGround, reasonsOf, stream, streamTable, TOKENS } from '../ground.ts'
import { atMost, type Part } from '../part.ts'
import { placementNote } from '../processes.ts'
import { LOGIN, SSO } from '../scenarios.ts'
import { median } from '../statistics.ts'
import type { StreamResult } from '../tally.ts'

const SHARES = { tokens: 0.7, sso: 0.2, login: 0.1 }
const BUSY = 0.5

export const MIXED: Part = {
  name: 'mixed',
  title: 'Mixed load',
  what: '70 % refresh and client_credentials, 20 % SSO, 10 % password logins with the default argon2id, at half of the CPU; beside it the same without logins.',
  minutes: { full: 4, quick: 0.6 },
  run: (context) => {
    const lanes = context.quick ? 12 : 60
    const scenarios = [...TOKENS, SSO, LOGIN].map((scenario) => ({ scenario, lanes }))
    return onGround(context, { scenarios }, async ({ generator, place, cpus, cost }) => {
      const [tokenCost, ssoCost, loginCost] = [await cost(TOKENS), await cost([SSO]), await cost([LOGIN])]
      const perFlow = SHARES.tokens * tokenCost + SHARES.sso * ssoCost + SHARES.login * loginCost
      const rate = (BUSY * cpus * 1_000_000) / perFlow
      const quiet = [
        stream(context, 'tokens', TOKENS, SHARES.tokens * rate),
        stream(context, 'SSO', [SSO], SHARES.sso * rate),
      ]
      const mixed = [...quiet, stream(context, 'logins', [LOGIN], SHARES.login * rate)]
      const taken: { quiet: StreamResult[]; mixed: StreamResult[] } = { quiet: [], mixed: [] }
      let last: { quiet: StreamResult[]; mixed: StreamResult[] } = { quiet: [], mixed: [] }
      const seconds = context.quick ? 4 : 30
      await generator.run(mixed, seconds / 4)
      for (let round = 0; round < (context.quick ? 1 : 3); round++) {
        last = { quiet: await generator.run(quiet, seconds), mixed: await generator.run(mixed, seconds) }
        taken.quiet.push(...last.quiet)
        taken.mixed.push(...last.mixed)
      }
      const p99 = (results: StreamResult[]) =>
        median(results.filter(({ name }) => name === 'tokens').map(({ done }) => done.p99))
      const all = [...taken.quiet, ...taken.mixed]
      const labelled = [
        ...taken.quiet.map((result) => [`${result.name}, without logins`, result] as const),
        ...taken.mixed.map((result) => [`${result.name}, with logins`, result] as const),
      ]
      const wrong = all.reduce((total, { failed, broken }) => total + failed + broken, 0)
      return {
        tables: [streamTable(labelled)],
        gates: [
          atMost('token p99 with logins to without', p99(taken.mixed) / p99(taken.quiet), 3),
          atMost('failed or unanswered flows', wrong, 0, 'count', 'flows'),
        ],
        plots: [
          latencyPlot('Token p99 by second, last round', [
            ...last.quiet.slice(0, 1).map((result) => ['without logins', result] as const),
            ...last.mixed.slice(0, 1).map((result) => ['with logins', result] as const),
          ]),
        ],
        notes: [placementNote(place), ...lateNote(all), ...reasonsOf(all)],
      }
    })
  },
}
