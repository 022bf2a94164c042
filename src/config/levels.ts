/** Levels of authentication: which methods reach them, and which scopes demand them. */
import { z } from 'zod'
import { repeated, suggestion } from './problems.ts'
import { type Parsed, scopeToken } from './values.ts'

/** A level of authentication: its name and the methods that reach it, those joined by + together. */
const level = z.strictObject({
  acr: scopeToken,
  methods: z
    .array(
      z
        .string()
        .regex(/^[a-z_]+(\+[a-z_]+)*$/, 'must be names of methods, joined by +')
        .transform((value) => value.split('+')),
    )
    .min(1),
  max_age_seconds: z.int().min(60).optional(),
})

const SECOND_FACTORS = ['totp', 'sms_code', 'recovery_code', 'device']
/** Weakest first. A mailbox is no second factor beside a password: whoever has it resets the password with it. */
const LEVELS = [
  { acr: 'urn:genkan:acr:basic', methods: ['pwd', 'email_code', 'passkey', 'upstream'] },
  {
    acr: 'urn:genkan:acr:mfa',
    methods: [
      'passkey',
      ...['pwd', 'email_code', 'upstream'].flatMap((first) => SECOND_FACTORS.map((second) => `${first}+${second}`)),
    ],
    max_age_seconds: 43_200,
  },
  { acr: 'phr', methods: ['passkey'], max_age_seconds: 43_200 },
]

export const levelShape = {
  levels: z.array(level).min(1).prefault(LEVELS),
  scope_levels: z.record(z.string(), z.string()).default({}),
}

type Settings = Parsed<typeof levelShape>

export interface LevelConfig {
  /** Levels of authentication, weakest first; each set of methods reaches its level. */
  readonly levels: readonly {
    readonly acr: string
    readonly methods: readonly (readonly string[])[]
    readonly maxAge?: number | undefined
  }[]
  /** The level that a scope demands of whoever signs in. */
  readonly scopeLevels: { readonly [scope: string]: string }
}

export function levelsOf({ levels, scope_levels: scopeLevels }: Settings): LevelConfig {
  return { levels: levels.map((row) => ({ ...row, maxAge: row.max_age_seconds })), scopeLevels }
}

export function levelProblems({ levels, scope_levels: ofScopes }: Settings): string[] {
  const acrs = levels.map(({ acr }) => acr)
  const unknown = Object.entries(ofScopes).filter(([, acr]) => !acrs.includes(acr))
  return [
    ...repeated(acrs).map((acr) => `levels: ${acr} is there twice`),
    ...unknown.map(
      ([scope, acr]) => `scope_levels.${scope}: ${acr} is none of ${acrs.join(', ')}${suggestion(acr, acrs)}`,
    ),
  ]
}
