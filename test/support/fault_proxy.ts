/** A TCP proxy that breaks things on purpose, between the server under test and PostgreSQL, Redis or a mail server. */
import { connect, createServer, type Socket } from 'node:net'
import { freePort } from './services.ts'

/** What happens to the bytes from now on. */
export type Fault =
  | { readonly kind: 'none' }
  /** Each chunk arrives later, by up to `jitter` milliseconds more, in its order. */
  | { readonly kind: 'delay'; readonly milliseconds: number; readonly jitter?: number }
  /** So many bytes a second pass, in each direction of each connection. */
  | { readonly kind: 'limit'; readonly bytesPerSecond: number }
  /** Every connection is reset once so many bytes of answers have passed on it, in the middle of a message if need be. */
  | { readonly kind: 'cut_after'; readonly bytes: number }
  /** Connections open, bytes vanish in both directions: the peer is there but silent. The next `set` resets them. */
  | { readonly kind: 'blackhole' }
  /** Open connections are reset, new ones refused. */
  | { readonly kind: 'reset' }
  /** A connection whose request contains the pattern is held: it reaches the server only when `release` is called. */
  | { readonly kind: 'hold'; readonly pattern: RegExp }
  /** The same for the `nth` chunk of requests from now on, whatever is in it. */
  | { readonly kind: 'hold_nth'; readonly nth: number }
  /** The request reaches the server, the answer to one that contains the pattern never comes back. */
  | { readonly kind: 'lose_answer'; readonly pattern: RegExp }

export interface FaultProxy {
  readonly port: number
  /** The given URL with the proxy's address in place of the server's. */
  readonly url: string
  set(fault: Fault): void
  /** Resolves when `hold` or `lose_answer` has caught a connection. */
  caught(): Promise<void>
  /** Lets held requests go on and stops holding. */
  release(): void
  /** The held requests never arrive: their connections are reset, and nothing is held any more. */
  drop(): void
  /** Chunks of requests since the last `set`. */
  requests(): number
  /** Connections that are open through it now. */
  connections(): number
  /** Connections that were ever asked for. */
  accepted(): number
  /** New connections go to another server, as after a failover; those that are open are reset. */
  retarget(url: string): void
  stop(): Promise<void>
}

interface Pair {
  readonly client: Socket
  readonly server: Socket
  /** Bytes are missing: the connection cannot go on as if nothing had happened. */
  torn: boolean
  /** Bytes of answers while `cut_after` is set. */
  answered: number
}

/** What the connections of one proxy share. */
interface State {
  fault: Fault
  target: URL
  accepted: number
  /** Chunks of requests since the fault was set. */
  requests: number
  held: { readonly pair: Pair; go(): void }[]
  caught: { readonly promise: Promise<void>; resolve(): void }
  readonly pairs: Set<Pair>
}

/** Listens on a port of its own and passes everything on to the server of the URL, until told to do worse. */
export async function startFaultProxy(serverUrl: string): Promise<FaultProxy> {
  const port = await freePort()
  const state: State = {
    ...{ fault: { kind: 'none' }, target: new URL(serverUrl) },
    ...{ accepted: 0, requests: 0, held: [], pairs: new Set() },
    caught: Promise.withResolvers<void>(),
  }
  const listener = createServer((client) => {
    client.on('error', () => {})
    state.accepted += 1
    const { target } = state
    if (state.fault.kind === 'reset') client.resetAndDestroy()
    else join(state, client, connect({ host: target.hostname, port: Number(target.port) }))
  })
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(port, '127.0.0.1', resolve)
  })
  const url = new URL(serverUrl)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return {
    port,
    url: url.href,
    ...controls(state),
    stop: () =>
      new Promise((resolve) => {
        for (const { client } of state.pairs) client.destroy()
        listener.close(() => resolve())
      }),
  }
}

function controls(state: State): Omit<FaultProxy, 'port' | 'url' | 'stop'> {
  const set = (next: Fault) => {
    state.fault = next
    state.requests = 0
    state.caught = Promise.withResolvers<void>()
    for (const pair of state.pairs) {
      pair.answered = 0
      if (next.kind === 'reset' || pair.torn) pair.client.resetAndDestroy()
    }
  }
  return {
    set,
    caught: () => state.caught.promise,
    release: () => {
      state.fault = { kind: 'none' }
      for (const { go } of state.held.splice(0)) go()
    },
    drop: () => {
      state.fault = { kind: 'none' }
      for (const { pair } of state.held.splice(0)) {
        pair.server.destroy()
        pair.client.resetAndDestroy()
      }
    },
    requests: () => state.requests,
    connections: () => state.pairs.size,
    accepted: () => state.accepted,
    retarget: (url) => {
      state.target = new URL(url)
      for (const { client } of state.pairs) client.resetAndDestroy()
    },
  }
}

/** Joins a client's connection with one to the server, through whatever fault is set at the time. */
function join(state: State, client: Socket, server: Socket): void {
  const pair: Pair = { client, server, torn: false, answered: 0 }
  const [up, down] = [createPassage(server), createPassage(client)]
  let mute = false
  state.pairs.add(pair)
  server.on('error', () => {})
  client.on('data', (data) => {
    const { fault } = state
    if (fault.kind === 'blackhole') pair.torn = true
    if (pair.torn) return
    state.requests += 1
    if (catches(state, data)) {
      state.caught.resolve()
      if (fault.kind !== 'lose_answer') return void state.held.push({ pair, go: () => arrive(client, server, data) })
      mute = true
    }
    up(state.fault, data)
  })
  server.on('data', (data) => {
    if (state.fault.kind === 'blackhole' || mute) pair.torn = true
    if (pair.torn) return
    if (state.fault.kind !== 'cut_after') return down(state.fault, data)
    const room = state.fault.bytes - pair.answered
    pair.answered += data.length
    if (data.length < room) return down(state.fault, data)
    pair.torn = true
    client.write(data.subarray(0, Math.max(0, room)), () => client.resetAndDestroy())
  })
  // What a client that was killed had sent arrives all the same: its end is passed on, after what is held is let go.
  for (const side of [client, server]) {
    side.on('close', () => {
      state.pairs.delete(pair)
      client.destroy()
      if (side === server || !state.held.some((each) => each.pair === pair)) server.destroy()
    })
  }
}

/** Also what its sender no longer waits for: the network had it already. */
function arrive(client: Socket, server: Socket, data: Buffer): void {
  if (client.destroyed) server.end(data)
  else server.write(data)
}

function catches({ fault, requests, held }: State, data: Buffer): boolean {
  if (fault.kind === 'hold' || fault.kind === 'lose_answer') return fault.pattern.test(data.toString('latin1'))
  return fault.kind === 'hold_nth' && requests >= fault.nth && held.length === 0
}

/** Writes chunks in their order, each when the fault of its time lets it through. */
function createPassage(to: Socket): (fault: Fault, data: Buffer) => void {
  const waiting: { readonly at: number; readonly data: Buffer }[] = []
  let lastAt = 0
  const next = () => {
    const [first] = waiting
    if (first === undefined) return
    // Several timers would not keep the order of fractions of a millisecond.
    setTimeout(
      () => {
        waiting.shift()
        to.write(first.data)
        next()
      },
      Math.max(0, first.at - performance.now()),
    )
  }
  return (fault, data) => {
    const now = performance.now()
    const at = Math.max(lastAt, now + waitOf(fault, data.length, Math.max(0, lastAt - now)))
    if (at <= now && waiting.length === 0) return void to.write(data)
    lastAt = at
    if (waiting.push({ at, data }) === 1) next()
  }
}

function waitOf(fault: Fault, bytes: number, behind: number): number {
  if (fault.kind === 'delay') return fault.milliseconds + Math.random() * (fault.jitter ?? 0)
  return fault.kind === 'limit' ? behind + (bytes / fault.bytesPerSecond) * 1000 : 0
}
