/** What is sealed into the cookies of the account pages. */
import { z } from 'zod'

/** A sign-in that has left for the authorization endpoint and not come back. */
const pendingSchema = z.object({
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  returnTo: z.string(),
  /** Milliseconds since the epoch. */
  startedAt: z.number(),
  /** Set when a fresh authentication was asked for: the account that must come back. */
  fresh: z.string().optional(),
})

export type Pending = z.infer<typeof pendingSchema>

export const pendingListSchema = z.array(pendingSchema).max(8)

export const ticketSchema = z.object({
  accountId: z.string(),
  sessionUid: z.string(),
  /** Seconds since the epoch. */
  authTime: z.number(),
  /** The level that was reached then. */
  acr: z.string().optional(),
})

export type Ticket = z.infer<typeof ticketSchema>

/** The authorization response (RFC 6749 §4.1.2, RFC 9207). Repeated parameters are arrays and do not pass. */
export const responseSchema = z.object({
  state: z.string().max(128),
  code: z.string().max(512).optional(),
  error: z.string().max(128).optional(),
  iss: z.string().max(512).optional(),
})
