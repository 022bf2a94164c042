/** A Koa application on a free loopback port, for tests of middleware over real HTTP. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa, { type Middleware } from 'koa'

export interface KoaServer {
  readonly origin: string
  close(): Promise<void>
}

export async function serveKoa(...middleware: readonly Middleware[]): Promise<KoaServer> {
  const app = new Koa()
  app.silent = true
  for (const one of middleware) app.use(one)
  const server = createServer(app.callback())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
