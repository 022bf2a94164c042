/** The test's side of `server_host_process.ts`. */
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { CommandResult, ServerProcess } from './server_process.ts'
import { borrowHost } from './services.ts'

type Env = { readonly [name: string]: string }

export type ToHost =
  | { readonly start: Env }
  | { readonly stop: true }
  | { readonly observe: true }
  | { readonly id: number; readonly command: readonly string[]; readonly env: Env }

export type FromHost =
  | { readonly line: string }
  | { readonly exit: number }
  | { readonly id: number; readonly result: CommandResult }

export interface Tenancy extends ServerProcess {
  run(command: readonly string[], env: Env): Promise<CommandResult>
}

/** A server in a process that others have used, and will use. It cannot be killed: a crash is a process's. */
export function createTenancy(): Tenancy {
  const lines: string[] = []
  const results = new Map<number, (result: CommandResult) => void>()
  let host: Awaited<ReturnType<typeof borrowHost>> | undefined
  let socket: Socket | undefined
  let exit: Promise<number | null> = Promise.resolve(null)
  let running = false
  let last = 0
  const send = (message: ToHost) => socket?.write(`${JSON.stringify(message)}\n`)

  function listen(input: Socket): Promise<number | null> {
    return new Promise((resolve) => {
      const over = (code: number | null) => {
        running = false
        resolve(code)
      }
      createInterface({ input })
        .on('error', () => {})
        .on('line', (line) => {
          const message = JSON.parse(line) as FromHost
          if ('line' in message) lines.push(message.line)
          else if ('exit' in message) over(message.exit)
          else results.get(message.id)?.(message.result)
        })
      input.on('error', () => {}).on('close', () => over(null))
    })
  }

  return {
    async start(env) {
      host = await borrowHost()
      socket = connect(host.path)
      running = true
      exit = listen(socket)
      send({ start: env })
    },
    pid: () => host?.pid ?? 0,
    logs: () => lines,
    signal(signal) {
      if (signal !== 'SIGUSR2') throw new Error(`${signal} needs a process of its own: startServer({ process: 'own' })`)
      send({ observe: true })
    },
    async end() {
      if (host === undefined) return exit
      if (running) send({ stop: true })
      const code = await exit
      socket?.end()
      // One that could not close has ended.
      await (code === null ? host.forget() : host.giveBack())
      host = undefined
      return code
    },
    exited: () => exit,
    running: () => running,
    run: (command, env) =>
      new Promise((resolve) => {
        last += 1
        const id = last
        results.set(id, resolve)
        send({ id, command, env })
      }),
  }
}
