/**
 * Why Redis closes connections. It says so in a line and closes at once, without having read what the driver has sent; the system
 * then throws the line away with the connection. Whoever sends nothing hears it.
 */
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { RedisOptions } from 'ioredis'

const LISTEN_MS = 1000

/** The line, as in "ERR max number of clients reached"; undefined when nothing is said. Never rejects. */
export function whyRefused({ host = '127.0.0.1', port = 6379, path, tls }: RedisOptions): Promise<string | undefined> {
  const place = path === undefined ? { host, port } : { path }
  return new Promise((resolve) => {
    const socket: Socket = tls === undefined ? connect(place) : connectTls({ ...place, ...tls })
    let heard = ''
    const end = () => {
      socket.destroy()
      resolve(/^-([^\r\n]+)/.exec(heard)?.[1])
    }
    socket.setTimeout(LISTEN_MS, end)
    socket.on('data', (bytes) => {
      heard += bytes.toString()
      if (heard.includes('\n')) end()
    })
    socket.on('error', end)
    socket.on('close', end)
  })
}
