/** Forms with a number or the code of a text message. */
import { z } from 'zod'

/** Blanks and dashes are how people copy codes; digits of any script are digits. Anything else is left to fail, and counts. */
const code = z
  .string()
  .max(64)
  .default('')
  .transform((value) => value.normalize('NFKC').replace(/[\s-]/g, ''))

export const smsCodeForm = z.object({ code, action: z.enum(['resend']).optional() })

/** `send` is what the form with the number says. */
export const smsSetupForm = z.object({
  code,
  phone: z.string().max(64).default(''),
  action: z.enum(['send', 'resend', 'change']).optional(),
})

export type SmsCodeForm = z.output<typeof smsCodeForm>
export type SmsSetupForm = z.output<typeof smsSetupForm>
