/** A process that ends under load (F30), and one that runs out of connections (F33), on real sockets, by counting. */
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { startLoad, statusOf, until } from '../support/processes.ts'
import { dribble } from '../support/raw_http.ts'
import { DEEP } from '../support/sample.ts'
import { realStores, type Server, startServer } from '../support/server.ts'

// Processes that start one after the other take their time on a busy machine.
jest.setTimeout(180_000)

const FORM = 'Content-Type: application/x-www-form-urlencoded'
const BODY = 'grant_type=client_credentials&client_id=nobody&client_secret=nothing'
const GET = 'GET /.well-known/openid-configuration HTTP/1.1\r\nHost: localhost\r\n\r\n'

interface Line {
  readonly socket: Socket
  /** Everything that has arrived. */
  text(): string
  /** How it ended; undefined while it is open. */
  end(): 'closed' | 'reset' | undefined
}

function line(port: number): Promise<Line> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    let end: 'closed' | 'reset' | undefined
    socket.setEncoding('latin1').on('data', (part) => {
      text += part
    })
    socket.on('error', (error) => {
      end = 'reset'
      reject(error)
    })
    socket.once('close', () => {
      end ??= 'closed'
    })
    socket.once('connect', () => resolve({ socket, text: () => text, end: () => end }))
  })
}

const lines = (port: number, count: number) => Promise.all(Array.from({ length: count }, () => line(port)))
const answersIn = (text: string) => text.split('HTTP/1.1 ').slice(1)

describe('F30: SIGTERM', () => {
  let server: Server
  afterEach(() => server?.close())

  it('with 200 requests in flight: not ready at once, everything is answered, no connection is reset, exit 0', async () => {
    const settings = { drain_seconds: 4, connections_per_address: 1000 }
    server = await startServer({ settings, stores: await realStores(), process: 'own' })
    const { port, managementOrigin, origin } = server
    const inFlight = await lines(port, 200)
    for (const { socket } of inFlight) {
      socket.write(`POST /token HTTP/1.1\r\nHost: localhost\r\n${FORM}\r\nContent-Length: ${BODY.length}\r\n\r\n`)
      socket.write(BODY.slice(0, 11))
    }
    // Kept connections, each of which has been answered and may be used again.
    const [used, unused] = [await lines(port, 20), await lines(port, 20)]
    for (const { socket } of [...used, ...unused]) socket.write(GET)
    await until(() => [...used, ...unused].every(({ text }) => text().endsWith('}')))
    expect(used[0]?.text()).not.toMatch(/^connection: close/im)

    const began = performance.now()
    server.signal('SIGTERM')
    expect(await until(async () => (await statusOf(`${managementOrigin}/readyz`)) === 503)).toBeLessThan(1000)
    expect(await statusOf(`${origin}/readyz`)).toBe(503)
    expect(await statusOf(`${managementOrigin}/livez`)).toBe(200)
    // In the seconds in which a balancer learns of it, new connections and kept ones are answered and then closed.
    const late = await lines(port, 20)
    for (const { socket } of [...used, ...late]) socket.write(GET)
    await until(() => [...used, ...late].every(({ end }) => end() !== undefined))
    expect(performance.now() - began).toBeLessThan(4000)
    // Then nobody is let in any more.
    await until(async () => (await statusOf(`${origin}/livez`)) === 0)
    await expect(line(port)).rejects.toThrow('ECONNREFUSED')
    expect(performance.now() - began).toBeGreaterThan(3900)

    // Nobody hurries the requests in flight.
    expect(inFlight.filter(({ end }) => end() !== undefined)).toEqual([])
    for (const { socket } of inFlight) socket.write(BODY.slice(11))
    expect(await server.exited()).toBe(0)
    expect(performance.now() - began).toBeLessThan(30_000)
    await until(() => [...inFlight, ...unused].every(({ end }) => end() !== undefined))
    const all = [...inFlight, ...used, ...unused, ...late]
    expect(all.filter(({ end }) => end() === 'reset')).toHaveLength(0)
    for (const { text } of inFlight) expect(answersIn(text()).map((answer) => answer.slice(0, 3))).toEqual(['401'])
    for (const { text } of [...inFlight, ...used, ...late]) {
      expect(answersIn(text()).at(-1)).toMatch(/^connection: close\r$/im)
    }
    expect(used.map(({ text }) => answersIn(text()).length)).toEqual(used.map(() => 2))
  })

  if (DEEP)
    it('of two workers under load ends with exit 0, and cuts nobody off', async () => {
      const settings = { drain_seconds: 4 }
      server = await startServer({ settings, stores: await realStores(), command: ['serve', '--workers', '2'] })
      await until(() => server.logs().filter((text) => text.includes('"ready"')).length === 2)
      const load = startLoad(`${server.origin}/.well-known/openid-configuration`, 20)
      await sleep(300)
      server.signal('SIGTERM')
      await until(async () => (await statusOf(`${server.origin}/readyz`)) === 503)
      // A balancer that asks each second has taken it out by then.
      await sleep(1000)
      const { answers, failures } = await load.end()
      expect({ failures, statuses: Object.keys(answers) }).toEqual({ failures: [], statuses: ['200'] })
      expect(await server.exited()).toBe(0)
    })

  it('SIGINT of a terminal waits for no balancer', async () => {
    const settings = { drain_seconds: 20 }
    server = await startServer({ settings, stores: await realStores(), process: 'own' })
    const began = performance.now()
    expect(await server.stop('SIGINT')).toBe(0)
    expect(performance.now() - began).toBeLessThan(10_000)
  })
})

describe('F33: connections', () => {
  let server: Server
  afterEach(() => server?.close())

  it('beyond the file descriptors are closed unread; who is there goes on, and the process recovers', async () => {
    server = await startServer({ stores: await realStores(), openFiles: 256 })
    const { port, origin } = server
    const kept = await line(port)
    kept.socket.write(GET)
    await until(() => kept.text().endsWith('}'))
    const crowd = await lines(port, 300)
    await until(() => crowd.filter(({ end }) => end() !== undefined).length > 300 - 256)
    const held = crowd.filter(({ end }) => end() === undefined)
    expect(held.length).toBeGreaterThan(100)
    // No more is taken, and what is held is answered, the stores included.
    expect(await statusOf(`${origin}/livez`)).toBe(0)
    expect(await statusOf(`${server.managementOrigin}/readyz`)).toBe(200)
    for (const { socket } of [kept, ...held.slice(0, 50)]) {
      socket.write(
        `POST /token HTTP/1.1\r\nHost: localhost\r\n${FORM}\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`,
      )
    }
    await until(() => [kept, ...held.slice(0, 50)].every(({ text }) => text().includes('invalid_client')))
    await until(() => server.logs().filter((text) => text.includes('connections were refused')).length === 1, 10_000)
    expect(server.logs().some((text) => text.includes('EMFILE'))).toBe(false)
    for (const { socket } of held) socket.destroy()
    await until(async () => (await statusOf(`${origin}/readyz`)) === 200)
    expect(await server.stop()).toBe(0)
  })

  if (DEEP)
    it('of one address are capped; those of trusted proxies are not; slow senders give theirs back', async () => {
      const settings = { connections_per_address: 20 }
      const stores = await realStores()
      server = await startServer({ settings, stores })
      const { port, origin } = server
      const slowHead = () => dribble(port, 'GET / HTTP/1.1\r\nHost: localhost\r\n', 'X: y\r\n', 500)
      const heads = Array.from({ length: 10 }, slowHead)
      const start = `POST /token HTTP/1.1\r\nHost: localhost\r\n${FORM}\r\nContent-Length: 5000\r\n\r\n`
      const bodies = Array.from({ length: 10 }, () => dribble(port, start, 'a=b&', 500))
      // Whoever asks holds a place meanwhile, for want of which a slow sender may have been refused.
      while ((await statusOf(`${origin}/livez`)) !== 0) heads.push(slowHead())
      const beyond = await lines(port, 15)
      await until(() => beyond.every(({ end }) => end() !== undefined))

      const trusting = await startServer({ settings, stores, env: { TRUSTED_PROXIES: '127.0.0.1' } })
      const proxied = await lines(trusting.port, 40)
      for (const { socket } of proxied) socket.write(GET)
      await until(() => proxied.every(({ text }) => text().endsWith('}')))
      await trusting.close()

      const [headTimes, bodyTimes] = await Promise.all(
        [heads, bodies].map((senders) => Promise.all(senders.map(({ ended }) => ended))),
      )
      // Looked for each second.
      expect(Math.max(...(headTimes ?? []))).toBeLessThan(12_500)
      expect(Math.max(...(bodyTimes ?? []))).toBeLessThan(17_500)
      expect(await statusOf(`${origin}/livez`)).toBe(200)
    })
})
