/** The consent form. It carries a decision and nothing else: what is decided on comes from the engine. */
import { z } from 'zod'

export const decisionSchema = z.object({ action: z.enum(['allow', 'deny']) })
