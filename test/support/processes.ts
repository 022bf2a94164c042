/** Watching the processes of a server from outside, and asking it without pause while something happens to them. */
import { readdirSync, readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** Waits until something is so; returns how many milliseconds that took. A busy machine starts processes slowly. */
export async function until(condition: () => Promise<boolean> | boolean, milliseconds = 100_000): Promise<number> {
  const started = performance.now()
  while (!(await condition())) {
    if (performance.now() - started > milliseconds) throw new Error(`it did not happen in ${milliseconds} ms`)
    await sleep(25)
  }
  return performance.now() - started
}

/** Process ids of the children of a process, oldest first: ids start over once they are used up. */
export function childrenOf(pid: number): number[] {
  const children = readdirSync('/proc').flatMap((name) => {
    try {
      const [, parent, startedAt] =
        /\) \S (\d+)(?: \S+){17} (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'utf8')) ?? []
      return parent === String(pid) ? [{ pid: Number(name), startedAt: Number(startedAt) }] : []
    } catch {
      return []
    }
  })
  return children.sort((a, b) => a.startedAt - b.startedAt).map((child) => child.pid)
}

/** Each thread of a process, and how it gives way (proc(5): fields 19 and 41 of `stat`; the name may hold blanks). */
export function threadsOf(pid: number): { name: string; way: string }[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
    const end = stat.lastIndexOf(')')
    const fields = stat.slice(end + 2).split(' ')
    const way = fields[38] === SCHED_IDLE ? 'idle' : `class ${fields[38]}, nice ${fields[16]}`
    return { name: stat.slice(stat.indexOf('(') + 1, end), way }
  })
}

const SCHED_IDLE = '5'

/** How the threads of that name give way. */
export function waysOf(pid: number, thread: string): string[] {
  return [...new Set(threadsOf(pid).flatMap(({ name, way }) => (name === thread ? way : [])))]
}

/** The status of an answer on a connection of its own; 0 when there is none. */
export function statusOf(url: string): Promise<number> {
  return new Promise((resolve) => {
    const asking = request(url, { agent: false }, (answer) => {
      answer.resume().once('close', () => resolve(answer.statusCode ?? 0))
    })
    asking.once('error', () => resolve(0)).end()
  })
}

export interface Load {
  /** Ends the load; how many answers there were of each status, and what went wrong on the way. */
  end(): Promise<{ readonly answers: { readonly [status: string]: number }; readonly failures: readonly string[] }>
}

/** `lanes` clients that ask again as soon as they are answered, half of them on kept connections. */
export function startLoad(url: string, lanes = 8): Load {
  const answers: { [status: string]: number } = {}
  const failures: string[] = []
  const kept = new Agent({ keepAlive: true, maxSockets: lanes })
  let ended = false
  const ask = (agent: Agent | false) =>
    new Promise<void>((resolve) => {
      const failed = (error: Error) => {
        failures.push(error.message)
        resolve()
      }
      const asking = request(url, { agent }, (answer) => {
        answers[String(answer.statusCode)] = (answers[String(answer.statusCode)] ?? 0) + 1
        answer.resume().once('end', resolve).once('error', failed)
      })
      asking.once('error', failed).end()
    })
  const lane = async (agent: Agent | false) => {
    while (!ended) {
      await ask(agent)
      await sleep(10)
    }
  }
  const running = Array.from({ length: lanes }, (_, i) => lane(i % 2 === 0 ? kept : false))
  return {
    async end() {
      ended = true
      await Promise.all(running)
      kept.destroy()
      return { answers, failures }
    },
  }
}
