/** A small HTTP client for load: keep-alive connections to loopback, a cookie jar, nothing followed unasked. */
import { Agent, type OutgoingHttpHeaders, request as send } from 'node:http'

export interface Answer {
  readonly status: number
  readonly location: string | undefined
  readonly cookies: readonly string[]
  readonly body: string
}

export interface Http {
  get(url: string, headers?: OutgoingHttpHeaders): Promise<Answer>
  post(url: string, form: { readonly [name: string]: string }, headers?: OutgoingHttpHeaders): Promise<Answer>
  /** Requests sent so far. */
  sent(): number
  close(): void
}

/** At most `connections` at a time. Refuses every address but this machine's. */
export function createHttp(connections: number): Http {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  let count = 0

  function exchange(method: string, url: string, headers: OutgoingHttpHeaders, body?: string): Promise<Answer> {
    const { hostname, port, pathname, search } = new URL(url)
    if (hostname !== '127.0.0.1') throw new Error(`${hostname} is not this machine`)
    count += 1
    return new Promise((resolve, reject) => {
      const req = send({ agent, hostname, port, path: pathname + search, method, headers, timeout: 30_000 }, (res) => {
        const chunks: Buffer[] = []
        res.on('data', (chunk: Buffer) => chunks.push(chunk))
        res.once('error', reject)
        res.once('end', () =>
          resolve({
            status: res.statusCode ?? 0,
            location: res.headers.location,
            cookies: res.headers['set-cookie'] ?? [],
            body: Buffer.concat(chunks).toString(),
          }),
        )
      })
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
    close: () => agent.destroy(),
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
