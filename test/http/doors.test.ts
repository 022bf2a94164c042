/** One port with several sockets that listen: a busy event loop takes several connections in a turn, and nobody shares the port. */
import { createServer, type Server } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, expect, it } from '@jest/globals'
import { type Doors, openDoors } from '../../src/http/doors.ts'

const HOST = '127.0.0.1'
const opened: { doors: Doors; server: Server }[] = []
const callers: Socket[] = []
afterEach(async () => {
  for (const caller of callers.splice(0)) caller.destroy()
  await Promise.all(opened.splice(0).map(({ doors }) => doors.close()))
})

async function open(count: number, port = 0) {
  const server = createServer((_req, res) => res.end('here'))
  const doors = await openDoors(server, { port, host: HOST, count })
  opened.push({ doors, server })
  return { server, ...doors }
}

/** Most connections that the server took in one turn, when so many came at once. */
async function mostInATurn({ server, port }: Awaited<ReturnType<typeof open>>, calls: number): Promise<number> {
  const turns = new Map<number, number>()
  let [now, taken] = [0, 0]
  server.on('connection', () => {
    taken += 1
    turns.set(now, (turns.get(now) ?? 0) + 1)
  })
  for (let call = 0; call < calls; call++) callers.push(connect(port, HOST).on('error', () => {}))
  while (taken < calls) {
    now += 1
    await turn()
  }
  return Math.max(...turns.values())
}

it('takes one connection of each socket in a turn', async () => {
  expect(await mostInATurn(await open(1), 60)).toBe(1)
  expect(await mostInATurn(await open(8), 60)).toBeGreaterThan(1)
})

it('answers at every socket, and ends what it has taken before it is closed', async () => {
  const { port, close } = await open(8)
  const answers = await Promise.all(
    Array.from({ length: 40 }, async () =>
      (await fetch(`http://${HOST}:${port}/`, { headers: { connection: 'close' } })).text(),
    ),
  )
  expect(new Set(answers)).toEqual(new Set(['here']))
  await close()
  opened.pop()
  await expect(fetch(`http://${HOST}:${port}/`)).rejects.toThrow()
})

it('is refused the port of somebody else, who shares it or not', async () => {
  const shared = await open(8)
  await expect(openDoors(createServer(), { port: shared.port, host: HOST, count: 8 })).rejects.toThrow('EADDRINUSE')
  const alone = await open(1)
  await expect(openDoors(createServer(), { port: alone.port, host: HOST, count: 8 })).rejects.toThrow('EADDRINUSE')
})
