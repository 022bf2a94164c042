/** Values that settings of several parts have in common. */
import { isIP } from 'node:net'
import { z } from 'zod'

/** What a part's shape becomes when it was read. */
export type Parsed<Shape extends z.core.$ZodShape> = z.output<z.ZodObject<Shape>>

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

/** Whether this machine itself is meant, where a test or a proxy may be. */
export const isLoopback = (url: string | URL): boolean => LOOPBACK.has(new URL(url).hostname)

export const days = (fallback: number) => z.coerce.number().int().positive().max(36_500).default(fallback)
export const seconds = (fallback: number, least = 1) => z.coerce.number().int().min(least).default(fallback)
export const count = (fallback: number) => z.coerce.number().int().positive().default(fallback)

/** A word of a variable, or true and false of the file. */
export const flag = z.stringbool().or(z.boolean()).default(false)

/** A list, or one text with commas or spaces between. */
export const csv = <T extends z.ZodType>(item: T) =>
  z
    .preprocess((value) => (typeof value === 'string' ? value.split(/[\s,]+/).filter(Boolean) : value), z.array(item))
    .default([])

/** An origin as browsers compare it, and as programs are told it. */
export const origin = z.string().superRefine((value, context) => {
  const problem = originProblem(value)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

/** The same, forgiving one slash at the end. */
export const issuer = z
  .string()
  .transform((value) => value.replace(/\/$/, ''))
  .superRefine((value, context) => {
    const problem = originProblem(value)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
  })

function originProblem(value: string): string | undefined {
  if (!URL.canParse(value)) return 'is not a URL'
  const url = new URL(value)
  if (url.origin !== value) return 'must be an origin: scheme, host and port, without path, query or user'
  if (url.protocol === 'https:') return undefined
  if (url.protocol === 'http:' && isLoopback(url)) return undefined
  return 'must be https (http is for loopback only)'
}

export const cidr = z.string().refine((value) => {
  const [address, bits] = value.split('/')
  const version = isIP(address ?? '')
  return version !== 0 && (bits === undefined || (/^\d+$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128)))
}, 'must be an IP address or CIDR range')

export const headerName = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9-]{0,63}$/, 'write the name of a header, such as CF-IPCountry')

/** The name of a scope (RFC 6749 §3.3); levels have such names too. */
export const scopeToken = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/)
