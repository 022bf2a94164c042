import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createDeliveries } from '../../src/platform/deliveries.ts'
import { createLedger } from '../../src/platform/ledger.ts'
import { createLedgerAudit } from '../../src/platform/ledger_audit.ts'
import { createOutbox } from '../../src/platform/outbox.ts'
import { resealOutbox } from '../../src/platform/outbox_reseal.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { testPersonal } from '../support/personal_columns.ts'
import { freshDatabase } from '../support/services.ts'

const clock = { now: () => new Date() }
const [old, young] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
const before = createSecretBox([old])
const both = createSecretBox([young, old])
const after = createSecretBox([young])

describe.each(['embedded', 'postgres'] as const)('resealing the outbox on %s', (kind) => {
  let database: Database
  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())

  it('lets an old key go: ledger and waiting deliveries hold under the new one, forged rows do not', async () => {
    const seen: unknown[] = []
    const handle = async (fact: { sealed?: unknown }) => void seen.push(fact.sealed)
    const subscriptions = [{ consumer: 'mails', types: ['mail.requested'], handle }]
    const outbox = createOutbox({ personal: testPersonal, secretBox: before, clock })
    const facts = Array.from({ length: 1200 }, (_, i) => ({ type: 'a.b' as const, data: { i } }))
    await database.transaction((tx) => outbox.record([...facts, { type: 'mail.requested', sealed: { to: 'x' } }], tx))
    await createLedger({ personal: testPersonal, database, secretBox: before, clock, subscriptions }).seal()
    await database.db('outbox').where({ seq: 7 }).update({ type: 'forged.fact' })

    expect(
      (await createLedgerAudit({ personal: testPersonal, database, secretBox: after }).verify()).problems,
    ).toHaveLength(100)
    // 1,201 facts but the forged one, and three anchors.
    expect(await resealOutbox({ personal: testPersonal, database, secretBox: both })).toEqual({
      renewed: 1203,
      forged: 1,
    })
    expect(await resealOutbox({ personal: testPersonal, database, secretBox: both })).toEqual({ renewed: 0, forged: 1 })
    const report = await createLedgerAudit({ personal: testPersonal, database, secretBox: after }).verify()
    expect(report).toMatchObject({ checked: 1201, problems: [{ kind: 'fact_changed', seq: 7 }] })
    const logger = { warn: () => {} }
    expect(
      await createDeliveries({
        personal: testPersonal,
        database,
        secretBox: after,
        clock,
        subscriptions,
        logger,
      }).deliver(),
    ).toBe(1)
    expect(seen).toEqual([{ to: 'x' }])
  })
})
