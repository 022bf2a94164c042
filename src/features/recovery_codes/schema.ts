/** Forms of recovery codes. */
import { z } from 'zod'

/** As typed; its one spelling is the service's to find. */
export const recoveryCodeForm = z.object({ code: z.string().max(64).default('') })

/** The button that says so, and nothing else, ends the one showing. */
export const savedForm = z.object({ saved: z.literal('yes') })

export type RecoveryCodeForm = z.output<typeof recoveryCodeForm>
export type SavedForm = z.output<typeof savedForm>
