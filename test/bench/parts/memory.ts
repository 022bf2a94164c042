/** Resident memory under load, and whether it grows with the number of logins. */
import { newBrowser, refresh, signIn } from '../flows.ts'
import { targetOf } from '../measure.ts'
import { atMost, type Part } from '../part.ts'
import { memory } from '../processes.ts'
import { type Slope, slope } from '../statistics.ts'
import { CHEAP_HASH } from '../stores.ts'
import { type Genkan, startGenkan } from '../subjects.ts'

const LANES = 8
const PER = 100_000

interface Point {
  readonly logins: number
  readonly rss: number
  readonly largest: number
  readonly heap: number
}

export const MEMORY: Part = {
  name: 'memory',
  title: 'Memory',
  what: 'Logins of ever new browsers, each followed by a refresh, and resident memory every few hundred. Growth is the slope after the first third, taken to 100,000 logins.',
  minutes: { full: 6, quick: 0.4 },
  run: async (context) => {
    const { quick } = context
    const [total, step] = quick ? [360, 40] : [24_000, 400]
    const genkan = await startGenkan({ accounts: quick ? 400 : 4000, hash: CHEAP_HASH })
    try {
      const points = await signInMany(genkan, total, step)
      const settled = points.slice(Math.floor(points.length / 3))
      const growth = slope(settled.map(({ logins, rss }) => [logins, rss]))
      const heap = slope(settled.map(({ logins, heap }) => [logins, heap]))
      const highest = Math.max(...points.map(({ largest }) => largest))
      return {
        tables: [
          {
            columns: [{ title: 'after logins' }, { title: 'resident MB' }, { title: 'heap in use MB' }],
            rows: points
              .filter((_, index) => index % Math.ceil(points.length / 12) === 0 || index === points.length - 1)
              .map(({ logins, rss, heap }) => [logins, rss, heap]),
          },
        ],
        gates: [
          atMost('resident memory of a process under load', highest, 300, 'absolute', 'MB'),
          // So few logins say nothing about growth: what is seen is the process settling.
          ...(quick ? [] : [atMost('growth in 100,000 logins', growth.perUnit * PER, 20, 'absolute', 'MB')]),
        ],
        plots: [
          {
            ...{ title: 'Memory by logins', kind: 'lines', x: 'logins', y: 'MB' },
            series: [
              { name: 'resident', points: points.map(({ logins, rss }) => [logins, rss] as const) },
              { name: 'heap in use', points: points.map(({ logins, heap }) => [logins, heap] as const) },
            ],
          },
        ],
        notes: [
          `Growth is extrapolated from ${settled.at(-1)?.logins ?? 0} logins, ${told('resident', growth)}, ${told('heap in use', heap)} in 100,000.${quick ? ' So few logins say nothing about growth: what is seen is the process settling.' : ''}`,
        ],
      }
    } finally {
      await genkan.stop()
    }
  },
}

function told(name: string, { perUnit, uncertainty }: Slope): string {
  return `${name} ${(perUnit * PER).toFixed(0)} ± ${(uncertainty * PER).toFixed(0)} MB`
}

async function signInMany(genkan: Genkan, total: number, step: number): Promise<Point[]> {
  const own = targetOf(genkan, LANES)
  // Everybody signs in several times: the accounts go round.
  let turn = 0
  const { addresses } = genkan.stores
  const target = { ...own, nextAccount: () => addresses[turn++ % addresses.length] ?? '' }
  const points: Point[] = []
  try {
    for (let done = 0; done < total; done += step) {
      let left = step
      const lane = async () => {
        while (left-- > 0) {
          const tokens = await signIn(target, newBrowser(target), 'bench-spa')
          await refresh(target, tokens.refresh_token ?? '')
        }
      }
      await Promise.all(Array.from({ length: LANES }, lane))
      const heap = ((await genkan.metric('nodejs_heap_size_used_bytes')) ?? Number.NaN) / 1024 ** 2
      const { now: rss, largest } = memory(genkan.pid)
      points.push({ logins: done + step, rss, largest, heap })
    }
    return points
  } finally {
    own.close()
  }
}
