/** What a sign-in by an upstream provider is worth: its proof meets what its level meets, and never more (A42). */
import { describe, expect, it } from '@jest/globals'
import { begin } from '../../src/interaction/flow.ts'
import { createLevels, justShown, lacking, met, wanted, wishesOf } from '../../src/interaction/levels.ts'
import type { FlowState, Proof } from '../../src/interaction/step.ts'
import { DEFAULT_LEVELS as levels } from '../support/levels.ts'

const [BASIC, MFA, PHR] = ['urn:genkan:acr:basic', 'urn:genkan:acr:mfa', 'phr'] as const
const HOUR = 3_600_000
const NOW = 100 * HOUR

const came = (reaches?: string, amr: readonly string[] = [], hoursAgo = 0): Proof => ({
  ...{ method: 'upstream', by: { upstream: 'acme' }, amr, reaches },
  ...{ accountId: 'A', at: NOW - hoursAgo * HOUR, epoch: 0 },
})
const app: Proof = { method: 'totp', amr: ['otp'], second: true, accountId: 'A', at: NOW, epoch: 0 }

function stateOf(factors: readonly string[], proofs: readonly Proof[], acr?: string): FlowState {
  const own = levels.ofFactors(factors)
  const params = acr === undefined ? {} : { acr_values: acr }
  const account = { accountId: 'A', email: 'a@example.com', emailVerified: true, active: true, epoch: 0, factors }
  return {
    ...{ uid: 'u', cid: 'c', prompt: { name: 'login', reasons: [], details: {} }, params, account },
    client: { clientId: 'shop', name: 'Shop', firstParty: false },
    progress: { ...begin('login', account.email), accountId: 'A', proofs },
    demands: [...(own === undefined ? [] : [own]), levels.demand(params, undefined)],
    enrolment: { policy: 'optional', grace: 0 },
    ...{ now: NOW, locale: 'en' },
  }
}

describe('met, worth', () => {
  it.each([
    ['a provider that says nothing', [came()], [true, false, false], BASIC, []],
    ['one whose level is mapped to basic', [came(BASIC)], [true, false, false], BASIC, []],
    ['one whose level is mapped to mfa', [came(MFA, ['hwk', 'mfa'])], [true, true, false], MFA, ['hwk', 'mfa']],
    ['one whose level is mapped to the highest', [came(PHR)], [true, true, true], PHR, []],
    ['a level that has left the table', [came('urn:gone')], [true, false, false], BASIC, []],
    ['eleven hours ago', [came(MFA, [], 11)], [true, true, false], MFA, []],
    ['thirteen hours ago: the level is lost, the sign-in is not', [came(MFA, [], 13)], [true, false, false], BASIC, []],
    [
      'a low one with the app of the account',
      [came(BASIC, ['pwd']), app],
      [true, true, false],
      MFA,
      ['pwd', 'otp', 'mfa'],
    ],
    ['nothing but the app', [app], [false, false, false], undefined, []],
  ])('%s', (_, proofs, reached, acr, amr) => {
    expect([BASIC, MFA, PHR].map((level) => met(levels.demand({ acr_values: level }, undefined), proofs, NOW))).toEqual(
      reached,
    )
    const worth = levels.worth(proofs, NOW, wishesOf({}))
    expect(worth.acr).toBe(acr)
    expect(worth.amr).toEqual(amr)
  })

  it('the level is named as the client wishes, up to what was reached', () => {
    expect(levels.worth([came(PHR)], NOW, wishesOf({ acr_values: `${MFA} ${PHR}` })).acr).toBe(MFA)
    expect(levels.worth([came(MFA)], NOW, wishesOf({ acr_values: `${PHR} ${BASIC}` })).acr).toBe(BASIC)
  })
})

const FIRST_AND_APP = ['email_code', 'pwd', 'totp']

describe('wanted', () => {
  it.each([
    ['A42: the app that the account has set up', ['totp'], came(), undefined, ['totp']],
    ['A42: also where the provider’s level is a low one', ['totp'], came(BASIC), undefined, ['totp']],
    ['nothing after a level that satisfies the account’s own demand', ['totp'], came(MFA), undefined, []],
    ['nothing of an account without factors', [], came(), undefined, []],
    ['the app where a client asks for more', ['totp'], came(), MFA, ['totp']],
    ['nothing where the provider reaches what a client asks for', [], came(MFA), MFA, []],
    ['the passkey where it reaches less', ['passkey'], came(MFA), PHR, ['passkey']],
    ['everything again when the provider’s level has grown old', ['totp'], came(MFA, [], 13), undefined, FIRST_AND_APP],
  ])('%s', (_, factors, proof, acr, methods) => {
    expect([...wanted(stateOf(factors, [proof], acr))].sort()).toEqual(methods)
  })

  it('an account with nothing that would do sets something up', () => {
    expect(lacking(stateOf([], [came()], MFA))).toEqual(expect.arrayContaining(['totp', 'passkey']))
    expect(lacking(stateOf([], [came(MFA)], MFA))).toEqual([])
    expect(lacking(stateOf([], [came(MFA)], PHR))).toContain('passkey')
  })

  it('coming by a provider is an act of the person', () => {
    expect(justShown([came()], NOW)).toHaveLength(1)
    expect(justShown([came(PHR, [], 1)], NOW)).toHaveLength(0)
  })
})

describe('whether a provider’s word stands in for a second factor', () => {
  it.each([
    ['of a low level', [came(BASIC)], false],
    ['without a level', [came()], false],
    ['of the lowest level that takes two', [came(MFA)], true],
    ['of a higher one', [came(PHR)], true],
    ['grown old', [came(MFA, [], 13)], false],
    ['nobody’s', [app], false],
  ])('%s', (_, proofs, stands) => {
    expect(levels.isVouchedFor(proofs, NOW)).toBe(stands)
  })

  it('of no level where none takes two', () => {
    const flat = createLevels([
      { acr: 'low', methods: [['pwd']] },
      { acr: 'high', methods: [['passkey']] },
    ])
    expect(flat.isVouchedFor([came('high')], NOW)).toBe(false)
  })
})
