/** The threads that hash give way to the event loop, which signs everybody's tokens (A103). */
import { expect, it } from '@jest/globals'
import { childrenOf, threadsOf, until, waysOf } from '../support/processes.ts'
import { startServer } from '../support/server.ts'

it('A103: hashing has what nobody else wants, and signing does not wait for it', async () => {
  const server = await startServer({ process: 'own' })
  try {
    const [hashing = 0] = childrenOf(server.pid())
    await until(() => waysOf(hashing, 'libuv-worker').join() === 'idle', 10_000)
    await until(() => waysOf(server.pid(), 'V8Worker').join() === 'class 0, nice 10', 10_000)
    expect(waysOf(server.pid(), 'libuv-worker')).toEqual(['class 0, nice 0'])
    const others = [...threadsOf(hashing), ...threadsOf(server.pid())].filter(
      ({ name }) => !['libuv-worker', 'V8Worker'].includes(name),
    )
    expect([...new Set(others.map(({ way }) => way))]).toEqual(['class 0, nice 0'])
  } finally {
    await server.close()
  }
}, 60_000)
