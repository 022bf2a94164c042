import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { answerable, begin, finished, merge, next } from '../../src/interaction/flow.ts'
import type { AccountView, FlowState, Patch, Progress, PromptName, Step } from '../../src/interaction/step.ts'
import { DEFAULT_LEVELS } from '../support/levels.ts'

const account = (accountId: string, changes: Partial<AccountView> = {}): AccountView => ({
  accountId,
  email: `${accountId}@example.com`,
  emailVerified: true,
  active: true,
  epoch: 0,
  factors: [],
  ...changes,
})

function stateOf(progress: Progress, changes: Partial<FlowState> = {}): FlowState {
  return {
    uid: 'u1',
    cid: 'c1',
    prompt: { name: 'login', reasons: ['no_session'], details: {} },
    params: {},
    client: { clientId: 'demo-web', name: 'Demo', firstParty: false },
    account: progress.accountId === undefined ? undefined : account(progress.accountId),
    progress,
    demands: [DEFAULT_LEVELS.demand({}, undefined)],
    enrolment: { policy: 'optional', grace: 0 },
    now: 2,
    locale: 'en',
    ...changes,
  }
}

const proof = (accountId: string, epoch = 0, method = 'pwd') => ({ method, accountId, at: 1, epoch })
const proven = (accountId: string) => merge(begin('login', 'a@example.com'), { accountId, proof: proof(accountId) })

describe('merge', () => {
  it('adds the proof of the account that the same patch names', () => {
    expect(proven('A')).toMatchObject({ accountId: 'A', proofs: [{ accountId: 'A' }] })
  })

  it('drops all proofs when another account is named', () => {
    expect(merge(proven('A'), { accountId: 'B' })).toMatchObject({ accountId: 'B', proofs: [] })
    expect(merge(proven('A'), { accountId: null }).proofs).toEqual([])
  })

  it('refuses a proof of an account that is not the named one', () => {
    expect(merge(proven('A'), { proof: proof('B') }).proofs).toEqual([proof('A')])
    expect(merge(begin('login', undefined), { proof: proof('B') }).proofs).toEqual([])
    expect(merge(proven('A'), { accountId: 'B', proof: proof('A') }).proofs).toEqual([])
  })

  it('drops the account when the identifier or the path changes', () => {
    expect(merge(proven('A'), { identifier: 'b@example.com' })).toMatchObject({ accountId: undefined, proofs: [] })
    expect(merge(proven('A'), { path: 'recover' })).toMatchObject({ accountId: undefined, proofs: [] })
  })

  it('keeps the account when the patch that corrects its address names it', () => {
    const corrected = merge(proven('A'), { identifier: 'right@example.com', accountId: 'A' })
    expect(corrected).toMatchObject({ identifier: 'right@example.com', accountId: 'A', proofs: [proof('A')] })
  })

  it('keeps one proof of a method, and none from before the epoch of the newest', () => {
    const again = merge(proven('A'), { proof: { ...proof('A'), at: 2 } })
    expect(again.proofs).toEqual([{ ...proof('A'), at: 2 }])
    const after = merge(merge(proven('A'), { proof: proof('A', 0, 'mailbox') }), { proof: proof('A', 1) })
    expect(after.proofs).toEqual([proof('A', 1)])
    expect(merge(after, { proof: proof('A', 0, 'email_code') }).proofs).toEqual([proof('A', 1)])
  })

  it('merges answers by step, and null takes one away', () => {
    const answered = merge(begin('login', undefined), { answers: { one: 'x', two: 'y' } })
    expect(merge(answered, { answers: { one: null, three: 'z' } }).answers).toEqual({ two: 'y', three: 'z' })
  })
})

describe('finished', () => {
  it('is as the account when it is proven, active and its address too', () => {
    expect(finished(stateOf(proven('A')))).toBe('account')
  })

  it.each([
    ['nothing is proven', stateOf(merge(begin('login', undefined), { accountId: 'A' }))],
    [
      'only the mailbox is',
      stateOf(merge(begin('login', undefined), { accountId: 'A', proof: proof('A', 0, 'mailbox') })),
    ],
    ['the account is gone', stateOf(proven('A'), { account: undefined })],
    ['another account was loaded', stateOf(proven('A'), { account: account('B') })],
    ['it is disabled', stateOf(proven('A'), { account: account('A', { active: false }) })],
    ['its address is not proven', stateOf(proven('A'), { account: account('A', { emailVerified: false }) })],
    ['somebody else is signed in', stateOf(proven('A'), { session: { accountId: 'B', uid: 's', proofs: [] } })],
    ['the prompt is consent', stateOf(proven('A'), { prompt: { name: 'consent', reasons: [], details: {} } })],
  ])('is not when %s', (_, state) => {
    expect(finished(state)).toBeUndefined()
  })

  it('needs the agreement to leave to name the very account', () => {
    const session = { accountId: 'B', uid: 's', proofs: [] }
    const agreed = (answer: string) => stateOf(merge(proven('A'), { answers: { switch_account: answer } }), { session })
    expect(finished(agreed('A'))).toBe('account')
    expect(finished(agreed('C'))).toBeUndefined()
  })

  it('goes on with the session only where no sign-in was asked for', () => {
    const chosen = merge(begin('select_account', undefined), { answers: { choose_account: 'continue' } })
    const session = { accountId: 'A', uid: 's', proofs: [] }
    const at = (name: PromptName) => stateOf(chosen, { session, prompt: { name, reasons: [], details: {} } })
    expect(finished(at('select_account'))).toBe('session')
    expect(finished(at('login'))).toBeUndefined()
    expect(finished({ ...at('select_account'), session: undefined })).toBeUndefined()
  })
})

const accountId = fc.constantFrom('A', 'B', 'C')
const patch: fc.Arbitrary<Patch> = fc.record(
  {
    path: fc.constantFrom('login' as const, 'create' as const, 'recover' as const),
    identifier: fc.option(fc.constantFrom('a@example.com', 'b@example.com')),
    accountId: fc.option(accountId),
    proof: fc.record({
      method: fc.constantFrom('pwd', 'email_code', 'mailbox'),
      accountId,
      at: fc.nat(9),
      epoch: fc.nat(2),
    }),
    chosen: fc.option(fc.constant('password')),
    remember: fc.boolean(),
    answers: fc.dictionary(fc.constantFrom('choose_account', 'switch_account'), fc.option(accountId)),
  },
  { requiredKeys: [] },
)

describe('A random walk of patches', () => {
  it('never mixes proofs of one account with another, nor proofs of two epochs', () => {
    fc.assert(
      fc.property(fc.array(patch, { maxLength: 30 }), (patches) => {
        let progress = begin('login', undefined)
        for (const one of patches) {
          progress = merge(progress, one)
          expect(progress.proofs.every((held) => held.accountId === progress.accountId)).toBe(true)
          expect(new Set(progress.proofs.map(({ epoch }) => epoch)).size).toBeLessThanOrEqual(1)
          expect(new Set(progress.proofs.map(({ method }) => method)).size).toBe(progress.proofs.length)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('is finished only as an account of which it holds a proof stronger than a mail', () => {
    const prompts = fc.constantFrom<PromptName>('login', 'create', 'select_account')
    const sessions = fc.option(fc.record({ accountId, uid: fc.constant('s'), proofs: fc.constant([]) }), {
      nil: undefined,
    })
    fc.assert(
      fc.property(fc.array(patch, { maxLength: 30 }), prompts, sessions, (patches, name, session) => {
        const progress = patches.reduce(merge, begin(name, undefined))
        const state = stateOf(progress, { session, prompt: { name, reasons: [], details: {} } })
        if (finished(state) !== 'account') return
        const strong = progress.proofs.filter(({ method }) => method !== 'mailbox')
        expect(strong.map((held) => held.accountId)).toContain(progress.accountId)
        expect(
          session === undefined || session.accountId === progress.accountId || progress.answers.switch_account,
        ).toBeTruthy()
      }),
      { numRuns: 2000 },
    )
  })

  it('never gives the proof of one account to another by two submits that began from the same progress', () => {
    const named = fc.record({
      accountId,
      proof: fc.record({ accountId, method: fc.constant('pwd'), at: fc.nat(9), epoch: fc.constant(0) }),
    })
    fc.assert(
      fc.property(fc.array(patch, { maxLength: 10 }), named, named, (patches, one, two) => {
        const start = patches.reduce(merge, begin('login', undefined))
        // The compare-and-set lets one of them win; the other is applied to nothing or to the winner's progress.
        for (const progress of [merge(start, one), merge(merge(start, one), two), merge(merge(start, two), one)]) {
          expect(progress.proofs.every((held) => held.accountId === progress.accountId)).toBe(true)
        }
      }),
    )
  })
})

describe('next', () => {
  const step = (name: string, meets: Step['meets'], needed: boolean, prompts: Step['prompts'] = ['login']): Step =>
    ({ name, feature: 'x', prompts, meets, needed: () => needed }) as unknown as Step

  it('is the first needed step of the table that belongs to the prompt', () => {
    const steps = [step('a', [], false), step('b', [], true, ['create']), step('c', [], true), step('d', [], true)]
    expect(next(steps, stateOf(begin('login', undefined)))?.name).toBe('c')
  })

  it('prefers the chosen step while it is needed and meets what the first would', () => {
    const steps = [step('password', ['authentication'], true), step('passkey', ['authentication'], true)]
    const chose = (chosen: string) => stateOf(merge(begin('login', undefined), { chosen }))
    expect(next(steps, chose('passkey'))?.name).toBe('passkey')
    expect(next([...steps, step('later', ['verified_email'], true)], chose('later'))?.name).toBe('password')
    expect(next(steps, chose('unknown'))?.name).toBe('password')
  })

  it('is nothing when nothing is needed', () => {
    expect(next([step('a', [], false)], stateOf(begin('login', undefined)))).toBeUndefined()
  })

  it('leaves a step that gives challenges answerable from what could lead to it, and no other step', () => {
    const challenge = async () => ({})
    const passkey = { ...step('passkey', ['account', 'authentication'], true), challenge } as Step
    const idle = { ...step('idle', ['account'], false), challenge } as Step
    const later = { ...step('later', ['enrolment'], true), challenge } as Step
    const steps = [
      step('identifier', ['account'], true),
      step('password', ['authentication'], true),
      passkey,
      idle,
      later,
    ]
    const named = (name: string) => answerable(steps, stateOf(begin('login', undefined)), name)?.name
    expect(named('identifier')).toBe('identifier')
    expect(named('passkey')).toBe('passkey')
    for (const name of ['password', 'idle', 'later', 'unknown']) expect(named(name)).toBeUndefined()
  })
})
