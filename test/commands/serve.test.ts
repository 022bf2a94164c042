import { afterEach, describe, expect, it } from '@jest/globals'
import { childrenOf, until } from '../support/processes.ts'
import { realStores, type Server, startServer } from '../support/server.ts'
import { freePort, startPostgres } from '../support/services.ts'

/** A request whose body never ends: it keeps the server draining until it is let go. */
const hold = async (origin: string) => {
  const request = new AbortController()
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode('grant_type=')),
  })
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const options = { method: 'POST', headers, body, duplex: 'half', signal: request.signal }
  const answer = fetch(`${origin}/token`, options as RequestInit).catch(() => undefined)
  await new Promise((resolve) => setTimeout(resolve, 300))
  return async () => {
    request.abort()
    await answer
  }
}

describe('serve', () => {
  let server: Server | undefined
  afterEach(() => server?.close())

  it('runs workers on one port, replaces one that dies, and drains all with exit 0', async () => {
    server = await startServer({ stores: await realStores(), command: ['serve', '--workers', '2'] })
    const { origin, pid, logs } = server
    const ready = () => logs().filter((line) => line.includes('"ready"')).length
    await until(() => ready() === 2)
    const [victim, other] = childrenOf(pid())
    expect(other).toBeDefined()
    process.kill(victim ?? 0, 'SIGKILL')
    await until(() => ready() === 3)
    expect(childrenOf(pid())).toHaveLength(2)
    expect((await fetch(`${origin}/livez`)).status).toBe(200)
    // Each worker counts for itself, on a management port of its own.
    const management = Number(new URL(server.managementOrigin).port)
    for (const port of [management, management + 1]) {
      expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toContain('process_')
    }
    expect(await server.stop()).toBe(0)
    expect(childrenOf(pid())).toEqual([])
  })

  it('finishes what is in flight on SIGTERM, not ready meanwhile', async () => {
    server = await startServer({ stores: await realStores(), process: 'own' })
    const { managementOrigin } = server
    const letGo = await hold(server.origin)
    server.signal('SIGTERM')
    await until(async () => (await fetch(`${managementOrigin}/readyz`)).status === 503)
    expect((await fetch(`${managementOrigin}/livez`)).status).toBe(200)
    await letGo()
    expect(await server.exited()).toBe(0)
  })

  it('ends at once with exit 1 on a second signal', async () => {
    server = await startServer({ stores: await realStores(), process: 'own' })
    const letGo = await hold(server.origin)
    server.signal('SIGINT')
    await until(() => server?.logs().some((line) => line.includes('draining')) === true)
    server.signal('SIGINT')
    expect(await server.exited()).toBe(1)
    await letGo()
  })

  it('ends on SIGTERM while it still waits for its database', async () => {
    const databaseUrl = `postgres://127.0.0.1:${await freePort()}/nowhere`
    server = await startServer({ stores: { databaseUrl }, wait: false })
    await until(() => server?.logs().some((line) => line.includes('waiting for the stores')) === true)
    expect((await fetch(`${server.origin}/livez`)).status).toBe(200)
    expect((await fetch(`${server.origin}/readyz`)).status).toBe(503)
    expect(await server.stop()).toBe(0)
  })

  it('refuses to start with --no-migrate on an empty database', async () => {
    const databaseUrl = await (await startPostgres()).createDatabase()
    server = await startServer({ stores: { databaseUrl }, command: ['serve', '--no-migrate'], wait: false })
    expect(await server.exited()).toBe(1)
    expect(server.logs().join('\n')).toContain('genkan migrate')
  })

  it.each([
    ['0', '--workers'],
    ['2.5', '--workers'],
    ['many', '--workers'],
  ])('refuses --workers %s', async (workers, named) => {
    server = await startServer({
      stores: { databaseUrl: 'postgres://127.0.0.1:1/x' },
      command: ['serve', '--workers', workers],
      wait: false,
    })
    expect(await server.exited()).toBe(1)
    expect(server.logs().join('\n')).toContain(named)
  })
})
