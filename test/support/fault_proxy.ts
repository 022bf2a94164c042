/** A TCP proxy that breaks things on purpose, between the server under test and PostgreSQL, Redis or a mail server. */
import { connect, createServer, type Socket } from 'node:net'
import { freePort } from './services.ts'

/** What happens to the bytes from now on. */
export type Fault =
  | { readonly kind: 'none' }
  /** Each chunk arrives later. */
  | { readonly kind: 'delay'; readonly milliseconds: number }
  /** Connections open, bytes vanish in both directions: the peer is there but silent. The next `set` resets them. */
  | { readonly kind: 'blackhole' }
  /** Open connections are reset, new ones refused. */
  | { readonly kind: 'reset' }
  /** A connection whose request contains the pattern is held: it reaches the server only when `release` is called. */
  | { readonly kind: 'hold'; readonly pattern: RegExp }
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
  stop(): Promise<void>
}

interface Pair {
  readonly client: Socket
  readonly server: Socket
  /** Bytes are missing: the connection cannot go on as if nothing had happened. */
  torn: boolean
}

/** What the connections of one proxy share. */
interface State {
  fault: Fault
  held: (() => void)[]
  caught: { readonly promise: Promise<void>; resolve(): void }
  readonly pairs: Set<Pair>
}

/** Listens on a port of its own and passes everything on to the server of the URL, until told to do worse. */
export async function startFaultProxy(serverUrl: string): Promise<FaultProxy> {
  const target = new URL(serverUrl)
  const port = await freePort()
  const state: State = { fault: { kind: 'none' }, held: [], caught: Promise.withResolvers<void>(), pairs: new Set() }
  const listener = createServer((client) => {
    client.on('error', () => {})
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
    set: (next) => {
      state.fault = next
      state.caught = Promise.withResolvers<void>()
      for (const { client, torn } of state.pairs) if (next.kind === 'reset' || torn) client.resetAndDestroy()
    },
    caught: () => state.caught.promise,
    release: () => {
      state.fault = { kind: 'none' }
      for (const go of state.held.splice(0)) go()
    },
    stop: () =>
      new Promise((resolve) => {
        for (const { client } of state.pairs) client.destroy()
        listener.close(() => resolve())
      }),
  }
}

/** Joins a client's connection with one to the server, through whatever fault is set at the time. */
function join(state: State, client: Socket, server: Socket): void {
  const pair: Pair = { client, server, torn: false }
  let mute = false
  state.pairs.add(pair)
  server.on('error', () => {})
  client.on('data', (data) => {
    const { fault } = state
    if (fault.kind === 'blackhole') pair.torn = true
    if (pair.torn) return
    if ((fault.kind === 'hold' || fault.kind === 'lose_answer') && fault.pattern.test(data.toString('latin1'))) {
      state.caught.resolve()
      if (fault.kind === 'hold') return void state.held.push(() => server.write(data))
      mute = true
    }
    pass(fault, data, server)
  })
  server.on('data', (data) => {
    if (state.fault.kind === 'blackhole' || mute) pair.torn = true
    if (!pair.torn) pass(state.fault, data, client)
  })
  for (const side of [client, server]) {
    side.on('close', () => {
      state.pairs.delete(pair)
      client.destroy()
      server.destroy()
    })
  }
}

function pass(fault: Fault, data: Buffer, to: Socket): void {
  if (fault.kind === 'delay') setTimeout(() => to.write(data), fault.milliseconds)
  else to.write(data)
}
