import { describe, expect, it } from '@jest/globals'
import { createPasswordJudge, type PasswordJudge } from '../../src/platform/password_judge.ts'
import { runInRequest } from '../../src/platform/request_scope.ts'

describe('who judges new passwords', () => {
  /** Each answer comes when it is asked for. */
  function judgeOf(queueMs = 60_000) {
    const asked: [password: string, own: readonly string[]][] = []
    const answers: (() => void)[] = []
    const refusals: [reason: string, priority: string][] = []
    const judging = {
      weaknessOf: (...one: (typeof asked)[number]) => {
        asked.push(one)
        return new Promise<{ result: 'common'; ms: number }>((resolve) => {
          answers.push(() => resolve({ result: 'common', ms: 20 }))
        })
      },
    }
    const judge = createPasswordJudge(judging, queueMs, (...why) => void refusals.push(why))
    return { judge, asked, refusals, answer: () => answers.shift()?.() }
  }
  const from = (ip: string, judge: PasswordJudge, password: string) =>
    runInRequest({ requestId: 'r', ip }, () => judge(password, ['anna']))
  const settled = () => new Promise((resolve) => setImmediate(resolve))

  it('has one judged at a time, in turns of networks', async () => {
    const { judge, asked, answer } = judgeOf()
    const senders = ['203.0.113.1', '203.0.113.1', '203.0.113.1', '203.0.113.2']
    const all = Promise.all(senders.map((ip, index) => from(ip, judge, `${index} of ${ip}`)))
    for (const _ of senders) {
      await settled()
      answer()
    }
    expect(await all).toEqual(senders.map(() => 'common'))
    expect(asked).toEqual(
      ['0 of 203.0.113.1', '1 of 203.0.113.1', '3 of 203.0.113.2', '2 of 203.0.113.1'].map((each) => [each, ['anna']]),
    )
  })

  it('turns away who would wait too long, and who has the share of a network', async () => {
    const { judge, refusals, answer } = judgeOf(200)
    const many = Array.from({ length: 12 }, (_, index) => from('203.0.113.1', judge, String(index)))
    const late = from('203.0.113.2', judge, 'late')
    const ends = Promise.allSettled([...many, late])
    await new Promise((resolve) => setTimeout(resolve, 300))
    answer()
    const codes = (await ends).map((end) => (end.status === 'rejected' ? end.reason.code : end.value))
    expect(codes[0]).toBe('common')
    expect(codes.at(-1)).toBe('temporarily_unavailable')
    expect(codes).toContain('too_many_requests')
    expect(refusals).toContainEqual(['late', 'sign_up'])
    expect(refusals).toContainEqual(['address', 'sign_up'])
  })
})
