/** HTTP as an attacker writes it: bytes on a socket, with nothing put right on the way. */
import { connect, type Socket } from 'node:net'

export interface RawAnswer {
  /** 0 when the server closed the connection without an answer. */
  readonly status: number
  /** Names in lower case; of repeated ones all values. */
  readonly headers: ReadonlyMap<string, readonly string[]>
  readonly body: string
  readonly text: string
}

/** Sends the bytes to a port of this machine and reads until the server closes. Add `connection: close` to the request. */
export function sendRaw(port: number, bytes: string | Buffer, milliseconds = 20_000): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    const parts: Buffer[] = []
    const finish = () => resolve(parse(Buffer.concat(parts).toString('latin1')))
    socket.setTimeout(milliseconds, () => socket.destroy(new Error(`no end after ${milliseconds} ms`)))
    socket.on('data', (part) => parts.push(part))
    socket.once('close', (failed) => {
      if (!failed) finish()
    })
    // A server that refuses a request closes while we still write.
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE' || error.code === 'ECONNRESET') finish()
      else reject(error)
    })
    socket.write(bytes)
  })
}

/** A request as text: request line, headers as they come, an empty line and the body. */
export function rawRequest(line: string, headers: readonly string[], body = ''): string {
  return [`${line} HTTP/1.1`, ...headers, 'connection: close', '', body].join('\r\n')
}

/** A connection that never says all it has to say; resolves with the milliseconds after which the server ended it. */
export function dribble(
  port: number,
  beginning: string,
  drop: string,
  everyMs: number,
): { socket: Socket; ended: Promise<number> } {
  const started = performance.now()
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  socket.write(beginning)
  const timer = setInterval(() => socket.write(drop), everyMs)
  const ended = new Promise<number>((resolve) => {
    socket.once('close', () => {
      clearInterval(timer)
      resolve(performance.now() - started)
    })
  })
  return { socket, ended }
}

function parse(text: string): RawAnswer {
  const end = text.indexOf('\r\n\r\n')
  const [first = '', ...lines] = text.slice(0, end < 0 ? undefined : end).split('\r\n')
  const headers = new Map<string, string[]>()
  for (const line of lines) {
    const cut = line.indexOf(':')
    const name = line.slice(0, cut).toLowerCase()
    headers.set(name, [...(headers.get(name) ?? []), line.slice(cut + 1).trim()])
  }
  return { status: Number(first.split(' ')[1] ?? 0), headers, body: end < 0 ? '' : text.slice(end + 4), text }
}
