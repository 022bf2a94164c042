/**
 * The Unix socket of an embedded server: commands beside it run inside it, since the data directory has one opener only.
 * Whoever may open the socket file (mode 0600) may do everything, as whoever may open the data itself.
 * One request a connection, one JSON value a line: `{ command, args, options }` in, then `{ out }` any number of times and
 * at last `{ exit, error? }` back.
 */
import { chmodSync, unlinkSync } from 'node:fs'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { z } from 'zod'

const REQUEST_BYTES = 1 << 20
const IDLE_MS = 10_000
/** `sun_path` holds 108 bytes with the closing NUL; node cuts longer paths silently. */
const PATH_BYTES = 107

const optionValue = z.union([z.string(), z.boolean(), z.array(z.string())])
const requestSchema = z.strictObject({
  command: z.string(),
  args: z.array(z.string()),
  options: z.record(z.string(), optionValue),
})
const replySchema = z.union([
  z.strictObject({ out: z.string() }),
  z.strictObject({ exit: z.int(), error: z.string().optional() }),
])

export type CommandRequest = z.output<typeof requestSchema>
type Print = (text: string) => void

export interface CommandResult {
  readonly exit: number
  readonly error?: string | undefined
}

/** Runs one command; never rejects. */
export type CommandHandler = (request: CommandRequest, print: Print) => Promise<CommandResult>

/**
 * Listens on `path`. Call it while the data directory is locked: a file that is there already was left by a dead process.
 * @throws Error when the path is too long for a socket
 */
export async function listenForCommands(path: string, handle: CommandHandler): Promise<{ close(): Promise<void> }> {
  if (Buffer.byteLength(path) > PATH_BYTES) {
    throw new Error(`${path}: too long for a socket (${PATH_BYTES} bytes at the most); choose a shorter DATA_DIR`)
  }
  unlinkIfThere(path)
  const running = new Set<Socket>()
  const server = createServer((socket) => {
    running.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => running.delete(socket))
    void serve(socket, handle)
  })
  await bind(server, path)
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of running) if (socket.bytesRead === 0) socket.destroy()
      }),
  }
}

/** The file is closed to others from its first moment: a chmod afterwards would leave a gap. */
async function bind(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    const mask = process.umask(0o177)
    try {
      server.listen(path, () => resolve())
    } finally {
      process.umask(mask)
    }
  })
  chmodSync(path, 0o600)
}

async function serve(socket: Socket, handle: CommandHandler): Promise<void> {
  const send = (value: object) => socket.write(`${JSON.stringify(value)}\n`)
  try {
    const request = requestSchema.parse(JSON.parse(await firstLine(socket)))
    const result = await handle(request, (out) => send({ out }))
    send(result)
  } catch (error) {
    send({ exit: 1, error: `bad request: ${error instanceof Error ? error.message : String(error)}` })
  }
  socket.end()
}

function firstLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    socket.setEncoding('utf8')
    socket.setTimeout(IDLE_MS, () => reject(new Error('nothing came')))
    socket.on('data', (chunk: string) => {
      text += chunk
      if (text.length > REQUEST_BYTES) reject(new Error('too long'))
      const end = text.indexOf('\n')
      if (end < 0) return
      socket.setTimeout(0)
      resolve(text.slice(0, end))
    })
    socket.on('close', () => reject(new Error('the connection closed')))
  })
}

/**
 * Asks the server that listens on `path` to run a command. @returns undefined when nobody listens there
 * @throws Error when the server went away before the command ended: what it did is unknown
 */
export async function sendCommand(
  path: string,
  request: CommandRequest,
  print: Print,
): Promise<CommandResult | undefined> {
  const socket = await connect(path)
  if (socket === undefined) return undefined
  socket.write(`${JSON.stringify(request)}\n`)
  try {
    for await (const line of createInterface({ input: socket })) {
      const reply = replySchema.parse(JSON.parse(line))
      if ('exit' in reply) return reply
      print(reply.out)
    }
  } catch (cause) {
    throw new Error('the running server answered with something else than a result', { cause })
  } finally {
    socket.destroy()
  }
  throw new Error('the running server went away before the command ended')
}

function connect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path)
    socket.once('connect', () => {
      // A broken connection also ends the lines that are read from it.
      socket.on('error', () => {})
      resolve(socket)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined)
      else reject(error)
    })
  })
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
