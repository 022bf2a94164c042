/**
 * Preloaded into a server under test: Node keeps compiled code when a process ends in order, but most test servers are killed,
 * and on a fresh checkout each would compile everything anew.
 */
import { flushCompileCache } from 'node:module'

const SOON_MS = 3000

setTimeout(flushCompileCache, SOON_MS).unref()
