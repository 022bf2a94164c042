/** The threads that hash give way to the event loop, which signs everybody's tokens (A103). */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from '@jest/globals'
import { childrenOf, until } from '../support/processes.ts'
import { startServer } from '../support/server.ts'

/** Name and nice value of each thread (proc(5): field 19 of `stat`; the name may hold blanks). */
function threadsOf(pid: number): { name: string; nice: number }[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
    const [before, after] = [stat.slice(0, stat.lastIndexOf(')')), stat.slice(stat.lastIndexOf(')') + 2)]
    return {
      name: before.slice(before.indexOf('(') + 1),
      nice: Number(after.split(' ')[16]),
      policy: Number(after.split(' ')[38]),
    }
  })
}

const nicesOf = (pid: number, thread: string) => [
  ...new Set(threadsOf(pid).flatMap(({ name, nice }) => (name === thread ? nice : []))),
]

it('A103: hashing has what the event loop leaves, and signing does not wait for it', async () => {
  const server = await startServer({ process: 'own' })
  try {
    const [hashing = 0] = childrenOf(server.pid())
    await until(() => nicesOf(hashing, 'libuv-worker').join() === '19', 10_000)
    await until(() => nicesOf(server.pid(), 'V8Worker').join() === '10', 10_000)
    expect(nicesOf(server.pid(), 'libuv-worker')).toEqual([0])
    const others = [...threadsOf(hashing), ...threadsOf(server.pid())].filter(
      ({ name }) => !['libuv-worker', 'V8Worker'].includes(name),
    )
    expect([...new Set(others.map(({ nice }) => nice))]).toEqual([0])
  } finally {
    await server.close()
  }
}, 60_000)
