/** From the start of the process to ready, on real stores that are migrated. */
import { atMost, type Part } from '../part.ts'
import { median } from '../statistics.ts'
import { CHEAP_HASH, createStores } from '../stores.ts'
import { startGenkan } from '../subjects.ts'

export const START: Part = {
  name: 'start',
  title: 'Start',
  what: 'From the start of the process until `/readyz` says 200, on PostgreSQL and Redis that are there and migrated.',
  minutes: { full: 0.5, quick: 0.2 },
  run: async ({ quick }) => {
    const stores = await createStores({ accounts: 10, hash: CHEAP_HASH })
    const times: number[] = []
    for (let start = 0; start < (quick ? 2 : 7); start++) {
      const genkan = await startGenkan({ stores })
      times.push(genkan.readyMs / 1000)
      await genkan.stop()
    }
    return {
      tables: [
        {
          columns: [{ title: 'start' }, { title: 's to ready', digits: 2 }],
          rows: times.map((seconds, index) => [index === 0 ? '1 (makes its keys)' : String(index + 1), seconds]),
        },
      ],
      gates: [atMost('start to ready, median', median(times), 1.5, 'absolute', 's')],
      plots: [],
      notes: [],
    }
  },
}
