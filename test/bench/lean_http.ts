/**
 * HTTP/1.1 over bare sockets for the open-loop generator: at thousands of requests a second, node:http would take more CPU than
 * the server that is to be measured, and its queue would hide who is slow. It understands what the servers here answer: a length
 * or chunks, and connections that stay open.
 */
import { connect, type Socket } from 'node:net'
import type { Answer, Http } from './http.ts'

interface Exchange {
  readonly text: string
  readonly port: number
  readonly until: number
  /** A server may close a connection for having been idle just when it is used: then the request goes out on a new one. */
  again: boolean
  resolve(answer: Answer): void
  reject(error: Error): void
}

interface Connection {
  readonly socket: Socket
  received: Buffer
  exchange: Exchange | undefined
  /** When its last answer came. */
  idleSince: number
}

const TIMEOUT_MS = 30_000
const SWEEP_MS = 250
/** Servers close idle connections after seconds. What is closed sooner is a broken connection, and is told. */
const IDLE_MS = 1000

/** Connections by port, and those who wait for one in order. */
interface Pool {
  readonly most: number
  readonly idle: Map<number, Connection[]>
  readonly all: Set<Connection>
  readonly waiting: Exchange[]
  /** Where the line begins: taking the first of an array of thousands away would move all the others. */
  first: number
}

/** At most `connections` at a time; the others wait their turn. For this machine only. */
export function createLeanHttp(connections: number): Http {
  const pool: Pool = { most: connections, idle: new Map(), all: new Set(), waiting: [], first: 0 }
  const sweeping = setInterval(() => sweep(pool), SWEEP_MS)
  sweeping.unref()
  let count = 0

  function send(
    method: string,
    url: string,
    headers: { readonly [name: string]: unknown },
    body = '',
  ): Promise<Answer> {
    const { hostname, host, port, pathname, search } = new URL(url)
    if (hostname !== '127.0.0.1') throw new Error(`${hostname} is not this machine`)
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    const text = `${method} ${pathname}${search} HTTP/1.1\r\nhost: ${host}\r\n${lines.join('')}\r\n${body}`
    count += 1
    return new Promise((resolve, reject) => {
      const until = performance.now() + TIMEOUT_MS
      pool.waiting.push({ text, port: Number(port), until, again: false, resolve, reject })
      proceed(pool)
    })
  }

  return {
    get: (url, headers = {}) => send('GET', url, headers),
    post: (url, form, headers = {}) => {
      const body = new URLSearchParams(form).toString()
      const type = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length }
      return send('POST', url, { ...type, ...headers }, body)
    },
    sent: () => count,
    close: () => {
      clearInterval(sweeping)
      for (const connection of pool.all) connection.socket.destroy()
    },
  }
}

/** Starts as many of the waiting as there are connections for. */
function proceed(pool: Pool): void {
  for (;;) {
    const exchange = pool.waiting[pool.first]
    if (exchange === undefined) break
    const kept = pool.idle.get(exchange.port)?.pop()
    if (kept === undefined && pool.all.size >= pool.most) return
    pool.first += 1
    exchange.again = kept !== undefined && performance.now() - kept.idleSince > IDLE_MS
    start(exchange, kept ?? open(pool, exchange.port))
  }
  pool.waiting.length = 0
  pool.first = 0
}

function start(exchange: Exchange, connection: Connection): void {
  connection.exchange = exchange
  connection.socket.write(exchange.text)
}

function open(pool: Pool, port: number): Connection {
  const socket = connect(port, '127.0.0.1')
  const connection: Connection = { socket, received: Buffer.alloc(0), exchange: undefined, idleSince: 0 }
  pool.all.add(connection)
  socket.setNoDelay(true)
  socket.on('data', (chunk) => take(pool, connection, chunk))
  socket.on('error', (error) => fail(pool, connection, error.message))
  socket.on('close', () => fail(pool, connection, 'connection closed'))
  return connection
}

function take(pool: Pool, connection: Connection, chunk: Buffer): void {
  connection.received = connection.received.length === 0 ? chunk : Buffer.concat([connection.received, chunk])
  const parsed = parseAnswer(connection.received)
  const { exchange } = connection
  if (parsed === undefined || exchange === undefined) return
  connection.received = Buffer.alloc(0)
  connection.exchange = undefined
  connection.idleSince = performance.now()
  if (parsed.close) {
    pool.all.delete(connection)
    connection.socket.destroy()
  } else {
    const kept = pool.idle.get(exchange.port)
    if (kept === undefined) pool.idle.set(exchange.port, [connection])
    else kept.push(connection)
  }
  exchange.resolve(parsed.answer)
  proceed(pool)
}

function fail(pool: Pool, connection: Connection, reason: string): void {
  if (!pool.all.delete(connection)) return
  const { exchange } = connection
  connection.socket.destroy()
  connection.exchange = undefined
  if (exchange === undefined) {
    for (const kept of pool.idle.values()) if (kept.includes(connection)) kept.splice(kept.indexOf(connection), 1)
  } else if (exchange.again && connection.received.length === 0 && exchange.until > performance.now()) {
    exchange.again = false
    start(exchange, open(pool, exchange.port))
  } else exchange.reject(new Error(reason))
  proceed(pool)
}

function sweep(pool: Pool): void {
  const now = performance.now()
  for (const connection of pool.all) {
    if (connection.exchange !== undefined && connection.exchange.until < now)
      fail(pool, connection, 'no answer in time')
  }
  // In order of their deadlines. So many are waiting only when the server is far behind.
  for (let next = pool.waiting[pool.first]; next !== undefined && next.until < now; next = pool.waiting[pool.first]) {
    pool.first += 1
    next.reject(new Error('no connection in time'))
  }
  pool.waiting.splice(0, pool.first)
  pool.first = 0
}

/** Undefined until the answer is whole. */
export function parseAnswer(data: Buffer): { answer: Answer; close: boolean } | undefined {
  const end = data.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const head = data.toString('latin1', 0, end)
  const header = (name: string) => new RegExp(`^${name}: *(.*?) *$`, 'im').exec(head.replaceAll('\r', ''))?.[1]
  const status = Number(head.slice(9, 12))
  const body = readBody(data, end + 4, status, header)
  if (body === undefined) return undefined
  return {
    close: header('connection')?.toLowerCase() === 'close',
    answer: {
      ...{ status, body, location: header('location'), retryAfter: header('retry-after') },
      cookies: [...head.matchAll(/^set-cookie: *(.*?)\r?$/gim)].map(([, cookie = '']) => cookie),
    },
  }
}

function readBody(data: Buffer, from: number, status: number, header: (name: string) => string | undefined) {
  if (status === 204 || status === 304) return ''
  if (header('transfer-encoding') === undefined) {
    const length = Number(header('content-length') ?? 0)
    return data.length < from + length ? undefined : data.toString('utf8', from, from + length)
  }
  const chunks: Buffer[] = []
  for (let at = from; ; ) {
    const line = data.indexOf('\r\n', at)
    if (line < 0) return undefined
    const size = Number.parseInt(data.toString('latin1', at, line), 16)
    if (data.length < line + 2 + size + 2) return undefined
    if (size === 0) return Buffer.concat(chunks).toString('utf8')
    chunks.push(data.subarray(line + 2, line + 2 + size))
    at = line + 2 + size + 2
  }
}
