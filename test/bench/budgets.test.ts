import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { BUDGETS } from './budgets.ts'
import { countFlow } from './measure.ts'
import { CHEAP_HASH } from './stores.ts'
import { type Subject, startGenkan } from './subjects.ts'

describe('what one flow sends to Redis and PostgreSQL', () => {
  let genkan: Subject

  beforeAll(async () => {
    genkan = await startGenkan({ count: true, accounts: 200, hash: CHEAP_HASH })
  })
  afterAll(async () => {
    await genkan?.stop()
  })

  it.each(BUDGETS)('$scenario.name: at most $redis commands, $sql statements, $requests requests', async (budget) => {
    const counted = await countFlow(genkan, budget.scenario)
    const over = counted.redis > budget.redis || counted.sql > budget.sql || counted.requests > budget.requests
    // The trace names the commands and statements: it is what one looks for when this fails.
    expect(over ? counted : 'within the budget').toBe('within the budget')
  })

  it('sees what is sent: a login is not free', async () => {
    const login = BUDGETS.find(({ scenario }) => scenario.name === 'first-party login')?.scenario
    if (login === undefined) throw new Error('no such scenario')
    const counted = await countFlow(genkan, login, 3)
    expect(counted.redis).toBeGreaterThan(5)
    expect(counted.sql).toBeGreaterThan(0)
  })
})
