/** Second factors and passkeys: who must have one, where it counts, and what happens when it is lost. */
import { z } from 'zod'
import { origin, type Parsed } from './values.ts'

const enrolment = z.enum(['none', 'optional', 'required'])

/** Somebody of the support, by the hash that `genkan support key` prints. */
const supporter = z.strictObject({
  name: z.string().regex(/^[\w.-]{1,64}$/, 'write letters, digits, "_", "." and "-", 64 at the most'),
  key_hash: z.string().regex(/^[\w-]{43}$/, 'write the hash that "genkan support key" printed'),
})

function distinct(people: readonly z.output<typeof supporter>[]): boolean {
  const once = (values: readonly string[]) => new Set(values).size === values.length
  return once(people.map(({ name }) => name)) && once(people.map((person) => person.key_hash))
}

export const factorShape = {
  second_factor: z
    .strictObject({
      policy: enrolment.default('optional'),
      grace: z.int().min(0).max(100).default(0),
      email_domains: z.record(z.string().toLowerCase(), enrolment).default({}),
    })
    .prefault({}),
  passkeys: z.strictObject({ related_origins: z.array(origin).max(50).default([]) }).prefault({}),
  recovery: z
    .strictObject({
      waiting_hours: z.coerce.number().int().min(24).max(720).default(72),
      support: z.array(supporter).refine(distinct, 'everybody once, with a key of their own').default([]),
    })
    .prefault({}),
}

export interface FactorConfig {
  /** Which accounts must have a second factor, when their client does not say. */
  readonly secondFactor: {
    readonly policy: 'none' | 'optional' | 'required'
    /** Sign-ins for which it may be put off. */
    readonly grace: number
    readonly emailDomains: { readonly [domain: string]: 'none' | 'optional' | 'required' }
  }
  /** Origins beside the issuer's whose pages may use its passkeys. */
  readonly passkeys: { readonly relatedOrigins: readonly string[] }
  readonly recovery: {
    /** Hours from asking for the removal of lost second factors until a sign-in may complete it. */
    readonly waitingHours: number
    /** Who may end the waiting, two together. */
    readonly support: readonly { readonly name: string; readonly keyHash: string }[]
  }
}

export function factorsOf(settings: Parsed<typeof factorShape>): FactorConfig {
  const { second_factor: secondFactor, passkeys, recovery } = settings
  return {
    secondFactor: { ...secondFactor, emailDomains: secondFactor.email_domains },
    passkeys: { relatedOrigins: passkeys.related_origins },
    recovery: {
      waitingHours: recovery.waiting_hours,
      support: recovery.support.map(({ name, key_hash: keyHash }) => ({ name, keyHash })),
    },
  }
}
