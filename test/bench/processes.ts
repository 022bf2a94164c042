/** What /proc says of a process and its children: CPU, memory, bytes to disk. */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** Linux counts CPU time in hundredths of a second for everybody who asks. */
const TICK_US = 10_000

/** User and system time of a process, all its threads and its children (those that ended too), in µs. */
export function cpuMicroseconds(pid: number): number {
  // The name may have blanks and brackets in it: fields count from after the last bracket, where field 3 is.
  const stat = read(pid, 'stat')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const own = [11, 12, 13, 14].reduce((total, index) => total + Number(fields[index]), 0) * TICK_US
  // A child may end between being listed and being asked; its parent has its time then.
  return childrenOf(pid).reduce((total, child) => total + (ifThere(() => cpuMicroseconds(child)) ?? 0), own)
}

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    read(pid, `task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  )
}

export interface Memory {
  readonly now: number
  readonly peak: number
  /** Of the largest of the processes, now. */
  readonly largest: number
}

/** Resident memory now and at its highest, in MB, of a process and its children; one that has just ended has none. */
export function memory(pid: number): Memory {
  const status = ifThere(() => read(pid, 'status')) ?? ''
  const megabytes = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1024
  const own = { now: megabytes('VmRSS'), peak: megabytes('VmHWM'), largest: megabytes('VmRSS') }
  return (ifThere(() => childrenOf(pid)) ?? []).reduce((total, child) => {
    const { now, peak, largest } = memory(child)
    return { now: total.now + now, peak: total.peak + peak, largest: Math.max(total.largest, largest) }
  }, own)
}

/** Bytes that a process and its children sent to the disk so far; undefined when we may not know. */
export function writtenBytes(pid: number): number | undefined {
  try {
    const own = Number(/^write_bytes: (\d+)/m.exec(read(pid, 'io'))?.[1])
    return childrenOf(pid).reduce((total, child) => total + (writtenBytes(child) ?? 0), own)
  } catch {
    return undefined
  }
}

export function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(read(pid, 'status'))?.[1])
}

/** What the system tells of a process, unless it has ended meanwhile. */
function ifThere<Told>(ask: () => Told): Told | undefined {
  try {
    return ask()
  } catch {
    return undefined
  }
}

function read(pid: number, name: string): string {
  return readFileSync(`/proc/${pid}/${name}`, 'utf8')
}

/** Which CPUs the server and the load generator are pinned to; undefined where that cannot be done. */
export interface Placement {
  readonly server: string | undefined
  readonly generator: string | undefined
}

/** The last core is the generator's, the stores run where there is room, and the server has half of the cores. */
export function placement(cores: number, pinning = canPin()): Placement {
  if (!pinning || cores < 2) return { server: undefined, generator: undefined }
  const last = Math.max(1, Math.floor(cores / 2)) - 1
  return { server: last === 0 ? '0' : `0-${last}`, generator: String(cores - 1) }
}

function canPin(): boolean {
  return spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0
}

/** A command line that runs on the given CPUs. */
export function pinned(cpus: string | undefined, command: string, args: readonly string[]): [string, string[]] {
  return cpus === undefined ? [command, [...args]] : ['taskset', ['-c', cpus, command, ...args]]
}

/**
 * A command line that gives way. Whoever only makes trouble runs elsewhere in the world; here it shares a core with who measures,
 * and an answer that lies there unread would seem to be late.
 */
export function behind(command: string, args: readonly string[]): [string, string[]] {
  return ['nice', ['-n', '10', command, ...args]]
}

export function placementNote({ server, generator }: Placement): string {
  return server === undefined
    ? 'Server and generator were not pinned to CPUs.'
    : `The server was pinned to CPU ${server}, the generator to CPU ${generator}.`
}
