/** A load balancer at its simplest: in turn, without stickiness or second tries, to those whose `/readyz` says 200. */
import { setTimeout as sleep } from 'node:timers/promises'
import { statusOf } from './processes.ts'
import { startReverseProxy } from './reverse_proxy.ts'

export interface Balancer {
  readonly origin: string
  /** From now on requests go there, as far as they are ready. */
  serve(origins: readonly string[]): void
  /** Which of them take part now. */
  ready(): readonly string[]
  stop(): Promise<void>
}

const CHECK_MS = 100
/** Nothing listens there: the proxy answers 502. */
const NOBODY = 'http://127.0.0.1:9'

/** Starts it on a port. */
export async function startBalancer(port: number): Promise<Balancer> {
  let origins: readonly string[] = []
  let ready: readonly string[] = []
  let turn = 0
  let stopped = false
  const proxy = await startReverseProxy({ port, target: () => ready[turn++ % Math.max(1, ready.length)] ?? NOBODY })
  const checking = (async () => {
    while (!stopped) {
      const statuses = await Promise.all(origins.map((origin) => statusOf(`${origin}/readyz`)))
      ready = origins.filter((_, i) => statuses[i] === 200)
      await sleep(CHECK_MS)
    }
  })()
  return {
    origin: proxy.origin,
    serve: (those) => {
      origins = those
    },
    ready: () => ready,
    stop: async () => {
      stopped = true
      await checking
      await proxy.stop()
    },
  }
}
