/** The processes that servers of test files run in, one after another: for the services process only. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { COMPILE_CACHE, SERVER_ARGUMENTS } from './node_arguments.ts'

export interface Host {
  /** The socket that it listens at. */
  readonly path: string
  readonly pid: number
}

const SCRIPT = fileURLToPath(new URL('server_host_process.ts', import.meta.url))
/** Before the product: it counts what that imports. */
const OBSERVER = fileURLToPath(new URL('observer.ts', import.meta.url))

export function createHosts(folder: string) {
  const all = new Map<number, Host>()
  const idle = new Set<Host>()

  /** It knows nothing of our environment. */
  async function start(): Promise<Host> {
    const path = join(folder, `host-${all.size}-${Date.now()}`)
    const env = { PATH: process.env.PATH, HOME: folder, TZ: 'UTC', NODE_COMPILE_CACHE: COMPILE_CACHE }
    const values = [...SERVER_ARGUMENTS, '--import', OBSERVER, SCRIPT, path]
    const child = spawn(process.execPath, values, { env, stdio: ['ignore', 'pipe', 'inherit'] })
    const host = { path, pid: child.pid ?? 0 }
    all.set(host.pid, host)
    child.once('exit', () => {
      all.delete(host.pid)
      idle.delete(host)
    })
    await new Promise<void>((resolve, reject) => {
      child.once('exit', () => reject(new Error('a process for servers ended at its start')))
      child.stdout?.once('data', () => resolve())
    })
    return host
  }

  return {
    /** Starts one. On a fresh checkout it compiles the product, so that others, and the commands, need not. */
    async warm(): Promise<void> {
      idle.add(await start())
    },
    async borrow(): Promise<Host> {
      const [host] = idle
      if (host === undefined) return start()
      idle.delete(host)
      return host
    },
    giveBack(pid: number): void {
      const host = all.get(pid)
      if (host !== undefined) idle.add(host)
    },
    pids: () => [...all.keys()],
  }
}
