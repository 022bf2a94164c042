/** Forms of the recovery pages. */
import { z } from 'zod'

export const recoverForm = z.object({
  identifier: z.string().default(''),
  /** A solved puzzle or a ticket, when the page asked for one. */
  proof: z.string().optional(),
})

/** Spaces and dashes are how people copy codes. */
export const recoverCodeForm = z.object({
  code: z
    .string()
    .default('')
    .transform((value) => value.normalize('NFKC').replace(/[\s-]/g, '')),
  action: z.enum(['resend']).optional(),
})

export const newPasswordForm = z.object({ password: z.string().default(''), shared: z.string().optional() })

export type RecoverForm = z.output<typeof recoverForm>
export type RecoverCodeForm = z.output<typeof recoverCodeForm>
export type NewPasswordForm = z.output<typeof newPasswordForm>
