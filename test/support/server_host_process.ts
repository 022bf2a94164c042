/**
 * A process in which servers of the product run one after another, each for one test file: `node server_host_process.ts <socket>`.
 * Half of what a fresh process costs is loading the product, and its first requests run uncompiled. A connection is a tenancy:
 * it brings the settings, and what it began ends with it. Restarts, signals and crashes need a process of their own.
 */
import { flushCompileCache } from 'node:module'
import { createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { runCommandLine } from '../../src/command_line.ts'
import { ConfigError, loadConfig } from '../../src/config/config.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { type Serving, startServing } from '../../src/serving.ts'
import { MARK, observed } from './observer.ts'
import type { FromHost, ToHost } from './server_host.ts'

type Env = { readonly [name: string]: string }

/** Whatever is still open then would stay open in the next tenancy. */
const CLOSE_MS = 5000

function tenancy(socket: Socket): void {
  let serving: Serving | undefined
  const send = (message: FromHost) => socket.writable && socket.write(`${JSON.stringify(message)}\n`)
  const say = (text: string) => {
    for (const line of text.trimEnd().split('\n')) send({ line })
  }

  async function start(env: Env): Promise<void> {
    process.env.GENKAN_TEST_CLOCK = env.GENKAN_TEST_CLOCK
    try {
      const config = loadConfig(env)
      const logger = createLogger({ level: config.logLevel, destination: { write: say } })
      serving = startServing(config, logger, { migrate: true })
      await serving.ready
    } catch (error) {
      say(`genkan: ${error instanceof ConfigError ? error.problems.join('\n') : (error as Error).stack}`)
      await stop(1)
    }
  }

  async function stop(code = 0): Promise<void> {
    const ending = serving
    serving = undefined
    const late = setTimeout(() => process.exit(1), CLOSE_MS)
    await ending?.close()
    clearTimeout(late)
    send({ exit: code })
  }

  async function command(id: number, argv: readonly string[], env: Env): Promise<void> {
    const [stdout, stderr]: [string[], string[]] = [[], []]
    const terminal = {
      env,
      print: (text: string) => void stdout.push(text),
      complain: (text: string) => void stderr.push(text),
    }
    const code = await runCommandLine(argv, terminal, () => Promise.reject(new Error('a server needs its own process')))
    send({ id, result: { code, stdout: stdout.join(''), stderr: stderr.join('') } })
  }

  const lines = createInterface({ input: socket }).on('error', () => {})
  lines.on('line', async (line) => {
    const message = JSON.parse(line) as ToHost
    if ('start' in message) await start(message.start)
    else if ('stop' in message) await stop()
    else if ('command' in message) await command(message.id, message.command, message.env)
    else say(`${MARK}${JSON.stringify(observed())}`)
  })
  socket.on('error', () => {}).on('close', () => void stop())
}

// All that a server loads, and kept at once: the next process of the run finds it compiled.
await Promise.all([
  import('../../src/app.ts'),
  import('../../src/oidc/provider.ts'),
  import('../../src/command_services.ts'),
])
flushCompileCache()
createServer(tenancy).listen(process.argv[2], () => process.stdout.write('ready\n'))
