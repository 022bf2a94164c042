/** The form of the password page. A missing field is an empty one: it fails like a wrong password and counts (A46). */
import { z } from 'zod'

export const passwordForm = z.object({
  password: z.string().default(''),
  shared: z.string().optional(),
  /** A solved puzzle or a ticket, when the page asked for one. */
  proof: z.string().optional(),
})

export type PasswordForm = z.output<typeof passwordForm>
