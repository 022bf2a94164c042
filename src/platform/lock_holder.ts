/**
 * Who holds a lock, and whether that process still lives. A process id alone does not tell: ids are used again after a
 * kill -9, and in a container every server is process 1. So the start time belongs to the id; and where another container
 * cannot see our processes at all, a Unix socket beside the lock speaks for us: the kernel answers on it until we die, also
 * while we are stopped or busy.
 */
import { execFile } from 'node:child_process'
import { readFileSync, readlinkSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'
import { newId } from './ids.ts'

const PRESENCE = /^alive\.[\w-]{8}$/
const ANSWER_MS = 1000

const holderSchema = z.object({
  pid: z.int().positive(),
  /** When the process started, in whatever the system counts; only ever compared. */
  started: z.string(),
  /** The boot of the kernel, and the process-id namespace: within both, ids mean the same to us and to the holder. */
  boot: z.string(),
  namespace: z.string(),
  host: z.string(),
  presence: z.string().regex(PRESENCE).optional(),
})

/** A process as it names itself in a lock file. */
export type Holder = z.infer<typeof holderSchema>

/** A socket that answers as long as this process lives. */
export interface Presence {
  /** Its name in the directory; undefined where the file system has no sockets or the path is too long for one. */
  readonly name: string | undefined
  close(): Promise<void>
}

/** This process. */
export async function self(presence: string | undefined): Promise<Holder> {
  const process_ = await inspect(process.pid)
  return {
    pid: process.pid,
    started: process_?.started ?? '',
    ...here(),
    host: hostname(),
    ...(presence === undefined ? {} : { presence }),
  }
}

/** The holder named by a lock file; undefined when it names none (released, or damaged by a power cut). */
export function parseHolder(text: string): Holder | undefined {
  try {
    return holderSchema.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}

/** Whether the holder still lives. Whoever cannot be asked is taken for alive: two writers are worse than none. */
export async function isAlive(directory: string, holder: Holder): Promise<boolean> {
  const { boot, namespace } = here()
  if (holder.boot === boot && holder.namespace === namespace) {
    const found = await inspect(holder.pid)
    return found !== undefined && (found.started === holder.started || found.started === '' || holder.started === '')
  }
  if (holder.presence !== undefined) return answers(directory, holder.presence)
  return holder.boot === boot
}

/** Opens the socket that speaks for this process. It keeps the process from ending no more than a file would. */
export async function openPresence(directory: string): Promise<Presence> {
  const name = `alive.${newId().slice(0, 8)}`
  const server = createServer((socket) => socket.destroy())
  const listening = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen({ path: join(directory, name), exclusive: true }, () => resolve(true))
  })
  if (!listening) return { name: undefined, close: async () => {} }
  server.on('error', () => {})
  server.unref()
  return { name, close: () => new Promise((resolve) => server.close(() => resolve())) }
}

/** Whether a name in the directory is a presence, of whomever. */
export function isPresence(name: string): boolean {
  return PRESENCE.test(name)
}

/** Whether somebody still answers on a presence. Only a refusal of the kernel is a no. */
export function answers(directory: string, name: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(join(directory, name))
    const end = (alive: boolean) => {
      socket.destroy()
      resolve(alive)
    }
    socket.setTimeout(ANSWER_MS, () => end(true))
    socket.once('connect', () => end(true))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      end(!['ECONNREFUSED', 'ENOENT', 'ENOTSOCK'].includes(error.code ?? ''))
    })
  })
}

function here(): { boot: string; namespace: string } {
  if (process.platform !== 'linux') return { boot: hostname(), namespace: process.platform }
  return {
    boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    namespace: readlinkSync('/proc/self/ns/pid'),
  }
}

/** When a process started; undefined when there is none of this id, '' when it is there but cannot be looked at. */
async function inspect(pid: number): Promise<{ started: string } | undefined> {
  const looked = process.platform === 'linux' ? await fromProc(pid) : await fromPs(pid)
  if (looked === undefined) return exists(pid) ? { started: '' } : undefined
  // A zombie holds no files any more: its parent has not asked for its exit code, nothing else.
  return /^[ZX]/.test(looked.state) ? undefined : { started: looked.started }
}

/** proc_pid_stat(5): the name in parentheses may hold anything, so count from the last one; state is field 3, start time 22. */
async function fromProc(pid: number): Promise<{ state: string; started: string } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ')
  return fields === undefined ? undefined : { state: fields[0] ?? '', started: fields[19] ?? '' }
}

async function fromPs(pid: number): Promise<{ state: string; started: string } | undefined> {
  const args = ['-o', 'stat=,lstart=', '-p', String(pid)]
  const found = await promisify(execFile)('/bin/ps', args, { env: { LC_ALL: 'C', TZ: 'UTC' } }).catch(() => undefined)
  const [, state, started] = /^(\S+)\s+(.+)$/.exec(found?.stdout.trim() ?? '') ?? []
  return state === undefined || started === undefined ? undefined : { state, started }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
