/** Forms of passkeys. What an authenticator answered is JSON in one field. */
import { z } from 'zod'
import { LONGEST_NAME } from './service.ts'

const credential = z.string().max(32_768).default('')

export const passkeyForm = z.object({ credential })
export type PasskeyForm = z.output<typeof passkeyForm>

/** `later` is the button that declines. */
export const passkeySetupForm = z.object({ credential, action: z.enum(['add', 'later']).default('add') })
export type PasskeySetupForm = z.output<typeof passkeySetupForm>

/** One line without controls or direction overrides. */
const name = z
  .string()
  .normalize('NFC')
  .trim()
  .max(LONGEST_NAME)
  .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]*$/u)

export const newPasskeyForm = z.object({ credential })
export const renameForm = z.object({ name })
