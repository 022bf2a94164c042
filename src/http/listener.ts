/** One port: how slow a sender may be, how many connections there may be, and how it ends without cutting anybody off. */
import { readFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAddressRules } from '../platform/address_rules.ts'
import { networkOf } from '../platform/client_network.ts'
import { createCrowd } from '../platform/crowd.ts'
import { type Doors, openDoors } from './doors.ts'

export interface Listener {
  /** Opens the port; resolves with its number. */
  open(port: number, host: string): Promise<number>
  /** From now on every answer ends its connection (`Connection: close`), and new connections are still taken. */
  wane(): void
  /** Wanes, and takes no new connections: another process may have the port. Kept connections are answered once more. */
  leave(): void
  /** Leaves, closes what is idle and lets requests end; what is still open after these milliseconds is cut off. */
  drain(milliseconds: number): Promise<void>
}

interface Caps {
  /** Connections that one address (of IPv6: one /64) may hold. */
  readonly perAddress: number
  /** Ranges that hold the connections of everybody. */
  readonly proxies: readonly string[]
  /** A connection was refused by one of the two limits; told of the first and then once a minute. */
  readonly refused: (limit: 'address' | 'files') => void
}

/** Whole headers and whole bodies must arrive in these times, or a slow sender would hold a socket for ever. */
const HEADERS_MS = 10_000
const REQUEST_MS = 15_000
/** Which part of it a connection may be silent, at the least: those that came together shall not end together. */
const LEAST_SILENCE = 0.5
/** How often slow senders are looked for; Node's own half minute would give them that much more. */
const CHECK_MS = 1000
const KEEP_ALIVE_MS = 65_000
const IDLE_CHECK_MS = 50
/** File descriptors that connections must not take: stores, files, what is fetched, and what Node itself holds open. */
const RESERVED_FILES = 96
const LEAST_CONNECTIONS = 16
const TELL_MS = 60_000
/** At each an event loop takes one connection a turn, and a turn of a busy one may last 50 ms. */
const DOORS = 8

/** Makes a port for `handle`; without `caps` only time limits it. */
export function createListener(handle: RequestListener, caps?: Caps): Listener {
  const answering = createCrowd<ServerResponse>()
  let waning = false
  const server = createServer({ connectionsCheckingInterval: CHECK_MS }, (req, res) => {
    if (waning) res.shouldKeepAlive = false
    answering.add(res)
    res.once('close', () => answering.delete(res))
    handle(req, res)
  })
  server.headersTimeout = HEADERS_MS
  server.requestTimeout = REQUEST_MS
  server.keepAliveTimeout = KEEP_ALIVE_MS
  server.on('connection', endSilent)
  if (caps !== undefined) limitConnections(server, caps)
  const wane = () => {
    waning = true
    for (const res of answering.all()) res.shouldKeepAlive = false
  }
  let doors: Doors | undefined
  let closed: Promise<void> | undefined
  const leave = () => {
    wane()
    closed ??= doors?.close()
  }
  return {
    wane,
    async open(port, host) {
      doors = await openDoors(server, { port, host, count: caps === undefined ? 1 : DOORS })
      return doors.port
    },
    leave,
    async drain(milliseconds) {
      leave()
      if (closed === undefined) return
      server.close()
      // A connection that falls idle between two looks would be kept for its whole keep-alive.
      const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS)
      const late = sleep(milliseconds, undefined, { ref: false }).then(() => server.closeAllConnections())
      await Promise.race([closed, late])
      clearInterval(idle)
    },
  }
}

/**
 * Closes a connection that has not said a byte. Node would do so, too, but looks once a second and ends all that are over in one
 * turn: thousands that came in one moment would end in one, and everybody else would wait for it.
 */
function endSilent(socket: Socket): void {
  const after = HEADERS_MS * (LEAST_SILENCE + (1 - LEAST_SILENCE) * Math.random())
  // A loop that stood still runs its timers before it reads: what has come is read first.
  const timer = setTimeout(() => setImmediate(() => socket.bytesRead === 0 && socket.destroy()), after)
  timer.unref()
  socket.once('close', () => clearTimeout(timer))
}

/**
 * What is beyond the limits is closed before a byte of it is read: a process without file descriptors could neither reach
 * its stores nor answer those who are there already (F33).
 */
function limitConnections(server: Server, { perAddress, proxies, refused }: Caps): void {
  const tell = seldom(refused)
  const { listed } = createAddressRules(proxies)
  const held = new Map<string, number>()
  const most = Math.max(LEAST_CONNECTIONS, (openFilesLimit() ?? Number.POSITIVE_INFINITY) - RESERVED_FILES)
  let open = 0
  server.on('connection', (socket: Socket) => {
    if (open >= most) {
      socket.destroy()
      return tell('files')
    }
    open += 1
    socket.once('close', () => {
      open -= 1
    })
    const address = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/i, '')
    if (listed(address)) return
    const network = networkOf(address)
    const count = (held.get(network) ?? 0) + 1
    if (count > perAddress) {
      socket.destroy()
      return tell('address')
    }
    held.set(network, count)
    socket.once('close', () => {
      const left = (held.get(network) ?? 1) - 1
      if (left === 0) held.delete(network)
      else held.set(network, left)
    })
  })
}

function seldom(refused: Caps['refused']): Caps['refused'] {
  const told = new Map<string, number>()
  return (limit) => {
    const now = performance.now()
    if (now - (told.get(limit) ?? Number.NEGATIVE_INFINITY) < TELL_MS) return
    told.set(limit, now)
    refused(limit)
  }
}

/** The soft limit of this process, where the system tells it. */
function openFilesLimit(): number | undefined {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined
  }
}
