/** A listener that nobody may call: proof that no URL of an attacker was fetched. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Canary {
  readonly origin: string
  /** How many connections came. */
  calls(): number
  stop(): Promise<void>
}

export async function startCanary(): Promise<Canary> {
  let calls = 0
  const server = createServer((_incoming, outgoing) => outgoing.end('{"keys":[]}'))
  server.on('connection', () => {
    calls++
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls: () => calls,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
