/** How processes end, how they are watched, and how many connections they hold. */
import { z } from 'zod'
import type { Parsed } from './values.ts'

export const processShape = {
  // The whole of a stop takes 30 seconds at the most, and requests in flight need some of them.
  drain_seconds: z.coerce.number().min(0).max(20).default(2),
  worker_blocked_seconds: z.number().min(1).max(600).default(5),
  connections_per_address: z.number().int().min(1).max(1_000_000).default(1000),
}

export interface ProcessConfig {
  /** Milliseconds for which connections are still taken after `/readyz` has turned 503. */
  readonly drainMs: number
  /** Milliseconds of silence after which a worker is taken for blocked. */
  readonly workerBlockedMs: number
  /** Connections that one address may hold; trusted proxies hold those of everybody. */
  readonly connectionsPerAddress: number
}

export function processesOf(settings: Parsed<typeof processShape>): ProcessConfig {
  return {
    drainMs: settings.drain_seconds * 1000,
    workerBlockedMs: settings.worker_blocked_seconds * 1000,
    connectionsPerAddress: settings.connections_per_address,
  }
}
