/** Twice the instances on the same stores: how much more do they do together? */
import { streamTable } from '../ground.ts'
import { startGenerator } from '../open_loop.ts'
import { atLeast, type Context, type Findings, type Part, skipped } from '../part.ts'
import { CREDENTIALS_JWT, CREDENTIALS_OPAQUE, INTROSPECTION } from '../scenarios.ts'
import { CHEAP_HASH, createStores, type Stores } from '../stores.ts'
import { type Genkan, startGenkan } from '../subjects.ts'
import type { StreamResult } from '../tally.ts'

const SCENARIOS = [CREDENTIALS_OPAQUE, CREDENTIALS_JWT, INTROSPECTION]
const LANES = 16

export const INSTANCES: Part = {
  name: 'instances',
  title: 'More instances',
  what: 'client_credentials and introspection in a closed loop over all instances, which share the stores; each instance has a core, and so have the generator and the stores.',
  minutes: { full: 1.5, quick: 0.4 },
  run: async (context) => {
    const few = instancesFor(context.cores)
    if (few === 0) {
      return skipped(
        `${context.cores} cores: two instances, the generator and the stores want four, 2 → 4 instances six.`,
      )
    }
    const stores = await createStores({ accounts: 50, hash: CHEAP_HASH })
    return measureBoth(context, stores, few)
  },
}

/** How many instances to begin with, so that twice as many have a core each; 0 when they have not. */
export function instancesFor(cores: number): 0 | 1 | 2 {
  return cores >= 6 ? 2 : cores >= 4 ? 1 : 0
}

async function measureBoth({ quick, cores }: Context, stores: Stores, few: number): Promise<Findings> {
  const measure = async (count: number): Promise<StreamResult> => {
    const instances: Genkan[] = []
    const generator = await startGenerator(undefined)
    try {
      for (let i = 0; i < count; i++) {
        const first = instances[0]
        instances.push(await startGenkan({ stores, ...(first && { issuer: first.issuer }) }))
      }
      const streams = SCENARIOS.map(({ name }) => ({ scenario: name, lanes: LANES }))
      // Signed in at the first; what it gave out is good at all of them.
      const origins = instances.map(({ origin }) => origin)
      await generator.prepare({ origin: origins[0] ?? '', accounts: stores.addresses, streams })
      await generator.spread(origins)
      const scenarios = SCENARIOS.map(({ name }) => name)
      const load = {
        name: `${count} instances`,
        scenarios,
        arrivals: { kind: 'closed', lanes: LANES * count },
      } as const
      await generator.run([load], quick ? 2 : 8)
      const [result] = await generator.run([load], quick ? 3 : 20)
      if (result === undefined) throw new Error('nothing was measured')
      return result
    } finally {
      await generator.stop()
      await Promise.all(instances.map((instance) => instance.stop()))
    }
  }
  const [before, after] = [await measure(few), await measure(2 * few)]
  return {
    tables: [streamTable([before, after].map((result) => [result.name, result] as const))],
    gates: [atLeast(`throughput of ${2 * few} instances to ${few}`, after.inTime / before.inTime, 1.7)],
    plots: [],
    notes: [`${cores} cores.`],
  }
}
