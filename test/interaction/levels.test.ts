/** Levels of authentication: the table, what it demands, and a judge of its own that knows none of the code's shortcuts. */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { begin, finished } from '../../src/interaction/flow.ts'
import {
  afresh,
  amrOf,
  createLevels,
  enrolmentDue,
  lacking,
  met,
  putOffBy,
  reasonOf,
  takesDevice,
  wanted,
  wishesOf,
} from '../../src/interaction/levels.ts'
import type { AccountView, EnrolmentPolicy, FlowState, Proof } from '../../src/interaction/step.ts'
import { DEFAULT_LEVELS as levels } from '../support/levels.ts'

const [BASIC, MFA, PHR] = ['urn:genkan:acr:basic', 'urn:genkan:acr:mfa', 'phr'] as const
const HOUR = 3_600_000
const NOW = 100 * HOUR
const SECOND = ['totp', 'sms_code', 'recovery_code', 'device']
const AMR: { readonly [method: string]: readonly string[] } = {
  pwd: ['pwd'],
  email_code: ['otp'],
  totp: ['otp'],
  sms_code: ['otp', 'sms'],
  recovery_code: ['otp'],
  passkey: ['pop', 'mfa'],
}

const proof = (method: string, hoursAgo = 0): Proof => ({
  ...{ method, amr: AMR[method], accountId: 'A', at: NOW - hoursAgo * HOUR, epoch: 0 },
  ...(SECOND.includes(method) && { second: true }),
})

function stateOf(
  factors: readonly string[],
  proofs: readonly Proof[],
  params: { readonly [name: string]: unknown } = {},
  {
    minimumAcr,
    enrolment,
    ...more
  }: { minimumAcr?: string | undefined; enrolment?: EnrolmentPolicy } & Partial<AccountView> = {},
): FlowState {
  const email = 'a@example.com'
  const account: AccountView = { accountId: 'A', email, emailVerified: true, active: true, epoch: 0, factors, ...more }
  const own = levels.ofFactors(factors)
  return {
    ...{ uid: 'u', cid: 'c', prompt: { name: 'login', reasons: ['no_session'], details: {} }, params, account },
    client: { clientId: 'shop', name: 'Shop', firstParty: false, minimumAcr },
    progress: { ...begin('login', email), accountId: 'A', proofs },
    demands: [...(own === undefined ? [] : [own]), levels.demand(params, minimumAcr)],
    enrolment: enrolment ?? { policy: 'optional', grace: 0 },
    ...{ now: NOW, locale: 'en' },
  }
}

describe('what a request demands', () => {
  it.each([
    ['nothing at all', {}, undefined, BASIC],
    ['acr_values', { acr_values: MFA }, undefined, MFA],
    ['the lowest of several acr_values, in whatever order', { acr_values: `${PHR} ${MFA}` }, undefined, MFA],
    ['only what is known of them', { acr_values: `1 ${PHR} 2` }, undefined, PHR],
    ['nothing more for unknown ones (OIDC Core §3.1.2.1)', { acr_values: '1 2' }, undefined, BASIC],
    ['the claim acr, as sent', { claims: JSON.stringify({ id_token: { acr: { value: MFA } } }) }, undefined, MFA],
    ['the claim acr, as parsed', { claims: { id_token: { acr: { values: [PHR] } } } }, undefined, PHR],
    [
      'the claim rather than acr_values',
      { acr_values: PHR, claims: { id_token: { acr: { value: MFA } } } },
      undefined,
      MFA,
    ],
    ['the client at the least', {}, MFA, MFA],
    ['what the client demands, also when the request says less', { acr_values: BASIC }, MFA, MFA],
    ['more than the client when the request says so', { acr_values: PHR }, MFA, PHR],
    ['the highest for a minimum that has left the table', {}, 'urn:gone', PHR],
  ])('%s', (_, params, minimumAcr, acr) => {
    expect(levels.demand(params, minimumAcr).acr).toBe(acr)
  })

  it('a scope demands its level of whoever signs in, whatever acr_values says', () => {
    const table = createLevels(
      [
        { acr: 'low', methods: [['pwd']] },
        { acr: 'high', methods: [['pwd', 'totp']] },
      ],
      { 'orders:pay': 'high', broken: 'gone', constructor: 'low' },
    )
    expect(table.demand({ scope: 'openid orders:pay', acr_values: 'low' }, undefined)).toMatchObject({
      acr: 'high',
      reason: 'scope',
    })
    expect(table.demand({ scope: 'openid broken' }, undefined).acr).toBe('high')
    expect(table.demand({ scope: 'openid __proto__ toString' }, undefined).acr).toBe('low')
  })

  it('says who demands it', () => {
    expect(levels.demand({}, undefined).reason).toBeUndefined()
    expect(levels.demand({ acr_values: MFA }, undefined).reason).toBe('request')
    expect(levels.demand({ acr_values: BASIC }, MFA).reason).toBe('client')
    expect(levels.ofFactors(['totp'])?.reason).toBe('account')
  })

  it.each([
    [{}, [], false],
    [{ acr_values: 'a b' }, ['a', 'b'], false],
    [{ acr_values: ['a'] }, [], false],
    [{ claims: { id_token: { acr: null } } }, [], false],
    [{ claims: { id_token: { acr: { essential: true } } }, acr_values: 'a' }, ['a'], false],
    [{ claims: { id_token: { acr: { essential: true, values: ['a', 1, 'b'] } } } }, ['a', 'b'], true],
    [{ claims: { id_token: { acr: { value: 'a' } } } }, ['a'], false],
  ])('reads %j', (params, acrs, essential) => {
    expect(wishesOf(params)).toEqual({ acrs, essential })
  })
})

describe('what an account’s own factors demand', () => {
  it.each([
    ['nothing', [], undefined],
    ['a passkey alone, which is another way in', ['passkey'], undefined],
    ['recovery codes, which stand in for another', ['recovery_code'], undefined],
    ['an authenticator app', ['totp'], MFA],
    ['an app beside a passkey', ['passkey', 'totp'], MFA],
  ])('%s', (_, factors, acr) => {
    expect(levels.ofFactors(factors)?.acr).toBe(acr)
  })

  it('the highest level that they reach protects changes of them', () => {
    expect(levels.highest([])).toBe(BASIC)
    expect(levels.highest(['totp'])).toBe(MFA)
    expect(levels.highest(['totp', 'passkey'])).toBe(PHR)
    expect(levels.atLeast(MFA, BASIC)).toBe(true)
    expect(levels.atLeast(BASIC, MFA)).toBe(false)
    expect(levels.atLeast(undefined, BASIC)).toBe(false)
    expect(levels.atLeast('made up', BASIC)).toBe(false)
  })
})

describe('what proofs are worth', () => {
  it.each([
    ['a password', [proof('pwd')], '', BASIC, ['pwd']],
    ['a mailed code', [proof('email_code')], '', BASIC, ['otp']],
    ['password and app', [proof('pwd'), proof('totp')], '', MFA, ['pwd', 'otp', 'mfa']],
    ['password and a remembered browser', [proof('pwd'), proof('device')], '', MFA, ['pwd']],
    ['a passkey', [proof('passkey')], '', PHR, ['pop', 'mfa']],
    ['a passkey for a client that asked for less', [proof('passkey')], MFA, MFA, ['pop', 'mfa']],
    [
      'the first wish that is reached',
      [proof('pwd'), proof('totp')],
      `${PHR} ${BASIC} ${MFA}`,
      BASIC,
      ['pwd', 'otp', 'mfa'],
    ],
    ['an app twelve hours ago', [proof('pwd', 12), proof('totp', 12)], '', MFA, ['pwd', 'otp', 'mfa']],
    ['an app more than twelve hours ago', [proof('pwd'), proof('totp', 12.01)], '', BASIC, ['pwd', 'otp', 'mfa']],
    [
      'a password more than twelve hours before the app',
      [proof('pwd', 13), proof('totp')],
      '',
      BASIC,
      ['pwd', 'otp', 'mfa'],
    ],
    ['a passkey long ago', [proof('passkey', 13)], '', BASIC, ['pop', 'mfa']],
  ])('%s', (_, proofs, wishes, acr, amr) => {
    expect(levels.worth(proofs, NOW, wishesOf({ acr_values: wishes }))).toEqual({ acr, amr })
  })

  it('nothing without a proof, or of a second factor alone', () => {
    expect(levels.worth([], NOW, { acrs: [] })).toEqual({ amr: [] })
    expect(levels.worth([proof('totp'), proof('recovery_code')], NOW, { acrs: [] })).toEqual({ amr: [] })
  })

  it('a mailbox is no authentication method (RFC 8176)', () => {
    const mailbox: Proof = { method: 'mailbox', accountId: 'A', at: NOW, epoch: 0 }
    expect(amrOf([mailbox, proof('pwd'), proof('email_code')])).toEqual(['pwd', 'otp'])
    expect(levels.worth([mailbox], NOW, { acrs: [] }).acr).toBeUndefined()
  })
})

describe('what is asked for next', () => {
  it.each([
    ['nothing before a first proof', ['totp'], [], {}, []],
    ['the app that the account has set up', ['totp'], [proof('pwd')], {}, ['totp']],
    ['recovery codes beside it', ['totp', 'recovery_code'], [proof('pwd')], {}, ['totp', 'recovery_code']],
    ['a passkey may stand in for it', ['totp', 'passkey'], [proof('email_code')], {}, ['passkey', 'totp']],
    ['nothing more after it', ['totp'], [proof('pwd'), proof('totp')], {}, []],
    [
      'only the passkey at the highest level',
      ['totp', 'passkey'],
      [proof('pwd'), proof('totp')],
      { acr_values: PHR },
      ['passkey'],
    ],
    ['nothing that the account does not have', [], [proof('pwd')], { acr_values: MFA }, []],
    ['only what has grown too old', ['totp'], [proof('pwd'), proof('totp', 13)], { acr_values: MFA }, ['totp']],
  ])('%s', (_, factors, proofs, params, methods) => {
    expect([...wanted(stateOf(factors, proofs, params))].sort()).toEqual([...methods].sort())
  })

  it('one of these must be set up where nothing that the account has would do', () => {
    expect(lacking(stateOf([], [proof('pwd')], { acr_values: MFA }))).toEqual(
      expect.arrayContaining(['passkey', 'totp']),
    )
    expect(lacking(stateOf(['totp'], [proof('pwd'), proof('totp')], { acr_values: PHR }))).toEqual(['passkey'])
    expect(lacking(stateOf([], [proof('pwd')]))).toEqual([])
  })

  it('nothing is set up before all that the account has was shown: a password alone adds no factor beside its owner’s', () => {
    expect(lacking(stateOf(['totp'], [proof('pwd')], { acr_values: PHR }))).toEqual([])
    expect(lacking(stateOf(['totp'], [proof('pwd')], { acr_values: MFA }))).toEqual([])
    expect(lacking(stateOf([], [proof('pwd')], { acr_values: MFA }, { emailVerified: false }))).toEqual([])
    expect(lacking(stateOf([], [], { acr_values: MFA }))).toEqual([])
  })

  it('the page can say who asks', () => {
    expect(reasonOf(stateOf(['totp'], [proof('pwd')], { acr_values: PHR }))).toBe('account')
    expect(reasonOf(stateOf(['totp'], [proof('pwd'), proof('totp')], { acr_values: PHR }))).toBe('request')
    expect(reasonOf(stateOf([], [proof('pwd')]))).toBeUndefined()
  })

  it('a remembered browser is part of no answer to a request for a fresh authentication', () => {
    const demand = levels.demand({ acr_values: MFA }, undefined)
    expect(takesDevice(demand)).toBe(true)
    expect(takesDevice(afresh(demand))).toBe(false)
    expect(met(demand, [proof('pwd'), proof('device')], NOW)).toBe(true)
    expect(met(afresh(demand), [proof('pwd'), proof('device')], NOW)).toBe(false)
  })
})

describe('a required second factor', () => {
  const required = { enrolment: { policy: 'required', grace: 2 } } as const
  it('is due until there is one, or it was put off in this conversation', () => {
    expect(enrolmentDue(stateOf([], [proof('pwd')], {}, required))).toBe(true)
    expect(enrolmentDue(stateOf(['recovery_code'], [proof('pwd')], {}, required))).toBe(true)
    expect(enrolmentDue(stateOf(['totp'], [proof('pwd')], {}, required))).toBe(false)
    expect(enrolmentDue(stateOf([], [proof('pwd')]))).toBe(false)
    const state = stateOf([], [proof('pwd')], {}, required)
    const answered = (answers: object) => ({ ...state, progress: { ...state.progress, answers } }) as FlowState
    expect(enrolmentDue(answered(putOffBy(state.account?.accountId ?? '')))).toBe(false)
    // What was put off for one account was not for another that the same conversation goes on with.
    expect(enrolmentDue(answered(putOffBy('another')))).toBe(true)
  })

  it('keeps the conversation from ending (A45)', () => {
    expect(finished(stateOf([], [proof('pwd')], {}, required))).toBeUndefined()
    expect(finished(stateOf(['passkey'], [proof('passkey')], {}, required))).toBe('account')
  })
})

/** Whether these proofs reach a level, told from the issue's own words and not from the table. */
function reaches(acr: string, proofs: readonly Proof[]): boolean {
  const young = (method: string) => proofs.some((held) => held.method === method && NOW - held.at <= 12 * HOUR)
  const shown = (method: string) => proofs.some((held) => held.method === method)
  if (acr === PHR) return young('passkey')
  const strong = young('passkey') || ((young('pwd') || young('email_code')) && SECOND.some(young))
  return acr === MFA ? strong : strong || ['pwd', 'email_code', 'passkey'].some(shown)
}

describe('every account, request and set of proofs', () => {
  const factors = fc.subarray(['totp', 'sms_code', 'passkey', 'recovery_code'])
  const proofs = fc
    .subarray(['pwd', 'email_code', 'passkey', ...SECOND])
    .chain((methods) =>
      fc.tuple(...methods.map((method) => fc.constantFrom(0, 11, 13).map((ago) => proof(method, ago)))),
    )
  const acr = fc.constantFrom<string | undefined>(undefined, BASIC, MFA, PHR)

  it('ends only at the level that is demanded, and names no higher one than was reached', () => {
    fc.assert(
      fc.property(factors, proofs, acr, acr, (has, held, asked, least) => {
        const state = stateOf(has, held, { acr_values: asked }, { minimumAcr: least })
        const demanded = [asked, least, has.some((m) => m === 'totp' || m === 'sms_code') ? MFA : undefined]
        const enough = demanded.every((level) => level === undefined || reaches(level, held)) && reaches(BASIC, held)
        const signsIn = ['pwd', 'email_code', 'passkey'].some((method) => held.some((one) => one.method === method))
        expect(finished(state)).toBe(enough && signsIn ? 'account' : undefined)
        const { acr: worth } = levels.worth(held, NOW, wishesOf({ acr_values: asked }))
        if (worth !== undefined) expect(reaches(worth, held)).toBe(true)
        if (asked !== undefined && reaches(asked, held)) expect(worth).toBe(asked)
      }),
      { numRuns: 5000 },
    )
  })

  it('asks for nothing that the account has not, and after it has been shown for less than before', () => {
    fc.assert(
      fc.property(factors, proofs, acr, (has, held, asked) => {
        const state = stateOf(has, held, { acr_values: asked })
        const next = wanted(state)
        for (const method of next) {
          expect(['pwd', 'email_code', ...has]).toContain(method)
          const after = stateOf(has, [...held.filter((one) => one.method !== method), proof(method)], {
            acr_values: asked,
          })
          expect(wanted(after)).not.toContain(method)
        }
        // Whoever has signed in and has not reached what is demanded is asked for something, or must set something up.
        const signsIn = held.some(({ second }) => second !== true)
        if (signsIn && finished(state) === undefined) expect([...next, ...lacking(state)]).not.toHaveLength(0)
      }),
      { numRuns: 5000 },
    )
  })
})
