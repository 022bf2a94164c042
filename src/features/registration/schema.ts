/** The form of the registration page. Other fields are dropped, and so are claims that the client does not ask for (A87). */
import { z } from 'zod'
import { OWN_CLAIMS, type OwnClaim } from '../accounts/types.ts'

const text = z.string().default('')
const claims = Object.fromEntries(OWN_CLAIMS.map((claim) => [claim, text])) as { [claim in OwnClaim]: typeof text }

export const registerForm = z.object({
  email: text,
  password: text,
  shared: z.string().optional(),
  proof: z.string().optional(),
  ...claims,
})

export type RegisterForm = z.output<typeof registerForm>
