/**
 * An example of examples/clients as its reader runs it: the client registered by its `genkan.yaml`, the program started with the
 * settings of its `example.env`, both moved to addresses of this test.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseEnv } from 'node:util'
import { parse } from 'yaml'
import { SECRET } from './journeys.ts'
import { type Mailbox, mailFolder } from './mailbox.ts'
import { COMPILE_CACHE } from './node_arguments.ts'
import { type Server, startServer } from './server.ts'
import { entrust, freePort, scratchFolder } from './services.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const READY_MS = 30_000

export type Settings = { readonly [name: string]: string }

/** How a program is started; the default is `node server.ts` in the example's folder. */
export type Launch = (settings: Settings) => readonly [command: string, ...values: string[]]

export interface ExampleClient {
  readonly server: Server
  readonly mailbox: Mailbox
  /** The client's own address. */
  readonly origin: string
  readonly settings: Settings
  /** What the program wrote. */
  output(): string
  /** Starts the program anew, with other settings if there are any. */
  restart(changes?: Settings): Promise<void>
  close(): Promise<void>
}

/** A file of an example, by its name. */
export function exampleFile(example: string, file: string): string {
  return join(ROOT, 'examples/clients', example, file)
}

const node =
  (example: string): Launch =>
  () => [process.execPath, '--disable-warning=ExperimentalWarning', exampleFile(example, 'server.ts')]

export async function startExampleClient(example: string, launch = node(example)): Promise<ExampleClient> {
  const [port, issuerPort, state] = await Promise.all([freePort(), freePort(), scratchFolder('client-')])
  const origin = `http://localhost:${port}`
  const given = parseEnv(readFileSync(exampleFile(example, 'example.env'), 'utf8')) as Settings
  const ours: Settings = {
    ISSUER: `http://localhost:${issuerPort}`,
    BASE_URL: origin,
    CLIENT_SECRET: SECRET,
    CLIENT_PORT: String(port),
    STATE_DIR: state,
  }
  // What the example does not name stays unknown to it.
  const moved = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, ours[name] ?? value]))
  const program = createProgram(port, (changes) => {
    const settings = { ...moved, ...changes }
    return [launch(settings), settings]
  })
  const server = await startServer({
    port: issuerPort,
    settings: parse(readFileSync(exampleFile(example, 'genkan.yaml'), 'utf8')) as object,
    env: { BASE_URL: origin, CLIENT_SECRET: SECRET },
  })
  const close = async () => {
    await program.stop()
    await server.close()
  }
  await program.start({}).catch((error: unknown) => close().then(() => Promise.reject(error)))
  return {
    server,
    mailbox: mailFolder(server.dataDir),
    origin,
    settings: moved,
    output: program.output,
    restart: async (changes = {}) => {
      await program.stop()
      await program.start(changes)
    },
    close,
  }
}

type Start = (changes: Settings) => readonly [command: readonly [string, ...string[]], settings: Settings]

function createProgram(port: number, of: Start) {
  let child: ChildProcess | undefined
  let release = async () => {}
  let output = ''
  return {
    output: () => output,
    async start(changes: Settings): Promise<void> {
      const [[command, ...values], settings] = of(changes)
      const env = { PATH: process.env.PATH, NODE_COMPILE_CACHE: COMPILE_CACHE, ...settings }
      child = spawn(command, values, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
      for (const stream of [child.stdout, child.stderr]) stream?.on('data', (part) => (output += part))
      release = await entrust(child.pid ?? 0)
      await listening(port, child).catch((error: Error) => {
        throw new Error(`${error.message}:\n${output}`, { cause: error })
      })
    },
    async stop(): Promise<void> {
      if (child?.exitCode === null && child.signalCode === null) {
        const ended = once(child, 'exit')
        child.kill('SIGTERM')
        await ended
      }
      await release()
    },
  }
}

async function listening(port: number, child: ChildProcess): Promise<void> {
  const until = Date.now() + READY_MS
  while (!(await isOpen(port))) {
    if (child.exitCode !== null) throw new Error(`the client ended at its start (code ${child.exitCode})`)
    if (Date.now() > until) throw new Error(`the client does not listen at ${port}`)
    await sleep(20)
  }
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
