/** Keys that other parties hand us to keep (RFC 7517): public ones, for signatures, with all their members. */
import { z } from 'zod'

const text = z.string().min(1)

export const publicJwk = z
  .looseObject({ kty: z.enum(['EC', 'RSA', 'OKP']), kid: text.optional(), use: z.literal('sig').optional() })
  .superRefine((key, context) => {
    const secret = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].find((name) => name in key)
    if (secret !== undefined) context.addIssue({ code: 'custom', message: `has the private member "${secret}"` })
    const needed = { EC: ['crv', 'x', 'y'], RSA: ['n', 'e'], OKP: ['crv', 'x'] }[key.kty]
    const missing = needed.filter((name) => typeof key[name] !== 'string')
    if (missing.length > 0) context.addIssue({ code: 'custom', message: `lacks ${missing.join(', ')}` })
  })
