/**
 * What is wrong with a URI that other parties hand us to keep. Redirects, logouts and origins are compared as strings
 * (RFC 9700 §4.1), so each has one spelling only.
 */
import { z } from 'zod'

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])
const URI_LENGTH = 2048

/** Says what is wrong, or undefined. */
export type UriCheck = (value: string) => string | undefined

/** A text that the check finds nothing wrong with. */
export const checkedUri = (check: UriCheck) =>
  z.string().superRefine((value, context) => {
    const message = check(value)
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  })

function spelling(value: string): string | undefined {
  if (value.length > URI_LENGTH) return `is longer than ${URI_LENGTH} characters`
  if (!URL.canParse(value)) return 'is not an absolute URI'
  if (value.includes('#')) return 'must not have a fragment'
  if (value.includes('*')) return 'must not have a wildcard'
  const url = new URL(value)
  if (url.username !== '' || url.password !== '') return 'must not have a user or password'
  // Dot segments, upper-case hosts, default ports, backslashes, blanks and unescaped characters all change here.
  if (url.href !== value && url.href !== `${value}/`) return `must be written as ${url.href}`
  if (/%2e|%2f|%5c|%00/i.test(url.pathname)) return 'must not have escaped dots, slashes or NUL in its path'
  return undefined
}

/** https anywhere, http on a loopback host only. */
export const webUriProblem: UriCheck = (value) => {
  const problem = spelling(value)
  if (problem !== undefined) return problem
  const { protocol, hostname } = new URL(value)
  if (protocol === 'https:' || (protocol === 'http:' && LOOPBACK.has(hostname))) return undefined
  return protocol === 'http:' ? 'must be https (http is for loopback only)' : 'must be https'
}

/** RFC 8252 §7: claimed https, loopback http, or a private-use scheme in reverse domain order (so never `javascript:`). */
export const nativeUriProblem: UriCheck = (value) => {
  const problem = spelling(value)
  if (problem !== undefined) return problem
  const { protocol, hostname } = new URL(value)
  if (protocol === 'https:') return LOOPBACK.has(hostname) ? 'must be http on a loopback host' : undefined
  if (protocol === 'http:') return LOOPBACK.has(hostname) ? undefined : 'must be https (http is for loopback only)'
  return /^[a-z][a-z0-9-]*(\.[a-z0-9-]+)+:$/.test(protocol)
    ? undefined
    : 'must be https, http on loopback, or a scheme in reverse domain order such as com.example.app:/callback'
}

/** An exact web origin (RFC 6454), as browsers send it. */
export const originProblem: UriCheck = (value) => {
  if (!URL.canParse(value)) return 'is not an origin'
  const url = new URL(value)
  if (url.origin !== value) return 'must be an exact origin: scheme, host and port, nothing else'
  return webUriProblem(value)
}
