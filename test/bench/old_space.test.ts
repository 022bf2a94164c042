/** Objects that outlive their request cost more than anything else: each full collection looks at all of the memory. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { prepare } from './measure.ts'
import { CREDENTIALS_OPAQUE, INTROSPECTION, REFRESH, type Scenario, SSO, USERINFO } from './scenarios.ts'
import { CHEAP_HASH } from './stores.ts'
import { type Genkan, startGenkan } from './subjects.ts'

/** So many MB until the first full collection, which would take away what is looked for. */
const FLAGS = ['--initial-heap-size=700']
const LANES = 4
const REQUESTS = 1500

/**
 * Bytes that a flow may leave among the old objects, where only a full collection looks. A request that something old reaches
 * leaves all of itself: 11 kB of the smallest, 36 kB of a sign-in by a session.
 */
const AT_MOST: readonly { readonly scenario: Scenario; readonly most: number }[] = [
  { scenario: CREDENTIALS_OPAQUE, most: 5000 },
  { scenario: REFRESH, most: 9000 },
  { scenario: INTROSPECTION, most: 3000 },
  { scenario: USERINFO, most: 4000 },
  { scenario: SSO, most: 10_000 },
]

describe('what one flow leaves among the old objects', () => {
  let genkan: Genkan

  beforeAll(async () => {
    genkan = await startGenkan({ accounts: 100, hash: CHEAP_HASH, nodeFlags: FLAGS })
  })
  afterAll(async () => {
    await genkan?.stop()
  })

  const oldBytes = async () => (await genkan.metric('nodejs_heap_space_size_used_bytes{space="old"}')) ?? Number.NaN

  it.each(AT_MOST)('$scenario.name: at most $most bytes', async ({ scenario, most }) => {
    const prepared = await prepare(genkan, scenario, LANES)
    // Code that is compiled, and what is cached, is old by right.
    await prepared.run({ milliseconds: 30_000, most: REQUESTS })
    const before = await oldBytes()
    const { flows } = await prepared.run({ milliseconds: 30_000, most: REQUESTS })
    const left = ((await oldBytes()) - before) / flows
    prepared.close()
    expect(left).toBeLessThan(most)
  })
})
