/** The cookie rules of RFC 6265bis that our tests rely on: domain, path, Secure, name prefixes, SameSite and expiry. */

export interface Cookie {
  readonly name: string
  readonly value: string
  /** The host it belongs to; `hostOnly` ones are not sent to subdomains. */
  readonly domain: string
  readonly hostOnly: boolean
  readonly path: string
  readonly secure: boolean
  readonly httpOnly: boolean
  readonly sameSite: 'strict' | 'lax' | 'none'
  /** Milliseconds since the epoch; absent: ends with the browser session. */
  readonly expires?: number | undefined
}

export interface CookieJar {
  /** Stores what the rules allow and returns the `Set-Cookie` values that they refused. */
  store(url: URL, setCookie: readonly string[]): string[]
  /** The `Cookie` header for a request. `crossSite` ones get `SameSite=None` only, top-level GETs `Lax` too. */
  header(url: URL, request: { crossSite: boolean; topLevelGet: boolean }): string | undefined
  all(): readonly Cookie[]
  delete(name: string): void
  clear(): void
  /** What closing the browser does: cookies without an expiry go. */
  endSession(): void
}

export function createCookieJar(now: () => number = Date.now): CookieJar {
  let cookies: Cookie[] = []
  const same = (a: Cookie, b: Cookie) => a.name === b.name && a.domain === b.domain && a.path === b.path
  return {
    store: (url, setCookie) => {
      const refused: string[] = []
      for (const line of setCookie) {
        const cookie = parse(url, line, now())
        if (cookie === undefined) {
          refused.push(line)
          continue
        }
        cookies = cookies.filter((other) => !same(other, cookie))
        if (cookie.expires === undefined || cookie.expires > now()) cookies.push(cookie)
      }
      return refused
    },
    header: (url, { crossSite, topLevelGet }) => {
      cookies = cookies.filter((cookie) => cookie.expires === undefined || cookie.expires > now())
      const sent = cookies.filter(
        (cookie) =>
          (cookie.hostOnly ? url.hostname === cookie.domain : domainMatches(url.hostname, cookie.domain)) &&
          pathMatches(url.pathname, cookie.path) &&
          (!cookie.secure || trustworthy(url)) &&
          (!crossSite || cookie.sameSite === 'none' || (cookie.sameSite === 'lax' && topLevelGet)),
      )
      sent.sort((a, b) => b.path.length - a.path.length)
      return sent.length === 0 ? undefined : sent.map((cookie) => `${cookie.name}=${cookie.value}`).join('; ')
    },
    all: () => cookies,
    delete: (name) => {
      cookies = cookies.filter((cookie) => cookie.name !== name)
    },
    clear: () => {
      cookies = []
    },
    endSession: () => {
      cookies = cookies.filter((cookie) => cookie.expires !== undefined)
    },
  }
}

function parse(url: URL, line: string, now: number): Cookie | undefined {
  const [pair = '', ...rest] = line.split(';')
  const cut = pair.indexOf('=')
  if (cut < 1) return undefined
  const attributes = new Map(
    rest.map((part) => {
      const [name = '', ...value] = part.split('=')
      return [name.trim().toLowerCase(), value.join('=').trim()] as const
    }),
  )
  const domain = attributes.get('domain')?.replace(/^\./, '').toLowerCase() || undefined
  if (domain !== undefined && !domainMatches(url.hostname, domain)) return undefined
  const path = attributes.get('path')
  const sameSite = attributes.get('samesite')?.toLowerCase()
  const cookie: Cookie = {
    name: pair.slice(0, cut).trim(),
    value: pair.slice(cut + 1).trim(),
    domain: domain ?? url.hostname,
    hostOnly: domain === undefined,
    path: path?.startsWith('/') ? path : defaultPath(url),
    secure: attributes.has('secure'),
    httpOnly: attributes.has('httponly'),
    sameSite: sameSite === 'strict' || sameSite === 'none' ? sameSite : 'lax',
    expires: expiry(attributes, now),
  }
  return allowed(cookie, url) ? cookie : undefined
}

function allowed(cookie: Cookie, url: URL): boolean {
  if (cookie.secure && !trustworthy(url)) return false
  if (cookie.sameSite === 'none' && !cookie.secure) return false
  const name = cookie.name.toLowerCase()
  if (name.startsWith('__secure-')) return cookie.secure && url.protocol === 'https:'
  if (!name.startsWith('__host-')) return true
  return cookie.secure && url.protocol === 'https:' && cookie.hostOnly && cookie.path === '/'
}

function expiry(attributes: ReadonlyMap<string, string>, now: number): number | undefined {
  const age = attributes.get('max-age')
  if (age !== undefined && /^-?\d+$/.test(age)) return now + Number(age) * 1000
  const expires = Date.parse(attributes.get('expires') ?? '')
  return Number.isNaN(expires) ? undefined : expires
}

/** Chromium stores and sends Secure cookies on plain loopback too, but no name prefixes. */
function trustworthy(url: URL): boolean {
  return url.protocol === 'https:' || url.hostname === 'localhost' || url.hostname === '127.0.0.1'
}

function domainMatches(host: string, domain: string): boolean {
  return host === domain || (host.endsWith(`.${domain}`) && !/^[\d.]+$/.test(host))
}

function pathMatches(path: string, cookiePath: string): boolean {
  return path === cookiePath || path.startsWith(cookiePath.endsWith('/') ? cookiePath : `${cookiePath}/`)
}

function defaultPath(url: URL): string {
  const cut = url.pathname.lastIndexOf('/')
  return cut <= 0 ? '/' : url.pathname.slice(0, cut)
}
