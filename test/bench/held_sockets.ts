/** Holds connections to a server: `node held_sockets.ts <port> <slow> <silent>`. Slow ones send a header byte by byte. */
import { connect, type Socket } from 'node:net'

/** What became of the connections. */
export interface HeldSockets {
  readonly open: number
  /** After how many milliseconds the server closed slow ones. */
  readonly slowClosed: readonly number[]
  readonly idleClosed: number
  readonly refused: number
}

const HEADER = `GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ${'a'.repeat(4000)}`
const BYTE_EVERY_MS = 1000
/** So many at once, then a breath: a flood of handshakes is another test. */
const BATCH = 100

const [port = 0, slow = 0, silent = 0] = process.argv.slice(2).map(Number)
const open = new Map<Socket, { readonly since: number; readonly slow: boolean; sent: number }>()
const slowClosed: number[] = []
let idleClosed = 0
let refused = 0
let ending = false

function hold(isSlow: boolean): void {
  if (ending) return
  const socket = connect(port, '127.0.0.1')
  socket.on('connect', () => open.set(socket, { since: performance.now(), slow: isSlow, sent: 0 }))
  socket.on('error', () => {})
  socket.resume()
  socket.on('close', () => {
    const held = open.get(socket)
    open.delete(socket)
    if (held === undefined) refused += 1
    else if (held.slow) slowClosed.push(performance.now() - held.since)
    else idleClosed += 1
    setTimeout(() => hold(isSlow), 100)
  })
}

setInterval(() => {
  for (const [socket, held] of open) if (held.slow) socket.write(HEADER[held.sent++ % HEADER.length] ?? 'a')
}, BYTE_EVERY_MS)

const state = (): HeldSockets => ({ open: open.size, slowClosed, idleClosed, refused })

process.on('message', () => {
  ending = true
  process.send?.(state(), () => process.exit())
})
process.on('disconnect', () => process.exit())

for (let made = 0; made < slow + silent; made++) {
  hold(made < slow)
  if (made % BATCH === BATCH - 1) await new Promise((resolve) => setTimeout(resolve, 20))
}
await new Promise((resolve) => setTimeout(resolve, 500))
process.send?.(state())
