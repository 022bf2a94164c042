/** The link of a notice, as an address and as the form of its page. */
import { z } from 'zod'
import { LINK_PURPOSES } from './types.ts'

export const purposeSchema = z.enum(LINK_PURPOSES)

/** Blank, doubled and cut tokens name no link (A22). */
export const tokenSchema = z.string().regex(/^[\w-]{43}$/)
