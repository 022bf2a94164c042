/** Forms of the account pages. Unknown fields are dropped, never stored (A87). */
import { z } from 'zod'
import type { Profile } from './types.ts'

/** One line without controls or direction overrides: a name is shown to clients and in mails. */
const line = (max: number) =>
  z
    .string()
    .normalize('NFC')
    .trim()
    .max(max)
    .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]*$/u)

const orNothing = (value: string): string | undefined => (value === '' ? undefined : value)

/** Only the web: a client may make a link of it, and `javascript:` is a link too. */
function isWebAddress(value: string): boolean {
  return value === '' || (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol))
}

/** A day that exists, in ISO 8601 (OIDC Core §5.1); year 0000 stands for a year that is not told. */
function isDay(value: string): boolean {
  const [, year = '', month = '', day = ''] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(value) ?? []
  const date = new Date(Date.UTC(2000, Number(month) - 1, Number(day)))
  const isReal = date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day)
  return value === '' || (year !== '' && isReal)
}

const name = line(120).transform(orNothing)

export const profileSchema: z.ZodType<Profile> = z.object({
  name,
  given_name: name,
  family_name: name,
  nickname: name,
  birthdate: z.string().trim().refine(isDay).transform(orNothing),
  phone_number: z
    .string()
    .transform((value) => value.replace(/[\s().-]/g, ''))
    .refine((value) => /^(\+[1-9]\d{5,14})?$/.test(value))
    .transform(orNothing),
  website: line(300).refine(isWebAddress).transform(orNothing),
})

export const passwordSchema = z.object({
  current: z.string().max(4096),
  password: z.string().max(4096),
  /** A checkbox: absent when the person wants to stay signed in elsewhere. */
  others: z.literal('yes').optional(),
})

export const emailSchema = z.object({ email: z.string().max(1024) })

export const emailCodeSchema = z.object({
  action: z.enum(['confirm', 'resend', 'cancel']).default('confirm'),
  /** Spaces and dashes are how people copy codes; anything else is left to fail. */
  code: z
    .string()
    .max(64)
    .default('')
    .transform((value) => value.normalize('NFKC').replace(/[\s-]/g, '')),
})

export const deleteSchema = z.object({ confirmation: z.string().max(1024) })

export const languageSchema = z.object({ locale: z.string().max(35), return_to: z.string().optional() })
