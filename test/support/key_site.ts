/** A client's key set at an address of its own (`jwks_uri`), which can be changed, fail, stall and swell. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface KeySite {
  /** Host and port; any path has the set. */
  readonly origin: string
  /** How often it was asked. */
  calls(): number
  /** What is answered from now on. */
  answer(how: object | ((response: ServerResponse) => void)): void
  stop(): Promise<void>
}

/** Listens at ::1: the canary of a test is at 127.0.0.1. */
export async function startKeySite(): Promise<KeySite> {
  let calls = 0
  let how: object | ((response: ServerResponse) => void) = { keys: [] }
  const server = createServer((_request, response) => {
    calls++
    if (typeof how === 'function') (how as (response: ServerResponse) => void)(response)
    else response.setHeader('content-type', 'application/json').end(JSON.stringify(how))
  })
  await new Promise<void>((resolve) => server.listen(0, '::1', resolve))
  return {
    origin: `http://[::1]:${(server.address() as AddressInfo).port}`,
    calls: () => calls,
    answer: (next) => {
      how = next
    },
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
