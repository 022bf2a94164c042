import { afterAll, describe, expect, it } from '@jest/globals'
import { until } from './processes.ts'
import { startPair, startServer } from './server.ts'
import { runCommand } from './server_process.ts'

const open: { close(): Promise<void> }[] = []
afterAll(() => Promise.all(open.map((each) => each.close())))

describe('startServer', () => {
  it('starts on the embedded default, keeps its logs, starts again on the same data and stops in order', async () => {
    const server = await startServer()
    open.push(server)
    const discovery = await fetch(`${server.issuer}/.well-known/openid-configuration`)
    expect(discovery.status).toBe(200)
    expect(await discovery.json()).toMatchObject({ issuer: server.issuer })
    // It says so just after it answers, and its lines come by a way of their own.
    await until(() => server.logs().some((line) => line.includes('"msg":"ready"')), 10_000)
    const pid = server.pid()
    await server.restart()
    expect(server.pid()).not.toBe(pid)
    const keys = await server.run('keys', 'list')
    expect(keys.code).toBe(0)
    expect(await server.stop()).toBe(0)
  })

  it('says why a server ended at its start', async () => {
    await expect(startServer({ env: { GENKAN_ISSUER: 'http://id.example' } })).rejects.toThrow(/must be https/)
  })
})

it('startPair runs two instances on one PostgreSQL and Redis behind one issuer', async () => {
  const pair = await startPair()
  open.push(pair)
  const jwks = async () => (await fetch(`${pair.issuer}/jwks`, { headers: { connection: 'close' } })).json()
  pair.route(0)
  const first = await jwks()
  pair.route(1)
  expect(await jwks()).toEqual(first)
  expect(await Promise.all(pair.servers.map((server) => server.stop()))).toEqual([0, 0])
})

it('a server in a process that another may have used knows nothing of that', async () => {
  const settings = {
    clients: [
      {
        client_id: 'first',
        client_secret: 'a-secret-of-the-first-client-0001',
        redirect_uris: ['https://first.example'],
      },
    ],
  }
  for (const [index, some] of [settings, {}].entries()) {
    const server = await startServer({ settings: some, stores: 'embedded' })
    open.push(server)
    if (index === 0) await server.shiftDate(86_400)
    const { date } = Object.fromEntries((await fetch(`${server.issuer}/livez`)).headers)
    expect(Math.abs(Date.parse(date ?? '') - Date.now())).toBeLessThan(60_000)
    expect((await server.run('clients', 'list')).stdout.includes('first')).toBe(index === 0)
    await server.close()
    await expect(fetch(`${server.issuer}/livez`)).rejects.toThrow()
  }
})

it("shiftDate moves the server's Date while it runs", async () => {
  const server = await startServer({ process: 'own' })
  open.push(server)
  await server.shiftDate(3600)
  await server.stop()
  const last = JSON.parse(server.logs().findLast((line) => line.includes('draining')) ?? '{}') as { time: string }
  expect(Math.round((Date.parse(last.time) - Date.now()) / 60_000)).toBe(60)
})

it('runCommand gives output and exit code', async () => {
  const { code, stdout } = await runCommand(['--help'], {})
  expect(code).toBe(0)
  expect(stdout).toContain('Usage: genkan')
})
