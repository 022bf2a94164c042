import { beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import { createIdentifierService } from '../../../src/features/identifiers/service.ts'
import type { Tx } from '../../../src/platform/postgres.ts'
import { createModelKeyValue } from '../../contracts/key_value_model.ts'

const TWIN = '\u0430nna@example.com'

describe('A typed identifier', () => {
  let time: number
  let facts: Fact[]
  let counted: string[]
  let service: ReturnType<typeof createIdentifierService>

  beforeEach(() => {
    time = 0
    facts = []
    counted = []
    service = createIdentifierService({
      kv: createModelKeyValue({ now: () => new Date(time) }),
      transaction: (work) => work({} as Tx),
      outbox: { record: async (stated) => void facts.push(...stated) },
      mac: (value) => `mac of ${value.length} characters`,
      refused: (reason, as) => counted.push(`${reason} ${as}`),
    })
  })

  it('is read into its canonical form, and nothing is stated', async () => {
    expect(await service.readEmail(' Anna@Example.com', { ip: '203.0.113.7' })).toBe('anna@example.com')
    expect(await service.readEmail('no address', { ip: '203.0.113.7' })).toBeUndefined()
    expect([facts, counted]).toEqual([[], []])
  })

  it('of mixed script is refused and stated, without the address (A105)', async () => {
    const by = { ip: '203.0.113.7', clientId: 'shop', accountId: 'A' }
    expect(await service.readEmail(TWIN, by)).toBeUndefined()
    expect(facts).toEqual([
      {
        type: 'identifier.refused',
        clientId: 'shop',
        accountId: 'A',
        data: {
          reason: 'mixed_script',
          part: 'local',
          scripts: ['Cyrillic', 'Latin'],
          identifier: 'mac of 16 characters',
        },
      },
    ])
    expect(counted).toEqual(['mixed_script stated'])
  })

  it('floods no ledger: 10 facts an hour of one network, 100 in all, and each refusal counts', async () => {
    for (let i = 0; i < 15; i++) await service.readEmail(TWIN, { ip: `2001:db8:1:1::${i}` })
    expect(facts).toHaveLength(10)
    for (let i = 0; i < 200; i++) expect(await service.readEmail(TWIN, { ip: `198.51.${i}.1` })).toBeUndefined()
    expect(facts).toHaveLength(100)
    expect(counted).toHaveLength(215)
    expect(counted.filter((line) => line === 'mixed_script stated')).toHaveLength(100)
    time += 3_601_000
    await service.readEmail(TWIN, { ip: '2001:db8:1:1::1' })
    expect(facts).toHaveLength(101)
  })
})
