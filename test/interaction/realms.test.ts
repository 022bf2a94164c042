/** What a realm closes, as pure functions. */
import { describe, expect, it } from '@jest/globals'
import { begin, finished, merge, next } from '../../src/interaction/flow.ts'
import { BREAK_GLASS, breaksGlass, confine, isClosed, isRouted } from '../../src/interaction/realms.ts'
import type { AccountView, FlowState, Progress, Proof, Realm, Step } from '../../src/interaction/step.ts'
import { DEFAULT_LEVELS } from '../support/levels.ts'

const EMAIL = 'anna@acme.example'
const CLOSED: Realm = { domain: 'acme.example', upstream: 'acme', policy: 'enforce', breakGlass: ['glass'] }
const ACCOUNT: AccountView = { accountId: 'A', email: EMAIL, emailVerified: true, active: true, epoch: 0, factors: [] }
const proof = (method: string, accountId = 'A', upstream?: string): Proof => ({
  ...{ method, accountId, at: 1, epoch: 0 },
  ...(upstream !== undefined && { by: { upstream } }),
})
const proven = (...proofs: readonly Proof[]): Progress =>
  proofs.reduce((progress, each) => merge(progress, { accountId: each.accountId, proof: each }), begin('login', EMAIL))
const stateOf = (progress: Progress, realm: Realm | undefined): FlowState => ({
  ...{ uid: 'u', cid: 'c', prompt: { name: 'login', reasons: [], details: {} }, params: {}, progress, realm },
  client: { clientId: 'own', name: 'Own', firstParty: true },
  account: progress.accountId === undefined ? undefined : { ...ACCOUNT, accountId: progress.accountId },
  demands: [DEFAULT_LEVELS.demand({}, undefined)],
  ...{ enrolment: { policy: 'optional', grace: 0 }, now: 2, locale: 'en' },
})
const FORGOTTEN = { path: 'login', identifier: EMAIL, accountId: undefined, proofs: [] }

describe('of an address that a realm closes nothing is kept but the address', () => {
  it.each([
    ['a password', proven(proof('pwd'))],
    ['a mailed code', proven(proof('email_code'))],
    ['a passkey', proven(proof('passkey'))],
    ['a password and an app', proven(proof('pwd'), proof('totp'))],
    ['another provider', proven(proof('upstream', 'A', 'other'))],
    ['the mailbox of a recovery', { ...proven(proof('mailbox')), path: 'recover' }],
    ['a registration', { ...begin('create', EMAIL), accountId: 'A' }],
    ['a recovery that was begun', { ...begin('login', EMAIL), path: 'recover', answers: { recover: 'asked' } }],
  ] as [string, Progress][])('after %s', (_, progress) => {
    const kept = confine(progress, CLOSED, EMAIL)
    expect(kept).toMatchObject(FORGOTTEN)
    expect(kept.answers).toEqual({})
    // Without the first rule the second one holds.
    expect(finished(stateOf(progress, CLOSED))).toBeUndefined()
  })

  it.each([
    ['its own provider', proven(proof('upstream', 'A', 'acme')), CLOSED],
    ['its own provider and an app', proven(proof('upstream', 'A', 'acme'), proof('totp')), CLOSED],
    ['an account that keeps its methods', proven(proof('pwd', 'glass')), CLOSED],
    ['a realm that only leads', proven(proof('pwd')), { ...CLOSED, policy: 'route' }],
    ['a realm that only offers', proven(proof('pwd')), { ...CLOSED, policy: 'offer' }],
    ['no realm', proven(proof('pwd')), undefined],
  ] as [string, Progress, Realm | undefined][])('but not after %s', (_, progress, realm) => {
    expect(confine(progress, realm, EMAIL)).toBe(progress)
    expect(finished(stateOf(progress, realm))).toBe('account')
  })
})

describe('the pages', () => {
  const step = (name: string, meets: Step['meets'], inRealm?: Step['inRealm']): Step => ({
    ...{ name, feature: 'test', prompts: ['login'], meets, ...(inRealm && { inRealm }) },
    needed: name === 'realm' ? isRouted : () => true,
    input: undefined as never,
    show: async () => ({}),
    submit: async () => ({ ok: true, patch: {} }),
  })
  const STEPS = [
    step('realm', ['account', 'authentication'], 'provider'),
    step('password', ['authentication'], 'break_glass'),
    step('email_code', ['authentication']),
    step('upstream', ['account', 'authentication'], 'provider'),
    step('totp', ['second_factor']),
  ]
  const open = (state: FlowState) => STEPS.filter((each) => !isClosed(each, state)).map(({ name }) => name)
  const typed = begin('login', EMAIL)
  const asksForGlass = merge(typed, { answers: { [BREAK_GLASS]: EMAIL } })

  it('of a closed domain are those of the provider, whatever was chosen', () => {
    expect(open(stateOf(typed, CLOSED))).toEqual(['realm', 'upstream', 'totp'])
    for (const chosen of ['password', 'email_code']) {
      expect(next(STEPS, stateOf({ ...typed, chosen }, CLOSED))?.name).toBe('realm')
    }
  })

  it('of one that only leads are all, the provider first', () => {
    const routed = { ...CLOSED, policy: 'route' as const }
    expect(open(stateOf(typed, routed))).toHaveLength(STEPS.length)
    expect(next(STEPS, stateOf(typed, routed))?.name).toBe('realm')
    expect(next(STEPS, stateOf({ ...typed, chosen: 'password' }, routed))?.name).toBe('password')
    expect(isRouted(stateOf(typed, { ...CLOSED, policy: 'offer' }))).toBe(false)
  })

  it('of the own methods are there for whoever asks, for this address only, and never the mailbox of the domain', () => {
    expect(open(stateOf(asksForGlass, CLOSED))).toEqual(['realm', 'password', 'upstream', 'totp'])
    expect(next(STEPS, stateOf(asksForGlass, CLOSED))?.name).toBe('password')
    const another = merge(asksForGlass, { identifier: 'ben@acme.example' })
    expect(next(STEPS, stateOf(another, CLOSED))?.name).toBe('realm')
  })
})

describe('an account that keeps its methods', () => {
  it('breaks the glass by them, and not by the provider', () => {
    expect(breaksGlass(stateOf(proven(proof('pwd', 'glass')), CLOSED))).toBe(true)
    expect(breaksGlass(stateOf(proven(proof('upstream', 'glass', 'other')), CLOSED))).toBe(true)
    expect(breaksGlass(stateOf(proven(proof('upstream', 'glass', 'acme')), CLOSED))).toBe(false)
    expect(breaksGlass(stateOf(proven(proof('pwd')), CLOSED))).toBe(false)
    expect(breaksGlass(stateOf(proven(proof('pwd', 'glass')), { ...CLOSED, policy: 'route' }))).toBe(false)
  })

  it.each([
    ['a password alone', [proof('pwd', 'glass')], undefined],
    ['a password and a remembered browser', [proof('pwd', 'glass'), proof('device', 'glass')], undefined],
    ['a password and an app', [proof('pwd', 'glass'), proof('totp', 'glass')], 'account'],
    ['a passkey', [proof('passkey', 'glass')], 'account'],
  ] as const)('needs more than the weakest level: %s', (_, proofs, end) => {
    const state = stateOf(proven(...proofs), CLOSED)
    expect(finished({ ...state, demands: [...state.demands, DEFAULT_LEVELS.ofBreakGlass()] })).toBe(end)
  })
})
