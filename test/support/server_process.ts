/** The product's own process: how it is started, heard and ended; and its commands, each a process that ends by itself. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { entrust } from './services.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const DATE_SHIFT = fileURLToPath(new URL('date_shift.ts', import.meta.url))
const KEEP_COMPILED = fileURLToPath(new URL('keep_compiled.ts', import.meta.url))
/** Starting the product is half compiling; the cache is checked against the sources. */
export const COMPILE_CACHE = fileURLToPath(new URL('../../node_modules/.cache/genkan/compiled', import.meta.url))
const STOP_MS = 35_000

/** Runs one command of the product to its end. */
export function runCommand(
  command: readonly string[],
  env: { readonly [name: string]: string },
): Promise<{ code: number | null; stdout: string; stderr: string }> {
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

// The embedded database is WebAssembly: optimising it takes longer than a test's server lives. Our modules have no symbolic
// links: not looking for them in the path of each of 1,400 files is an eighth of a start. A young generation that need
// not grow first spares a tenth of the work of processes that live for seconds.
const NODE_ARGUMENTS = [
  ...['--disable-warning=ExperimentalWarning', '--liftoff-only', '--preserve-symlinks', '--preserve-symlinks-main'],
  ...['--min-semi-space-size=16', '--max-semi-space-size=16'],
  ...['--import', DATE_SHIFT],
]
// A command ends by itself and keeps what it compiled.
const SERVER_ARGUMENTS = [...NODE_ARGUMENTS, '--import', KEEP_COMPILED]

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
  root = ROOT,
): ServerProcess {
  const lines: string[] = []
  let child: ChildProcess | undefined
  let exit: Promise<number | null> = Promise.resolve(null)
  let release = async () => {}
  const running = () => child !== undefined && child.exitCode === null && child.signalCode === null
  return {
    start: async (env = firstEnv) => {
      child = spawn(process.execPath, [...SERVER_ARGUMENTS, 'src/main.ts', ...command], {
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
