/**
 * How urgent a request is, told from its first line and the names of its cookies alone: whoever asks for tokens or is in the
 * middle of signing in goes before those who begin, and they before those who sign up. Nothing is looked up, so whoever
 * invents a cookie is thought to be in the middle; that is worth no more than a place among those.
 */
import type { IncomingMessage } from 'node:http'
import type { Rank } from '../platform/pressure.ts'

export interface Ranked {
  /** Without one a request is never turned away: health, and documents from memory. */
  readonly rank: Rank | undefined
  readonly path: string
  readonly query: string
  /** Whether a person looks at the answer. */
  readonly isPage: boolean
}

/** Names of the engine's cookies. */
export interface CookieNames {
  readonly session: string
  readonly interaction: string
}

const FREE: ReadonlySet<string> = new Set(['livez', 'readyz', 'jwks', '.well-known'])
/** First segments of what programs ask for, and of what pages are made of. */
const PROTOCOL: ReadonlySet<string> = new Set([
  'token',
  'me',
  'request',
  'backchannel',
  'reg',
  'global-token-revocation',
  'assets',
  'brands',
])

export function rankOf(req: IncomingMessage, names: CookieNames): Ranked {
  const { url = '/', method = 'GET', headers } = req
  const mark = url.indexOf('?')
  const [path, query] = mark < 0 ? [url, ''] : [url.slice(0, mark), url.slice(mark + 1)]
  const { accept = '', cookie = '' } = headers
  const isPage = accept.includes('text/html') && (method === 'GET' || method === 'HEAD' || method === 'POST')
  const has = (name: string) => cookie.includes(`${name}=`)
  return { rank: method === 'OPTIONS' ? 'protocol' : rank(path, query, method, names, has), path, query, isPage }
}

function rank(
  path: string,
  query: string,
  method: string,
  { session, interaction }: CookieNames,
  has: (name: string) => boolean,
): Rank | undefined {
  const [, first = '', second] = path.split('/', 3)
  if (FREE.has(first)) return undefined
  if (PROTOCOL.has(first) || path === '/device/auth') return 'protocol'
  if (first === 'auth' && second === undefined) {
    if (/(?:^|&)prompt=(?:[^&]*(?:%20|\+))?create(?:&|%20|\+|$)/.test(query)) return 'sign_up'
    return has(session) ? 'under_way' : 'sign_in'
  }
  if (first !== 'interaction') return 'under_way'
  if (method === 'POST' && path.endsWith('/register')) return 'sign_up'
  return has(interaction) ? 'under_way' : 'sign_in'
}

/** Whether somebody begins to sign in or up by it. Whatever it accepts: a program that says it wants no page is no way past a line. */
export function beginsSignIn({ rank: its, path, query }: Ranked, { method }: IncomingMessage): boolean {
  if (path !== '/auth' || method === 'POST' || (its !== 'sign_in' && its !== 'sign_up')) return false
  // A question whether there is a session begins nothing.
  return !/(?:^|&)prompt=none(?:&|$)/.test(query)
}

/** Whether a password comes with it, which costs more than all the rest of a sign-in. */
export function bringsPassword({ path }: Ranked, { method }: IncomingMessage): boolean {
  return method === 'POST' && path.startsWith('/interaction/') && path.endsWith('/password')
}

/** The value of a cookie as it came. */
export function cookieOf({ headers: { cookie = '' } }: IncomingMessage, name: string): string | undefined {
  const found = cookie.split('; ').find((pair) => pair.startsWith(`${name}=`))
  return found?.slice(name.length + 1)
}
