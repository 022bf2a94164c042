/** The product's own process: how it is started, heard and ended; and its commands, each a process that ends by itself. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { COMPILE_CACHE, NODE_ARGUMENTS, SERVER_ARGUMENTS } from './node_arguments.ts'
import { entrust } from './services.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const STOP_MS = 35_000

export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs one command of the product to its end. */
export function runCommand(
  command: readonly string[],
  env: { readonly [name: string]: string },
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...NODE_ARGUMENTS, 'src/main.ts', ...command], {
      cwd: ROOT,
      env: { NODE_COMPILE_CACHE: COMPILE_CACHE, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 120_000,
    })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (part) => {
      stdout += part
    })
    child.stderr.on('data', (part) => {
      stderr += part
    })
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}

export interface ServerProcess {
  start(env: { readonly [name: string]: string }): Promise<void>
  pid(): number
  logs(): readonly string[]
  signal(signal: NodeJS.Signals): void
  end(signal: NodeJS.Signals): Promise<number | null>
  exited(): Promise<number | null>
  running(): boolean
}

export function createProcess(
  command: readonly string[],
  firstEnv: { readonly [name: string]: string },
  { root = ROOT, openFiles }: { readonly root?: string | undefined; readonly openFiles?: number | undefined } = {},
): ServerProcess {
  const lines: string[] = []
  let child: ChildProcess | undefined
  let exit: Promise<number | null> = Promise.resolve(null)
  let release = async () => {}
  const running = () => child !== undefined && child.exitCode === null && child.signalCode === null
  return {
    start: async (env = firstEnv) => {
      const words = [process.execPath, ...SERVER_ARGUMENTS, 'src/main.ts', ...command]
      // The shell becomes the server: its limits and its process id are the server's.
      const limit = openFiles === undefined ? [] : ['sh', '-c', `ulimit -n ${openFiles} && exec "$0" "$@"`]
      const [program = '', ...args] = [...limit, ...words]
      child = spawn(program, args, {
        cwd: root,
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      const launched = child
      exit = new Promise((resolve) => launched.once('close', (code) => resolve(code)))
      for (const stream of [launched.stdout, launched.stderr]) {
        if (stream !== null) createInterface({ input: stream }).on('line', (line) => lines.push(line))
      }
      release = await entrust(launched.pid ?? 0)
    },
    pid: () => child?.pid ?? 0,
    logs: () => lines,
    signal: (signal) => {
      child?.kill(signal)
    },
    end: async (signal) => {
      if (running()) child?.kill(signal)
      const force = setTimeout(() => child?.kill('SIGKILL'), STOP_MS)
      const code = await exit
      clearTimeout(force)
      await release()
      release = async () => {}
      return code
    },
    exited: () => exit,
    running,
  }
}
