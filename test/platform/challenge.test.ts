import { hash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { type ChallengeDeps, createChallenges } from '../../src/platform/challenge.ts'
import { sha256 } from '../../src/platform/ids.ts'
import { createModelKeyValue } from '../contracts/key_value_model.ts'
import { solve } from '../support/abuse.ts'

const ME = { flow: 'sign_in', identifier: 'ada@example.com', ip: '203.0.113.7' }

function bench(captcha?: ChallengeDeps['captcha']) {
  let time = Date.parse('2026-11-01T12:00:00.000Z')
  const clock = { now: () => new Date(time) }
  const mac = (value: string) => sha256(`a key\n${value}`)
  const results: string[] = []
  const challenges = createChallenges({
    kv: createModelKeyValue(clock),
    ...{ clock, mac, captcha, macMatches: (value, tag) => mac(value) === tag, work: { rounds: 3, bits: 4 } },
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

describe('a CAPTCHA', () => {
  const WIDGET = {
    ...{ script: 'https://w.example/w.js', widgetClass: 'w', siteKey: 'k', attributes: {}, responseField: 'r' },
    sources: { frame: [], connect: [], style: [] },
  }
  /** A vendor that takes the token `good…` again and again. */
  function vendor() {
    const asked: string[] = []
    let isAway = false
    const captcha: ChallengeDeps['captcha'] = {
      widget: () => (isAway ? undefined : WIDGET),
      async check(token, ip) {
        asked.push(`${token} ${ip}`)
        return isAway ? 'away' : token.startsWith('good') ? 'passed' : 'refused'
      },
    }
    const leave = () => {
      isAway = true
    }
    return { ...bench(captcha), asked, leave }
  }
  const answered = ({ puzzle }: { puzzle: string }, token: string) => `${puzzle}~${token}`

  it('takes the place of the puzzle, beside the ticket', async () => {
    const { issue, issueAhead, results } = vendor()
    expect(await issue(ME)).toMatchObject({
      captcha: WIDGET,
      rounds: 0,
      puzzle: expect.stringMatching(/^captcha\./),
      wait: 10,
    })
    expect(issueAhead(ME)).toMatchObject({ captcha: WIDGET, wait: 0 })
    expect(results).toEqual(['captcha_issued', 'captcha_issued'])
  })

  it('is good once with a token that its vendor takes, and no token is good twice', async () => {
    const { issue, judge, results, asked } = vendor()
    const one = await issue(ME)
    expect(await judge(answered(one, 'bad'), ME)).toEqual({ ok: false, captcha: 'refused' })
    expect(await judge(answered(one, 'good'), ME)).toEqual({ ok: false })
    expect(await judge(answered(await issue(ME), 'good'), ME)).toEqual({ ok: true, by: 'captcha' })
    expect(await judge(answered(await issue(ME), 'good'), ME)).toEqual({ ok: false, captcha: 'refused' })
    expect(asked).toEqual(['bad', 'good', 'good'].map((token) => `${token} ${ME.ip}`))
    expect(results.filter((result) => result !== 'captcha_issued')).toEqual([
      ...['captcha_refused', 'refused', 'captcha_passed', 'captcha_refused'],
    ])
  })

  it('of many uses of one token at once, each under a signature of its own, one is right', async () => {
    const { issueAhead, judge } = vendor()
    const proofs = Array.from({ length: 20 }, () => answered(issueAhead(ME), 'good'))
    const uses = await Promise.all(proofs.map((proof) => judge(proof, ME)))
    expect(uses.filter(({ ok }) => ok)).toHaveLength(1)
  })

  it.each([
    ['another identifier', { ...ME, identifier: 'eve@example.com' }],
    ['another address', { ...ME, ip: '203.0.113.8' }],
    ['another flow', { ...ME, flow: 'register' }],
  ])('asks nobody about a token for %s', async (_, other) => {
    const { issue, judge, asked } = vendor()
    expect(await judge(answered(await issue(ME), 'good'), other)).toEqual({ ok: false })
    expect(asked).toEqual([])
  })

  it.each([
    ['no token', (puzzle: string) => puzzle],
    ['an empty token', (puzzle: string) => `${puzzle}~`],
    ['a token with a line break', (puzzle: string) => `${puzzle}~good\nX: y`],
    ['a megabyte', (puzzle: string) => `${puzzle}~${'g'.repeat(1_048_576)}`],
    ['a longer life', (puzzle: string) => `${puzzle.replace(/^(captcha\.\d+)\.\d+/, '$1.9999999999')}~good`],
    ['the signature of a puzzle', (puzzle: string) => `${puzzle.replace(/^captcha/, 'puzzle')}~good`],
    ['the signature of a ticket', (puzzle: string) => puzzle.replace(/^captcha/, 'ticket')],
  ])('asks nobody about %s', async (_, change) => {
    const { issue, judge, asked } = vendor()
    expect(await judge(change((await issue(ME)).puzzle), ME)).toEqual({ ok: false })
    expect(asked).toEqual([])
  })

  it('is over after ten minutes', async () => {
    const { issue, judge, later, asked } = vendor()
    const challenge = await issue(ME)
    later(600)
    expect(await judge(answered(challenge, 'good'), ME)).toEqual({ ok: false })
    expect(asked).toEqual([])
  })

  it('gives way to the puzzle while the vendor is away, and where ours is wanted', async () => {
    const { issue, judge, leave } = vendor()
    const before = await issue(ME)
    expect((await issue(ME, undefined, true)).captcha).toBeUndefined()
    leave()
    expect(await judge(answered(before, 'good'), ME)).toEqual({ ok: false, captcha: 'away' })
    const puzzle = await issue(ME)
    expect(puzzle.captcha).toBeUndefined()
    expect(await judge(solve(puzzle), ME)).toEqual({ ok: true, by: 'puzzle' })
  })

  it('asks about a hundred tokens of one network in ten minutes', async () => {
    const { issueAhead, judge, asked, later } = vendor()
    for (let i = 0; i < 101; i++) await judge(answered(issueAhead(ME), 'bad'), ME)
    expect(await judge(answered(issueAhead(ME), 'good'), ME)).toEqual({ ok: false, captcha: 'refused' })
    expect(asked).toHaveLength(100)
    const other = { ...ME, ip: '198.51.100.1' }
    expect((await judge(answered(issueAhead(other), 'good'), other)).ok).toBe(true)
    later(601)
    expect((await judge(answered(issueAhead(ME), 'good-too'), ME)).ok).toBe(true)
  })

  it('that was switched off since the page was made gives way to the puzzle', async () => {
    const [on, off] = [vendor(), bench()]
    expect(await off.judge(answered(await on.issue(ME), 'good'), ME)).toEqual({ ok: false, captcha: 'away' })
  })
})
