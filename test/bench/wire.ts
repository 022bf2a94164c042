/**
 * Counts what a server sends to its stores, exactly, by reading the wire: a relay between the server and the store that
 * understands the two protocols. It needs no right on the store and no setting of it.
 */
import { connect, createServer, type Socket } from 'node:net'

export interface Relay {
  /** The store's URL with the relay's address in it. */
  readonly url: string
  /** What was sent since the last call: Redis commands with the beginning of their key, or texts of SQL statements. */
  take(): readonly string[]
  close(): Promise<void>
}

type Reader = (chunk: Buffer) => void

/** Starts a relay on a free loopback port before the store at `target`. */
export async function startRelay(
  target: string,
  createReader: (seen: (what: string) => void) => Reader,
): Promise<Relay> {
  const { port, hostname } = new URL(target)
  const sockets = new Set<Socket>()
  let seen: string[] = []
  const server = createServer((client) => {
    const store = connect(Number(port), hostname)
    const read = createReader((what) => seen.push(what))
    for (const socket of [client, store]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        store.destroy()
      })
    }
    client.on('data', (chunk: Buffer) => {
      read(chunk)
      store.write(chunk)
    })
    store.on('data', (chunk) => client.write(chunk))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const url = new URL(target)
  url.port = String(typeof address === 'object' ? address?.port : '')
  url.hostname = '127.0.0.1'
  return {
    url: url.href,
    take() {
      const taken = seen
      seen = []
      return taken
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

/** Reads Redis requests (RESP arrays of bulk strings). A script is one command, whatever it does inside. */
export function redisReader(seen: (command: string) => void): Reader {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    for (;;) {
      const command = readCommand(rest)
      if (command === undefined) return
      rest = rest.subarray(command.bytes)
      seen([command.words[0]?.toUpperCase(), ...command.words.slice(1)].join(' '))
    }
  }
}

function readCommand(data: Buffer): { words: readonly string[]; bytes: number } | undefined {
  const count = readNumber(data, 0)
  if (count === undefined) return undefined
  const words: string[] = []
  let at = count.next
  for (let i = 0; i < count.value; i++) {
    const length = readNumber(data, at)
    if (length === undefined || data.length < length.next + length.value + 2) return undefined
    if (i < 2) words.push(data.toString('latin1', length.next, length.next + Math.min(length.value, 40)))
    at = length.next + length.value + 2
  }
  return { words, bytes: at }
}

/** `*3\r\n` or `$12\r\n` at `from`. */
function readNumber(data: Buffer, from: number): { value: number; next: number } | undefined {
  const end = data.indexOf('\r\n', from)
  return end < 0 ? undefined : { value: Number(data.toString('latin1', from + 1, end)), next: end + 2 }
}

/** Transaction control carries no work of its own. */
const CONTROL = /^(begin|commit|rollback|start transaction|discard|set |show )/i
const SSL_REQUEST = 80_877_103

/**
 * What jobs do for all requests together, once a second: sealing the ledger and delivering facts. Requests only insert into
 * the outbox (perhaps as a part of a change's statement), so every other statement on these tables is a job's.
 * Browsers are noted by a consumer of sign-ins, too: in a request only a wish to be remembered touches them.
 */
export function isJobStatement(sql: string): boolean {
  if (/\binsert into "?outbox"?\s/i.test(sql)) return false
  return /\b(outbox|devices|ledger|ledger_anchors|deliveries|pg_advisory_xact_lock|pg_try_advisory_xact_lock)\b/i.test(
    sql,
  )
}

/** Reads PostgreSQL's frontend messages: simple queries and executed portals, without transaction control. */
export function postgresReader(seen: (sql: string) => void): Reader {
  const statements = new Map<string, string>()
  const portals = new Map<string, string>()
  let rest: Buffer = Buffer.alloc(0)
  let started = false
  const report = (sql: string) => {
    if (!CONTROL.test(sql.trim())) seen(sql)
  }
  const message = (type: string, body: Buffer) => {
    const [first = '', second = ''] = body.toString('utf8').split('\0')
    if (type === 'Q') report(first)
    if (type === 'P') statements.set(first, second)
    if (type === 'B') portals.set(first, statements.get(second) ?? '')
    if (type === 'E') report(portals.get(first) ?? '')
  }
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    for (;;) {
      const header = started ? 1 : 0
      if (rest.length < header + 4) return
      const length = header + rest.readInt32BE(header)
      if (rest.length < length) return
      // The first message has no type; a request for TLS comes before it and is refused by these stores.
      if (started) message(String.fromCharCode(rest[0] ?? 0), rest.subarray(5, length))
      else started = rest.readInt32BE(4) !== SSL_REQUEST
      rest = rest.subarray(length)
    }
  }
}
