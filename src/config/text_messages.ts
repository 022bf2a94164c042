/** Text messages: the provider, and what they may cost. */
import { z } from 'zod'
import type { Environment } from './reading.ts'
import type { Parsed } from './values.ts'

const budget = (fallback: number) => z.int().min(0).default(fallback)

const sms = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).optional(),
  headers: z.record(z.string().regex(/^[!#$%&'*+.^`|~\w-]+$/), z.string()).default({}),
  body_template: z.record(z.string(), z.json()).default({ to: '{to}', text: '{text}', id: '{id}' }),
  timeout_seconds: z.int().min(1).max(60).default(10),
  countries: z
    .union([z.literal('any'), z.array(z.string().regex(/^[A-Z]{2}$/, 'must be two capital letters, like FI'))])
    .default([]),
  budget: z
    .strictObject({
      prefix_per_hour: budget(100),
      prefix_per_day: budget(500),
      country_per_hour: budget(1000),
      country_per_day: budget(5000),
    })
    .prefault({}),
  conversion: z
    .strictObject({ sample: z.int().min(5).default(50), least: z.number().min(0).max(1).default(0.2) })
    .prefault({}),
})

export const smsShape = { sms: sms.optional() }

type Settings = Parsed<typeof smsShape> & { readonly database_url?: string | undefined }

export interface SmsConfig {
  /** Text messages; without, no code is sent to a phone. */
  readonly sms: Sms | undefined
}

export interface Sms {
  /** Without a provider, messages are files in the data directory. */
  readonly provider:
    | {
        readonly url: string
        readonly headers: { readonly [name: string]: string }
        readonly bodyTemplate: z.output<typeof sms>['body_template']
        readonly timeoutSeconds: number
      }
    | undefined
  readonly countries: 'any' | readonly string[]
  /** Messages to one prefix and to one country. */
  readonly budget: {
    readonly prefixPerHour: number
    readonly prefixPerDay: number
    readonly countryPerHour: number
    readonly countryPerDay: number
  }
  readonly conversion: { readonly sample: number; readonly least: number }
}

/** On the embedded default every country is served, to files; in production only who says so sends anything. */
export function smsOf({ sms: given, database_url: database }: Settings, env: Environment): SmsConfig {
  const isDemo = database === undefined && env.NODE_ENV !== 'production'
  if (given === undefined && !isDemo) return { sms: undefined }
  return { sms: messagesOf(given ?? sms.parse({ countries: 'any' })) }
}

function messagesOf(s: z.output<typeof sms>): Sms {
  return {
    provider:
      s.url === undefined
        ? undefined
        : { url: s.url, headers: s.headers, bodyTemplate: s.body_template, timeoutSeconds: s.timeout_seconds },
    countries: s.countries,
    budget: {
      prefixPerHour: s.budget.prefix_per_hour,
      prefixPerDay: s.budget.prefix_per_day,
      countryPerHour: s.budget.country_per_hour,
      countryPerDay: s.budget.country_per_day,
    },
    conversion: s.conversion,
  }
}

export function smsProblems({ sms: given, database_url: database }: Settings, env: Environment): string[] {
  if (given === undefined) return []
  const template = JSON.stringify(given.body_template)
  const lacking = ['{to}', '{text}'].filter((name) => !template.includes(name))
  return [
    ...lacking.map((name) => `sms.body_template: names no ${name}`),
    ...(given.url === undefined && (database !== undefined || env.NODE_ENV === 'production')
      ? ['sms.url: is missing; messages as files are for the embedded database outside of production']
      : []),
  ]
}
