/** Forms with the code of an app. */
import { z } from 'zod'

/** Blanks and dashes are how apps show codes; digits of any script are digits. Anything else is left to fail, and counts. */
export const totpForm = z.object({
  code: z
    .string()
    .max(64)
    .default('')
    .transform((value) => value.normalize('NFKC').replace(/[\s-]/g, '')),
  /** A checkbox: to be remembered in this browser. */
  trust: z.string().optional(),
})

export type TotpForm = z.output<typeof totpForm>
