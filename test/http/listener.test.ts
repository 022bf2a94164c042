/** A port and who holds connections to it, on real sockets. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from '@jest/globals'
import { createListener, type Listener } from '../../src/http/listener.ts'

const COUNT = 200
const GET = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'

let listener: Listener | undefined
const sockets: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await listener?.drain(0)
})

async function opened(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').resume()
  sockets.push(socket)
  await once(socket, 'connect')
  return socket
}

it('silent connections that came in one moment are ended within ten seconds, but not in one moment', async () => {
  listener = createListener((_, res) => res.end('here'))
  const port = await listener.open(0, '127.0.0.1')
  const kept = await opened(port)
  kept.write(GET)
  await once(kept, 'data')
  const began = performance.now()
  const silent = await Promise.all(Array.from({ length: COUNT }, () => opened(port)))
  const ends = await Promise.all(silent.map((socket) => once(socket, 'close').then(() => performance.now() - began)))
  expect(Math.min(...ends)).toBeGreaterThan(4900)
  expect(Math.max(...ends)).toBeLessThan(12_000)
  const inSecond = Map.groupBy(ends, (end) => Math.floor(end / 1000))
  const most = Math.max(...[...inSecond.values()].map(({ length }) => length))
  expect(most).toBeLessThan(COUNT / 2)
  // Who has said something is not silent.
  kept.write(GET)
  await once(kept, 'data')
}, 30_000)

it('who spoke while the process stood still is answered', async () => {
  listener = createListener((_, res) => res.end('here'))
  const port = await listener.open(0, '127.0.0.1')
  const late = await Promise.all(Array.from({ length: 20 }, () => opened(port)))
  await sleep(3500)
  const answers = late.map((socket) =>
    Promise.race([once(socket, 'data').then(() => 'answered'), once(socket, 'close').then(() => 'closed')]),
  )
  // From here the loop comes to its timers first.
  await new Promise((resolve) => setImmediate(resolve))
  for (const socket of late) socket.write(GET)
  const until = performance.now() + 5800
  while (performance.now() < until);
  expect(new Set(await Promise.all(answers))).toEqual(new Set(['answered']))
}, 30_000)
