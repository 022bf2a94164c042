/**
 * The complete matrix {methods set up} × {level asked for} × {policy} × {proofs and their ages} against `next()` with the real
 * steps of the product, in its order. The judge has a table of the levels of its own and shares no code with `levels.ts`.
 */
import { describe, expect, it } from '@jest/globals'
import { inOrder } from '../../src/conversation.ts'
import {
  createChooseAccountStep,
  createIdentifierStep,
  createSwitchAccountStep,
} from '../../src/features/accounts/step.ts'
import { createConsentStep } from '../../src/features/consents/step.ts'
import { createEmailCodeStep, createVerifyEmailStep } from '../../src/features/email_codes/step.ts'
import { createEnrolStep } from '../../src/features/enrolment/step.ts'
import { createLostFactorStep } from '../../src/features/lost_factors/step.ts'
import { createPasskeyOfferStep, createPasskeySetupStep, createPasskeyStep } from '../../src/features/passkeys/step.ts'
import { createPasswordStep } from '../../src/features/passwords/step.ts'
import { createNewPasswordStep, createRecoverCodeStep, createRecoverStep } from '../../src/features/recovery/step.ts'
import { createNewRecoveryCodesStep, createRecoveryCodeStep } from '../../src/features/recovery_codes/step.ts'
import { createRegisterStep } from '../../src/features/registration/step.ts'
import { createSmsCodeStep, createSmsSetupStep } from '../../src/features/sms_codes/step.ts'
import { createTotpSetupStep, createTotpStep } from '../../src/features/totp/step.ts'
import { type InteractionStoreDeps, judged } from '../../src/interaction/conversation.ts'
import { begin, finished, next } from '../../src/interaction/flow.ts'
import type { FlowState, Proof, Step } from '../../src/interaction/step.ts'
import { DEFAULT_LEVELS } from '../support/levels.ts'
import { sample, sampleTitle } from '../support/sample.ts'

const MINUTE = 60_000
const NOW = 1_000 * 60 * MINUTE
const MFA_MS = 720 * MINUTE
/** Ages of a proof: of now, of a session that goes on, too old for the higher levels. */
const AGES = [0, 60 * MINUTE, MFA_MS + MINUTE] as const

const FIRST = ['pwd', 'email_code'] as const
const OWN = ['totp', 'sms_code', 'recovery_code'] as const
const METHODS = [...FIRST, 'passkey', ...OWN, 'device'] as const
type Method = (typeof METHODS)[number]

const isSecond = (method: Method): boolean => ['device', ...OWN].includes(method)

/** Any one of the sets reaches the level; `MFA` and `phr` want them younger than twelve hours. */
const TWO: readonly (readonly Method[])[] = FIRST.flatMap((first) =>
  [...OWN, 'device' as const].map((second) => [first, second]),
)
const REACH = {
  'urn:genkan:acr:basic': {
    sets: [['pwd'], ['email_code'], ['passkey'], ...TWO] as Method[][],
    within: Number.POSITIVE_INFINITY,
  },
  'urn:genkan:acr:mfa': { sets: [['passkey'], ...TWO] as Method[][], within: MFA_MS },
  phr: { sets: [['passkey']] as Method[][], within: MFA_MS },
} as const
type Acr = keyof typeof REACH
const ACRS = Object.keys(REACH) as Acr[]

/** What each step proves or sets up. */
const PROVES: { readonly [step: string]: Method } = {
  ...{ password: 'pwd', email_code: 'email_code', passkey: 'passkey', totp: 'totp', sms_code: 'sms_code' },
  recovery_code: 'recovery_code',
}
const SETS_UP: { readonly [step: string]: Method } = {
  ...{ totp_setup: 'totp', passkey_setup: 'passkey', sms_setup: 'sms_code' },
}

// Which step is needed is a question to the state alone: none of them touches what it is made of.
const none = new Proxy({}, { get: () => none }) as never
const steps = inOrder(
  [
    ...[createChooseAccountStep, createIdentifierStep, createRegisterStep, createRecoverStep, createRecoverCodeStep],
    ...[createNewPasswordStep, createPasswordStep, createPasskeyStep, createEmailCodeStep, createVerifyEmailStep],
    ...[createTotpStep, createSmsCodeStep, createRecoveryCodeStep, createLostFactorStep, createEnrolStep],
    ...[createTotpSetupStep, createPasskeySetupStep, createSmsSetupStep, createNewRecoveryCodesStep],
    ...[createPasskeyOfferStep, createSwitchAccountStep, createConsentStep],
  ].map((create) => (create as (deps: never) => unknown)(none) as Step),
)

const POLICIES = ['optional', 'required'] as const

interface Case {
  readonly factors: readonly Method[]
  readonly acr: Acr
  readonly policy: (typeof POLICIES)[number]
  readonly ages: readonly (number | undefined)[]
}

const KINDS = [...OWN, 'passkey'] as const
const SETS = Array.from({ length: 2 ** KINDS.length }, (_, bits) => KINDS.filter((_kind, bit) => bits & (1 << bit)))
/** When a method was shown: what begins a sign-in may have an age between. */
const SHOWN = METHODS.map((method) => (isSecond(method) ? [undefined, AGES[0], AGES[2]] : [undefined, ...AGES]))
const RADIX = [SETS.length, ACRS.length, POLICIES.length, ...SHOWN.map(({ length }) => length)]

/** The matrix by number: as a list of cases it would not fit. */
function caseAt(number: number): Case {
  let left = number
  const digits = RADIX.map((radix) => {
    const digit = left % radix
    left = Math.floor(left / radix)
    return digit
  })
  const [set = 0, level = 0, policy = 0, ...ages] = digits
  return {
    factors: SETS[set] ?? [],
    acr: ACRS[level] ?? 'phr',
    policy: POLICIES[policy] ?? 'required',
    ages: ages.map((age, method) => SHOWN[method]?.[age]),
  }
}

const proofsOf = ({ ages }: Case): Proof[] =>
  METHODS.flatMap((method, index): Proof[] => {
    const age = ages[index]
    return age === undefined
      ? []
      : [{ method, accountId: 'A', at: NOW - age, epoch: 0, ...(isSecond(method) && { second: true as const }) }]
  })

function stateOf({ factors, acr, policy, ...of }: Case): FlowState {
  const email = 'a@example.com'
  const deps = {
    levels: DEFAULT_LEVELS,
    enrolmentOf: () => ({ policy, grace: 0 }),
    clock: { now: () => new Date(NOW) },
  }
  return judged(deps as unknown as InteractionStoreDeps, {
    ...{ uid: 'u', cid: 'c', prompt: { name: 'login', reasons: ['no_session'], details: {} }, locale: 'en' },
    params: { acr_values: acr },
    client: { clientId: 'shop', name: 'Shop', firstParty: false },
    account: { accountId: 'A', email, emailVerified: true, active: true, epoch: 0, factors },
    progress: { ...begin('login', email), accountId: 'A', proofs: proofsOf({ factors, acr, policy, ...of }) },
  })
}

/** The judge: what the state must lead to. */
function verdict({ factors, acr, policy, ages }: Case) {
  const ageOf = (method: Method) => ages[METHODS.indexOf(method)] ?? Number.POSITIVE_INFINITY
  const has = (method: Method) => Number.isFinite(ageOf(method))
  const reached = (level: Acr) =>
    ACRS.slice(ACRS.indexOf(level)).some((each) =>
      REACH[each].sets.some((set) => set.every((method) => has(method) && ageOf(method) <= REACH[each].within)),
    )
  const isFirst = (['pwd', 'email_code', 'passkey'] as const).some(has)
  const available: readonly Method[] = ['pwd', 'email_code', ...factors]
  // Who has an app or a phone is asked for it at every sign-in.
  const asked: Acr[] = [
    ...(factors.includes('totp') || factors.includes('sms_code') ? ['urn:genkan:acr:mfa' as const] : []),
    acr,
  ]
  const within = (level: Acr) =>
    ACRS.slice(ACRS.indexOf(level)).some((each) =>
      REACH[each].sets.some((set) =>
        set.every((method) => (has(method) && ageOf(method) <= REACH[each].within) || available.includes(method)),
      ),
    )
  return {
    isFirst,
    isReached: asked.every(reached),
    /** Whether what the account has would reach it. */
    isWithin: asked.every(within),
    isEnrolled: policy === 'optional' || factors.some((method) => method !== 'recovery_code'),
    /** Shown, and young enough for everything that may be asked. */
    fresh: METHODS.filter((method) => ageOf(method) <= MFA_MS),
    /** Only a proof of before twelve hours began this: the conversation starts over. */
    isStale: !(['pwd', 'email_code', 'passkey'] as const).some((method) => ageOf(method) <= MFA_MS),
  }
}

describe(sampleTitle('what comes next'), () => {
  const numbers = sample(Array.from({ length: RADIX.reduce((a, b) => a * b) }, (_, number) => number))

  it(`of ${numbers.length} states each leads to what is missing, and none ends without it`, () => {
    const problems: string[] = []
    const judge = (one: Case, isRight: boolean, what: string) => {
      if (!isRight && problems.length < 20) problems.push(`${what}: ${JSON.stringify(one)}`)
    }
    for (const number of numbers) {
      const one = caseAt(number)
      const state = stateOf(one)
      const step = next(steps, state)?.name
      const { isFirst, isReached, isEnrolled, isWithin, fresh, isStale } = verdict(one)
      const ended = finished(state)
      const mayEnd = isFirst && isReached && isEnrolled
      if (ended !== undefined) judge(one, mayEnd, 'ended')
      if (mayEnd) judge(one, ended === 'account', 'did not end')
      if (!isFirst) judge(one, step === 'password', `asked for ${step} before a first factor`)
      if (ended !== undefined)
        judge(one, step === undefined || step === 'new_recovery_codes', `showed ${step} at the end`)
      if (!isFirst || ended !== undefined) continue
      const proves = PROVES[step ?? '']
      judge(one, step !== undefined || isStale, 'a dead end')
      if (proves !== undefined) judge(one, !fresh.includes(proves), `asked again for ${step}`)
      if (proves !== undefined && proves !== 'pwd' && proves !== 'email_code')
        judge(one, one.factors.includes(proves), `asked for ${step}, which the account has not`)
      // Nobody adds a factor beside one that would do.
      if (step === 'enrol' || SETS_UP[step ?? ''] !== undefined)
        judge(one, !isEnrolled || !isWithin, 'set up what is there already')
    }
    expect(problems).toEqual([])
  }, 600_000)
})
