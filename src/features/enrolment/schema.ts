/** Forms of enrolment. */
import { z } from 'zod'

export const enrolForm = z.object({ action: z.enum(['later', 'refuse']) })

export type EnrolForm = z.output<typeof enrolForm>
