/** Starts the demo's processes, waits until they answer, and stops all of them when one ends or a person presses Ctrl-C. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

interface Running {
  readonly name: string
  readonly child: ChildProcess
  readonly log: string
}

/** How long a process may take to stop by itself. */
const STOP_MS = 10_000

/** Processes log into files of `directory`; `onExit` is called when one ends that was not stopped. */
export function createProcesses(directory: string, onExit: (name: string, logTail: string) => void) {
  const running: Running[] = []
  let stopping = false

  return {
    start(name: string, args: readonly string[], env: { readonly [name: string]: string | undefined }): void {
      const log = join(directory, `${name}.log`)
      const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
      const file = createWriteStream(log, { mode: 0o600 })
      child.stdout.pipe(file, { end: false })
      child.stderr.pipe(file, { end: false })
      child.once('close', () => {
        file.end(() => {
          if (!stopping) onExit(name, readFileSync(log, 'utf8').trimEnd().split('\n').slice(-20).join('\n'))
        })
      })
      running.push({ name, child, log })
    },

    /** Stops in the reverse order: applications first, the provider last. Resolves when all have ended. */
    async stop(): Promise<void> {
      stopping = true
      for (const { child } of running.toReversed()) await stopOne(child)
    },
  }
}

async function stopOne(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  await ended
  clearTimeout(timer)
}

/** Waits until `url` answers at all. */
export async function answers(url: string, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs
  while (Date.now() < deadline) {
    const answer = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(2000) }).catch(() => undefined)
    await answer?.body?.cancel()
    if (answer !== undefined && answer.status < 500) return true
    await sleep(100)
  }
  return false
}

/** Whether nobody listens on this port of any address of this machine. */
export async function portIsFree(port: number): Promise<boolean> {
  const free = (host: string) =>
    new Promise<boolean>((resolve) => {
      const probe = createServer()
      probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'EADDRINUSE'))
      probe.listen({ port, host }, () => probe.close(() => resolve(true)))
    })
  return (await free('127.0.0.1')) && (await free('::'))
}
