/** One grant whose refresh token is rotated a thousand times: nothing that is kept for a grant may grow. */
import { newBrowser, refresh, signIn } from '../flows.ts'
import { targetOf } from '../measure.ts'
import { atMost, type Part } from '../part.ts'
import { cpuMicroseconds } from '../processes.ts'
import { CHEAP_HASH, withStores } from '../stores.ts'
import { type Genkan, startGenkan } from '../subjects.ts'

interface Lap {
  readonly cpu: number
  readonly ms: number
  readonly keys: number
}

export const ROTATIONS: Part = {
  name: 'rotations',
  title: 'A thousand rotations of one grant',
  what: 'Eight grants side by side, each of whose refresh token is rotated a thousand times; CPU (server and stores), time and keys in Redis of the first hundred against the last hundred.',
  minutes: { full: 1, quick: 0.3 },
  run: async ({ quick }) => {
    const [grants, laps, each] = quick ? [4, 5, 20] : [8, 10, 100]
    const genkan = await startGenkan({ accounts: 50, hash: CHEAP_HASH })
    const target = targetOf(genkan, grants)
    try {
      const rotateAll = (times: number) =>
        Promise.all(Array.from({ length: grants }, async () => rotate(await token(), times)))
      const token = async () => (await signIn(target, newBrowser(target), 'bench-spa')).refresh_token ?? ''
      const rotate = async (from: string, times: number) => {
        let current = from
        for (let i = 0; i < times; i++) current = (await refresh(target, current)).refresh_token ?? ''
        return current
      }
      // On grants of their own: a process that just started takes twice the CPU for its first hundreds.
      await rotateAll(quick ? 60 : 200)
      let current: string[] = []
      for (let grant = 0; grant < grants; grant++) current.push(await token())
      const taken: Lap[] = []
      for (let lap = 0; lap < laps; lap++) {
        const before = await keysOf(genkan)
        const lapping = () => Promise.all(current.map((one) => rotate(one, each)))
        const { value, ...cost } = await measured(genkan, lapping)
        current = value
        const keys = ((await keysOf(genkan)) - before) / (grants * each)
        taken.push({ cpu: cost.cpu / (grants * each), ms: cost.ms / each, keys })
      }
      const [first, last] = [taken[0], taken.at(-1)]
      if (first === undefined || last === undefined) throw new Error('nothing was measured')
      return {
        tables: [
          {
            columns: [
              { title: 'rotations of each grant' },
              { title: 'CPU µs each' },
              { title: 'ms each', digits: 2 },
              { title: 'more keys in Redis for each', digits: 2 },
            ],
            rows: taken.map(({ cpu, ms, keys }, lap) => [`${lap * each + 1}–${(lap + 1) * each}`, ...[cpu, ms, keys]]),
          },
        ],
        gates: [atMost(`CPU of the last ${each} to the first ${each}`, last.cpu / first.cpu, 1.1)],
        plots: [
          {
            ...{ title: 'CPU of a rotation', kind: 'lines', x: 'rotations', y: 'µs' },
            series: [
              { name: 'server and stores', points: taken.map(({ cpu }, lap) => [(lap + 1) * each, cpu] as const) },
            ],
          },
        ],
        notes: [
          'A used refresh token is remembered until it would have ended, so that its reuse is seen: keys grow by those, work does not.',
        ],
      }
    } finally {
      target.close()
      await genkan.stop()
    }
  },
}

async function measured<T>(genkan: Genkan, work: () => Promise<T>): Promise<{ value: T; cpu: number; ms: number }> {
  const cpu = () => [genkan.pid, ...genkan.storePids].reduce((total, pid) => total + cpuMicroseconds(pid), 0)
  const [before, began] = [cpu(), performance.now()]
  const value = await work()
  return { value, cpu: cpu() - before, ms: performance.now() - began }
}

function keysOf({ stores }: Genkan): Promise<number> {
  return withStores(stores, (_, redis) => redis.dbsize())
}
