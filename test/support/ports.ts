/** Ports for servers of the tests; asked in one process, or two would be given the same. */
import { createServer } from 'node:net'

let lastPort = 20_000 + Math.floor(Math.random() * 10_000)

/**
 * The first of a row of ports that nobody uses and that are handed out once, below the kernel's ephemeral range, so that no
 * outgoing connection can take one in the meantime.
 */
export async function freePorts(count: number): Promise<number> {
  for (;;) {
    if (lastPort + count > 31_999) lastPort = 20_000
    const row = Array.from({ length: count }, (_, index) => lastPort + 1 + index)
    lastPort += count
    const free = await Promise.all(row.map(isFree))
    if (free.every(Boolean)) return row[0] ?? 0
  }
}

function isFree(port: number): Promise<boolean> {
  const probe = createServer()
  return new Promise((resolve) => {
    probe.once('error', () => resolve(false))
    probe.listen({ port, host: '127.0.0.1' }, () => probe.close(() => resolve(true)))
  })
}
