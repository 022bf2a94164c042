import { hash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { createChallenges } from '../../src/platform/challenge.ts'
import { sha256 } from '../../src/platform/ids.ts'
import { createModelKeyValue } from '../contracts/key_value_model.ts'
import { solve } from '../support/abuse.ts'

const ME = { flow: 'sign_in', identifier: 'ada@example.com', ip: '203.0.113.7' }

function bench() {
  let time = Date.parse('2026-11-01T12:00:00.000Z')
  const clock = { now: () => new Date(time) }
  const mac = (value: string) => sha256(`a key\n${value}`)
  const results: string[] = []
  const challenges = createChallenges({
    kv: createModelKeyValue(clock),
    ...{ clock, mac, macMatches: (value, tag) => mac(value) === tag, work: { rounds: 3, bits: 4 } },
    measure: (result) => results.push(result),
  })
  const later = (seconds: number) => {
    time += seconds * 1000
  }
  return { ...challenges, results, later }
}

describe('a puzzle', () => {
  it('is good once, for ten minutes', async () => {
    const { issue, judge, later, results } = bench()
    const [one, two] = [await issue(ME), await issue(ME)]
    expect(await judge(solve(one), ME)).toEqual({ ok: true, by: 'puzzle' })
    expect(await judge(solve(one), ME)).toEqual({ ok: false })
    later(599)
    const proof = solve(two)
    later(1)
    expect(await judge(proof, ME)).toEqual({ ok: false })
    expect(results).toEqual(['issued', 'issued', 'solved', 'refused', 'refused'])
  })

  it('counts another solution of the same puzzle as the same', async () => {
    const { issue, judge } = bench()
    const challenge = await issue(ME)
    const proof = solve(challenge)
    expect((await judge(proof, ME)).ok).toBe(true)
    const [puzzle = '', answers = ''] = proof.split('~')
    const [first = '', ...rest] = answers.split('.')
    const isAnswer = (answer: number) => hash('sha256', `${puzzle}~0.${answer}`, 'buffer').readUInt32BE(0) < 2 ** 28
    let second = Number(first) + 1
    while (!isAnswer(second)) second++
    expect(await judge(`${puzzle}~${[second, ...rest].join('.')}`, ME)).toEqual({ ok: false })
  })

  it.each([
    ['another identifier', { ...ME, identifier: 'eve@example.com' }],
    ['another address', { ...ME, ip: '203.0.113.8' }],
    ['another flow', { ...ME, flow: 'register' }],
    ['an identifier and a flow that read alike', { ...ME, flow: 'sign_in\nada@example.com', identifier: '' }],
  ])('is nothing for %s', async (_, other) => {
    const { issue, judge } = bench()
    expect(await judge(solve(await issue(ME)), other)).toEqual({ ok: false })
  })

  it('goes with a subscriber of IPv6 through the /64', async () => {
    const { issue, judge } = bench()
    const proof = solve(await issue({ ...ME, ip: '2001:db8:1:2::1' }))
    expect((await judge(proof, { ...ME, ip: '2001:db8:1:2:9:9:9:9' })).ok).toBe(true)
  })

  it.each([
    ['nothing', () => ''],
    ['the puzzle alone', (proof: string) => proof.split('~')[0] ?? ''],
    ['one answer for all rounds', (proof: string) => proof.replace(/~.*/, '~7')],
    ['one answer too many', (proof: string) => `${proof}.1`],
    ['the puzzle as a ticket', (proof: string) => proof.replace(/^puzzle/, 'ticket').replace(/~.*/, '')],
    ['a longer life', (proof: string) => proof.replace(/^(puzzle\.\d+)\.\d+/, '$1.9999999999')],
    ['a megabyte', (proof: string) => proof + '1'.repeat(1_048_576)],
    ['line breaks', (proof: string) => proof.replace('~', '\n~')],
  ])('with %s is refused', async (_, change) => {
    const { issue, judge } = bench()
    const proof = solve(await issue(ME))
    expect(await judge(change(proof), ME)).toEqual({ ok: false })
    expect((await judge(proof, ME)).ok).toBe(true)
  })
})

describe('a ticket', () => {
  it('is good after ten seconds and for a minute, once, and gives its place back', async () => {
    const { issue, judge, later } = bench()
    const { ticket = '', wait } = await issue(ME)
    expect(wait).toBe(10)
    later(4)
    expect(await judge(ticket, ME)).toEqual({ ok: false, early: 6 })
    expect(await issue(ME)).toMatchObject({ wait: 56 })
    expect((await issue(ME, { ticket, wait: 6 })).ticket).toBe(ticket)
    later(6)
    const uses = await Promise.all(Array.from({ length: 20 }, () => judge(ticket, ME)))
    expect(uses.filter(({ ok }) => ok)).toHaveLength(1)
    const next = await issue(ME)
    expect(next.ticket).toBeDefined()
    later(60)
    expect(await judge(next.ticket ?? '', ME)).toEqual({ ok: false })
  })

  it('is nothing without its wait, whatever it is made to say', async () => {
    const { issue, judge, later } = bench()
    const { ticket = '' } = await issue(ME)
    expect(await judge(ticket.replace(/^ticket\.\d+/, 'ticket.1'), ME)).toEqual({ ok: false })
    expect(await judge(ticket.replace(/^ticket/, 'puzzle'), ME)).toEqual({ ok: false })
    later(10)
    expect(await judge(`${ticket}~1`, ME)).toEqual({ ok: false })
    expect((await judge(ticket, ME)).ok).toBe(true)
  })

  it('is one for an identifier and five for an address', async () => {
    const { issue } = bench()
    const of = async (identifier: string, ip = ME.ip) => (await issue({ ...ME, identifier, ip })).ticket !== undefined
    expect(await Promise.all(['a', 'a', 'a'].map((name) => of(name)))).toEqual([true, false, false])
    expect(await of('a', '198.51.100.1')).toBe(false)
    for (const name of ['b', 'c', 'd', 'e']) expect(await of(name)).toBe(true)
    expect(await of('f')).toBe(false)
    expect(await of('f', '198.51.100.2')).toBe(true)
  })
})
