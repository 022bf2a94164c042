/** Forms with a code. */
import { z } from 'zod'

/** Spaces and dashes are how people copy codes; anything else is left to fail. */
const code = z
  .string()
  .default('')
  .transform((value) => value.normalize('NFKC').replace(/[\s-]/g, ''))

export const verifyEmailForm = z.object({
  code,
  action: z.enum(['resend', 'change']).optional(),
  email: z.string().default(''),
})

export const emailCodeForm = z.object({
  code,
  action: z.enum(['resend']).optional(),
  shared: z.string().optional(),
})

export type VerifyEmailForm = z.output<typeof verifyEmailForm>
export type EmailCodeForm = z.output<typeof emailCodeForm>
