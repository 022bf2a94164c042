/** Where browsers arrive: one site that is every client of the tests' settings (`https://*.test.example`). */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser } from 'playwright-core'
import { startHeadlessShell } from './chromium.ts'
import { startTlsProxy } from './tls_proxy.ts'

export interface BrowserOfClients {
  readonly browser: Browser
  close(): Promise<void>
}

/** Starts a browser that finds that site, which answers everything with `the client`. */
export async function startBrowserOfClients(): Promise<BrowserOfClients> {
  const site = createServer((_request, response) => response.end('the client')).listen(0, '127.0.0.1')
  await once(site, 'listening')
  const front = await startTlsProxy({ target: `http://127.0.0.1:${(site.address() as AddressInfo).port}` })
  const { port } = new URL(front.origin)
  const browser = await startHeadlessShell([`--host-resolver-rules=MAP *.test.example 127.0.0.1:${port}`])
  return {
    browser,
    close: async () => {
      await browser.close()
      await front.stop()
      site.close()
    },
  }
}
