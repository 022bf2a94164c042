/** The threads that hash give way to the event loop, which signs everybody's tokens (A103). */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from '@jest/globals'
import { until } from '../support/processes.ts'
import { startServer } from '../support/server.ts'

/** Name and nice value of each thread (proc(5): field 19 of `stat`; the name may hold blanks). */
function threadsOf(pid: number): { name: string; nice: number }[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
    const [before, after] = [stat.slice(0, stat.lastIndexOf(')')), stat.slice(stat.lastIndexOf(')') + 2)]
    return { name: before.slice(before.indexOf('(') + 1), nice: Number(after.split(' ')[16]) }
  })
}

it('A103: hashing has what the event loop leaves', async () => {
  const server = await startServer()
  try {
    const pool = () => threadsOf(server.pid()).filter(({ name }) => name === 'libuv-worker')
    await until(() => pool().length >= 4 && pool().every(({ nice }) => nice === 19), 10_000)
    const others = threadsOf(server.pid()).filter(({ name }) => name !== 'libuv-worker')
    const niceOf = (isV8: boolean) =>
      new Set(others.filter(({ name }) => (name === 'V8Worker') === isV8).map(({ nice }) => nice))
    expect(niceOf(true)).toEqual(new Set([10]))
    expect(niceOf(false)).toEqual(new Set([0]))
  } finally {
    await server.close()
  }
}, 60_000)
