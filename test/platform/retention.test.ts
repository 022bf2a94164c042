import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Database } from '../../src/platform/postgres.ts'
import { createRetention } from '../../src/platform/retention.ts'
import { freshDatabase } from '../support/services.ts'

const now = new Date('2026-11-22T10:00:00Z')
const days = (n: number) => new Date(now.getTime() - n * 86_400_000)

describe.each(['embedded', 'postgres'] as const)('retention on %s', (kind) => {
  let database: Database
  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(() => database.db.raw('truncate outbox, deliveries'))

  const delivery = (outbox_id: string, state: string, at: Date) => ({
    outbox_id,
    consumer: 'mails',
    state,
    next_at: at,
    delivered_at: state === 'delivered' ? at : null,
    created_at: at,
  })

  it('deletes delivered and failed rows of the past, and no pending one', async () => {
    await database
      .db('deliveries')
      .insert([
        delivery('1', 'delivered', days(8)),
        delivery('2', 'delivered', days(6)),
        delivery('3', 'failed', days(8)),
        delivery('4', 'failed', days(6)),
        delivery('5', 'pending', days(80)),
      ])
    const purge = createRetention({ database, deliveryDays: 7, ipDays: 30 })
    expect(await purge(now)).toBe(2)
    expect((await database.db('deliveries').orderBy('outbox_id')).map((row) => row.outbox_id)).toEqual(['2', '4', '5'])
  })

  it('erases addresses of the past and keeps their hashes', async () => {
    const fact = (id: string, occurred_at: Date) => ({
      id,
      type: 'a.b',
      sealed_ip: 'sealed',
      ip_hash: 'h',
      mac: 'm',
      occurred_at,
    })
    await database.db('outbox').insert([fact('old', days(31)), fact('new', days(29))])
    expect(await createRetention({ database, deliveryDays: 7, ipDays: 30 })(now)).toBe(1)
    expect(await database.db('outbox').orderBy('id').select('id', 'sealed_ip', 'ip_hash')).toEqual([
      { id: 'new', sealed_ip: 'sealed', ip_hash: 'h' },
      { id: 'old', sealed_ip: null, ip_hash: 'h' },
    ])
  })

  it('works in bounded rounds until nothing is left, and runs the purges it is given', async () => {
    await database
      .db('deliveries')
      .insert(Array.from({ length: 2500 }, (_, i) => delivery(`${i}`, 'delivered', days(9))))
    const asked: number[] = []
    let left = 25_000
    const other = async (_at: Date, atMost: number) => {
      asked.push(atMost)
      const count = Math.min(left, atMost)
      left -= count
      return count
    }
    await createRetention({ database, deliveryDays: 7, ipDays: 30, purges: [other] })(now)
    expect(await database.db('deliveries')).toHaveLength(0)
    expect(asked).toEqual(Array.from({ length: 20 }, () => 1000))
    expect(left).toBe(5000)
  })
})
