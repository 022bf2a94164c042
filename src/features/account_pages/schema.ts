/** Forms of the account pages. Unknown fields are dropped, never stored (A87). */
import { z } from 'zod'
import { ownClaimFields } from '../accounts/types.ts'
import type { Profile } from './types.ts'

export const profileSchema = (today: string): z.ZodType<Profile> => z.object(ownClaimFields(today))

export const passwordSchema = z.object({
  /** Asked of whoever has a password. */
  current: z.string().max(4096).default(''),
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
