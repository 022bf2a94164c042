/** What other rooms may know of registration. */
import { z } from 'zod'
import { OWN_CLAIMS } from '../accounts/types.ts'

/** What the registration page of a client asks for: claims that people can also change on their account page. */
export const registrationFieldsSchema = z
  .array(z.strictObject({ claim: z.enum(OWN_CLAIMS), required: z.boolean().default(false) }))
  .max(OWN_CLAIMS.length)
  .refine((list) => new Set(list.map(({ claim }) => claim)).size === list.length, 'has a claim twice')
