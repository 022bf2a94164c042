/**
 * One port with several sockets that listen. An event loop takes one connection of each in a turn (libuv), so that a busy process
 * with one socket lets newcomers wait in the kernel until it is full and forgets them: they try again after seconds, long after
 * everybody else was told to come later.
 */
import cluster from 'node:cluster'
import type { Server } from 'node:http'
import { type AddressInfo, type ListenOptions, Server as NetServer } from 'node:net'

export interface Doors {
  readonly port: number
  /** Takes no more connections; resolves when the last of those that were taken has ended. */
  close(): Promise<void>
}

interface Wanted {
  /** 0 for any. */
  readonly port: number
  readonly host: string
  readonly count: number
}

/** Systems that share a port among sockets but not its connections, or not at all. */
const UNSHARED = new Set(['ENOTSUP', 'EINVAL', 'ENOPROTOOPT'])

/** Opens the port for `server`. Rejects with the system's error, as when somebody else has the port. */
export async function openDoors(server: Server, { port: asked, host, count }: Wanted): Promise<Doors> {
  // The first process of workers takes connections for them, and does nothing else.
  if (count === 1 || cluster.isWorker) return doorsOf(await opened(server, { port: asked, host }))
  // A port that is shared can be shared by anybody of the same user: first it must be nobody's.
  const alone = await opened(new NetServer(), { port: asked, host })
  const { port } = alone.address() as AddressInfo
  await closed(alone)
  try {
    const first = await opened(server, { port, host, reusePort: true })
    const others: NetServer[] = []
    while (others.length < count - 1) others.push(await opened(beside(server), { port, host, reusePort: true }))
    return doorsOf(first, others)
  } catch (error) {
    if (!UNSHARED.has((error as NodeJS.ErrnoException).code ?? '')) throw error
    return doorsOf(await opened(server, { port, host }))
  }
}

/** Another socket for the same server, with the same options as its own. */
function beside(server: Server): NetServer {
  const other = new NetServer({ allowHalfOpen: true, noDelay: true })
  return other.on('connection', (socket) => server.emit('connection', socket))
}

function doorsOf(first: NetServer, others: readonly NetServer[] = []): Doors {
  return {
    port: (first.address() as AddressInfo).port,
    close: async () => {
      await Promise.all([first, ...others].map(closed))
    },
  }
}

function opened(server: NetServer, options: ListenOptions): Promise<NetServer> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.off('error', reject)
      resolve(server)
    })
  })
}

/** That of HTTP would close idle connections in the same moment, and a client may be about to ask on one of them. */
function closed(server: NetServer): Promise<void> {
  return new Promise((resolve) => NetServer.prototype.close.call(server, () => resolve()))
}
