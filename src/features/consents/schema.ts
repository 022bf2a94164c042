/** The consent form. It carries a decision and nothing else: what is decided on comes from the engine. */
import { z } from 'zod'

export const decisionSchema = z.object({
  action: z.enum(['allow', 'deny']),
  /** Digest of the details in the words that the page had; compared and never believed. */
  shown: z.string().max(64).optional(),
})
