/** A small HTTP client for load: keep-alive connections to loopback, a cookie jar, nothing followed unasked. */
import { Agent, type IncomingMessage, type OutgoingHttpHeaders, request as send } from 'node:http'
import { Agent as SecureAgent, request as sendSecurely } from 'node:https'

export interface Answer {
  readonly status: number
  readonly location: string | undefined
  readonly cookies: readonly string[]
  readonly retryAfter: string | undefined
  readonly body: string
}

export interface Http {
  get(url: string, headers?: OutgoingHttpHeaders): Promise<Answer>
  post(url: string, form: { readonly [name: string]: string }, headers?: OutgoingHttpHeaders): Promise<Answer>
  /** Requests sent so far. */
  sent(): number
  close(): void
}

/** At most `connections` at a time. Refuses every host but the one: load must not reach somebody by accident. */
export function createHttp(connections: number, only = '127.0.0.1', insecureTls = false): Http {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const secureAgent = new SecureAgent({
    ...{ keepAlive: true, maxSockets: connections, rejectUnauthorized: !insecureTls },
  })
  let count = 0

  function exchange(method: string, url: string, headers: OutgoingHttpHeaders, body?: string): Promise<Answer> {
    const { protocol, hostname, port, pathname, search } = new URL(url)
    if (hostname !== only) throw new Error(`${hostname} is not ${only}`)
    const options = { hostname, port, path: pathname + search, method, headers, timeout: 30_000 }
    count += 1
    return new Promise((resolve, reject) => {
      const take = (res: IncomingMessage) => {
        const chunks: Buffer[] = []
        res.on('data', (chunk: Buffer) => chunks.push(chunk))
        res.once('error', reject)
        res.once('end', () =>
          resolve({
            status: res.statusCode ?? 0,
            location: res.headers.location,
            cookies: res.headers['set-cookie'] ?? [],
            retryAfter: res.headers['retry-after'],
            body: Buffer.concat(chunks).toString(),
          }),
        )
      }
      const req =
        protocol === 'https:'
          ? sendSecurely({ agent: secureAgent, ...options }, take)
          : send({ agent, ...options }, take)
      req.once('timeout', () => req.destroy(new Error(`${method} ${url}: no answer in 30 s`)))
      req.once('error', reject)
      req.end(body)
    })
  }

  return {
    get: (url, headers = {}) => exchange('GET', url, headers),
    post: (url, form, headers = {}) => {
      const body = new URLSearchParams(form).toString()
      const type = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body) }
      return exchange('POST', url, { ...type, ...headers }, body)
    },
    sent: () => count,
    close: () => {
      agent.destroy()
      secureAgent.destroy()
    },
  }
}

export interface CookieJar {
  header(path: string): string
  keep(cookies: readonly string[]): void
}

export function createCookieJar(): CookieJar {
  const jar = new Map<string, { name: string; value: string; path: string }>()
  return {
    header: (path) =>
      [...jar.values()]
        .filter((cookie) => path.startsWith(cookie.path))
        .map(({ name, value }) => `${name}=${value}`)
        .join('; '),
    keep(cookies) {
      for (const cookie of cookies) {
        const [pair = '', ...attributes] = cookie.split(/;\s*/)
        const name = pair.slice(0, pair.indexOf('='))
        const value = pair.slice(pair.indexOf('=') + 1)
        const attribute = (wanted: string) =>
          attributes.find((item) => item.toLowerCase().startsWith(`${wanted}=`))?.slice(wanted.length + 1)
        const path = attribute('path') ?? '/'
        const expires = attribute('expires')
        if (expires !== undefined && Date.parse(expires) < Date.now()) jar.delete(`${name} ${path}`)
        else jar.set(`${name} ${path}`, { name, value, path })
      }
    },
  }
}
