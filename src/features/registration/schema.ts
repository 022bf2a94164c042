/** The form of the registration page. Other fields are dropped (A87). */
import { z } from 'zod'

export const registerForm = z.object({
  email: z.string().default(''),
  password: z.string().default(''),
  shared: z.string().optional(),
})

export type RegisterForm = z.output<typeof registerForm>
