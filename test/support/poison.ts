/**
 * Preloaded into a server (`node --import`): a request for `/livez?poison=…` does to the process what a bug somewhere in it
 * would do. What is done does not pass through the product, so nothing of it can catch the fault.
 */
import { subscribe } from 'node:diagnostics_channel'
import type { IncomingMessage } from 'node:http'

const faults: { readonly [name: string]: () => void } = {
  /** The heap is used up (`--max-old-space-size`). */
  memory: () => {
    const kept: number[][] = []
    for (;;) kept.push(new Array<number>(2_000_000).fill(0.5))
  },
  /** A promise that nobody waited for. */
  rejection: () => void Promise.reject(new Error('poisoned')),
  /** The event loop stands still. */
  block: () => {
    for (;;);
  },
}

subscribe('http.server.request.start', (message) => {
  const { url } = (message as { request: IncomingMessage }).request
  const name = /[?&]poison=(\w+)$/.exec(url ?? '')?.[1]
  if (name !== undefined) faults[name]?.()
})
