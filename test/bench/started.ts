/** A server process: started, waited for until it is ready, and ended in order. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { entrust } from '../support/services.ts'
import { pinned } from './processes.ts'

/** As the image starts its server (Dockerfile), and every other the same. */
const FLAGS = [
  '--disable-warning=ExperimentalWarning',
  '--max-semi-space-size=16',
  '--heap-growing-percent=30',
  '--v8-pool-size=1',
]
const ENVIRONMENT = { PATH: process.env.PATH, MALLOC_ARENA_MAX: '1' }

const START_MS = 30_000
const STOP_MS = 15_000
const POLL_MS = 10
const root = new URL('../../', import.meta.url).pathname

export interface Started {
  readonly pid: number
  /** From the start of the process to its first answer that it is ready. */
  readonly readyMs: number
  stop(): Promise<void>
}

interface Command {
  readonly name: string
  readonly args: readonly string[]
  readonly env: { readonly [name: string]: string }
  readonly readyUrl: string
  readonly cpus?: string | undefined
  readonly flags?: readonly string[] | undefined
}

export async function startProcess({ name, args, env, readyUrl, cpus, flags = [] }: Command): Promise<Started> {
  const folder = mkdtempSync(join(tmpdir(), 'genkan-bench-log-'))
  const log = join(folder, `${name}.log`)
  const file = openSync(log, 'w')
  const [command, all] = pinned(cpus, process.execPath, [...FLAGS, ...flags, ...args])
  const began = performance.now()
  const child = spawn(command, all, {
    cwd: root,
    env: { ...ENVIRONMENT, ...env },
    stdio: ['ignore', file, file],
  })
  closeSync(file)
  const release = await entrust(child.pid ?? 0)
  const stop = async () => {
    await stopProcess(child)
    await release()
    rmSync(folder, { recursive: true, force: true })
  }
  while (!(await ready(readyUrl))) {
    if (child.exitCode === null && performance.now() - began < START_MS) {
      await sleep(POLL_MS)
      continue
    }
    const said = readFileSync(log, 'utf8')
    await stop()
    throw new Error(`${name} does not start:\n${said.slice(-4000)}`)
  }
  return { pid: child.pid ?? 0, readyMs: performance.now() - began, stop }
}

async function ready(url: string): Promise<boolean> {
  const answer = await fetch(url).catch(() => undefined)
  await answer?.body?.cancel()
  return answer?.status === 200
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const force = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  await ended
  clearTimeout(force)
}
