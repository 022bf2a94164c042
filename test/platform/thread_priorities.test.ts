/** The threads that hash give way to the event loop, which signs everybody's tokens (A103). */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from '@jest/globals'
import { childrenOf, until } from '../support/processes.ts'
import { startServer } from '../support/server.ts'

/** Name, nice value and scheduling class of each thread (proc(5): fields 19 and 41 of `stat`; the name may hold blanks). */
function threadsOf(pid: number): { name: string; nice: number; policy: number }[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
    const [before, after] = [stat.slice(0, stat.lastIndexOf(')')), stat.slice(stat.lastIndexOf(')') + 2)]
    const fields = after.split(' ')
    return { name: before.slice(before.indexOf('(') + 1), nice: Number(fields[16]), policy: Number(fields[38]) }
  })
}

const SCHED_OTHER = 0
const SCHED_IDLE = 5

const waysOf = (pid: number, thread: string) => [
  ...new Set(threadsOf(pid).flatMap(({ name, nice, policy }) => (name === thread ? `${policy}, nice ${nice}` : []))),
]

it('A103: hashing has what nobody else wants, and signing does not wait for it', async () => {
  const server = await startServer({ process: 'own' })
  try {
    const [hashing = 0] = childrenOf(server.pid())
    await until(() => waysOf(hashing, 'libuv-worker').join() === `${SCHED_IDLE}, nice 19`, 10_000)
    await until(() => waysOf(server.pid(), 'V8Worker').join() === `${SCHED_OTHER}, nice 10`, 10_000)
    expect(waysOf(server.pid(), 'libuv-worker')).toEqual([`${SCHED_OTHER}, nice 0`])
    const others = [...threadsOf(hashing), ...threadsOf(server.pid())].filter(
      ({ name }) => !['libuv-worker', 'V8Worker'].includes(name),
    )
    expect([...new Set(others.map(({ nice, policy }) => `${policy}, nice ${nice}`))]).toEqual([
      `${SCHED_OTHER}, nice 0`,
    ])
  } finally {
    await server.close()
  }
}, 60_000)
