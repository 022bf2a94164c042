/** A few rows of the fault table, as `npm run test:faults` runs all of them: each with every invariant. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { CASES } from './cases/index.ts'
import { judgeExchange } from './invariants.ts'
import { runCase } from './stage.ts'
import { startWorld, type World } from './world.ts'

describe('the rows', () => {
  it('are all there, once', () => {
    const ids = Array.from({ length: 41 }, (_, i) => `F${String(i + 1).padStart(2, '0')}`)
    expect(CASES.map(({ id }) => id).sort()).toEqual(ids)
  })

  describe('in brief', () => {
    let world: World
    beforeAll(async () => {
      world = await startWorld()
    })
    afterAll(() => world?.close())

    it.each(CASES.filter(({ quick }) => quick).map((each) => [each.id, each.title, each] as const))(
      '%s: %s',
      async (_id, _title, fault) => {
        const { wrong } = await runCase(fault, { world, mode: 'idle', deep: false, quick: true, random: Math.random })
        expect(wrong).toEqual([])
      },
    )
  })
})

describe('the judge of answers', () => {
  const page = '<link rel="stylesheet"><dl class="reference">'
  const answer = { method: 'GET', path: '/auth', target: '', status: 503, milliseconds: 10, body: page }
  const headers = { 'retry-after': '5', 'content-type': 'text/html' }
  const json = { 'retry-after': '5', 'content-type': 'application/json' }

  it('takes a page with a reference and an error with its code', () => {
    expect(judgeExchange({ ...answer, headers }, {})).toBeUndefined()
    const refused = { ...answer, headers: json, body: '{"error":"temporarily_unavailable"}' }
    expect(judgeExchange(refused, {})).toBeUndefined()
  })

  it.each([
    ['a 500', { status: 500 }],
    ['a wait of over five seconds', { status: 200, milliseconds: 5001 }],
    ['no time to come back', { headers: { 'content-type': 'text/html' } }],
    ['a page without a reference', { body: '<link rel="stylesheet">' }],
    ['a page without style', { body: '<dl class="reference">' }],
    ['an error without its code', { headers: json, body: '{}' }],
    ['no answer', { status: 0 }],
  ])('does not take %s', (_what, over) => {
    expect(judgeExchange({ ...answer, headers, ...over }, {})).toBeDefined()
  })
})
