/** A public key as others hand it to us (RFC 7517): with its needed members, and without the private ones. */
import { z } from 'zod'

/** A key for signatures or encryption; a private member is refused, so that nobody leaves one here by mistake. */
export const publicJwk = z
  .looseObject({
    kty: z.enum(['EC', 'RSA', 'OKP']),
    kid: z.string().min(1).optional(),
    use: z.enum(['sig', 'enc']).optional(),
    /** The certificate of the key first (RFC 7517 §4.7). */
    x5c: z.array(z.base64().min(1)).min(1).max(8).optional(),
  })
  .superRefine((key, context) => {
    const secret = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].find((name) => name in key)
    if (secret !== undefined) context.addIssue({ code: 'custom', message: `has the private member "${secret}"` })
    const needed = { EC: ['crv', 'x', 'y'], RSA: ['n', 'e'], OKP: ['crv', 'x'] }[key.kty]
    const missing = needed.filter((name) => typeof key[name] !== 'string')
    if (missing.length > 0) context.addIssue({ code: 'custom', message: `lacks ${missing.join(', ')}` })
  })
