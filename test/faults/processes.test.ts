/** Processes that die, stand still or are replaced (F32): somebody takes their place, and nobody is refused meanwhile. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals'
import { SETTINGS } from '../support/journeys.ts'
import { childrenOf, startLoad, statusOf, until } from '../support/processes.ts'
import { realStores, type Server, startServer } from '../support/server.ts'

// Processes that start one after the other take their time on a busy machine.
jest.setTimeout(180_000)

const POISON = fileURLToPath(new URL('../support/poison.ts', import.meta.url))
const SECRET = 'another-test-only-secret-of-enough-length-9'
/** A new client in the file: a server that has read it gives it tokens. */
const MORE = {
  ...SETTINGS,
  clients: [
    ...SETTINGS.clients,
    {
      ...{ client_id: 'later', client_secret: SECRET, grant_types: ['client_credentials'] },
      ...{ scope: 'orders:read', resources: [SETTINGS.resources[0].identifier] },
    },
  ],
}

const said = (server: Server, text: string) => server.logs().filter((line) => line.includes(text)).length
const ready = (server: Server) => said(server, '"ready"')

async function tokenOf(server: Server): Promise<number> {
  const authorization = `Basic ${Buffer.from(`later:${SECRET}`).toString('base64')}`
  const body = new URLSearchParams({ grant_type: 'client_credentials', scope: 'orders:read' })
  return (await fetch(`${server.origin}/token`, { method: 'POST', headers: { authorization }, body })).status
}

function rewrite(server: Server, settings: object): void {
  const file = server.env.GENKAN_CONFIG ?? ''
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...settings }))
}

describe('two workers', () => {
  let server: Server
  let startMs = 0
  beforeAll(async () => {
    const began = performance.now()
    server = await startServer({
      settings: { ...SETTINGS, drain_seconds: 2 },
      stores: await realStores(),
      command: ['serve', '--workers', '2'],
      env: { NODE_OPTIONS: `--disable-warning=ExperimentalWarning --max-old-space-size=128 --import=${POISON}` },
    })
    await until(() => ready(server) === 2)
    startMs = performance.now() - began
  })
  afterAll(() => server?.close())

  it('SIGHUP replaces them one at a time with the new settings, and refuses nobody', async () => {
    const before = childrenOf(server.pid())
    expect(await tokenOf(server)).toBe(401)
    const loads = [
      startLoad(`${server.origin}/.well-known/openid-configuration`, 4),
      startLoad(`${server.origin}/readyz`, 2),
      startLoad(`${server.managementOrigin}/readyz`, 2),
    ]
    // Of each moment, how many worker processes there were: a newcomer is there before somebody goes, and one at a time.
    const counts = new Set<number>()
    const counting = setInterval(() => counts.add(childrenOf(server.pid()).length), 20)

    rewrite(server, MORE)
    server.signal('SIGHUP')
    await until(() => said(server, 'all workers were replaced') === 1)
    clearInterval(counting)
    expect(childrenOf(server.pid()).filter((pid) => before.includes(pid))).toEqual([])
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(2)
    expect(Math.max(...counts)).toBe(3)
    for (let i = 0; i < 4; i++) expect(await tokenOf(server)).toBe(200)
    for (const load of loads) {
      const { answers, failures } = await load.end()
      expect({ failures, statuses: Object.keys(answers) }).toEqual({ failures: [], statuses: ['200'] })
    }
  })

  it('SIGHUP with settings that do not load leaves them running and says why', async () => {
    const before = childrenOf(server.pid())
    rewrite(server, { drain_secnds: 3 })
    server.signal('SIGHUP')
    await until(() => said(server, 'the settings cannot be read') === 1)
    expect(server.logs().find((line) => line.includes('the settings cannot be read'))).toContain(
      'did you mean drain_seconds?',
    )
    // What only a new worker finds out.
    rewrite(server, { drain_secnds: undefined, brands: [{ id: 'default', name: 'Example', css: 'missing.css' }] })
    server.signal('SIGHUP')
    await until(() => said(server, 'does not come up') === 1)
    await until(() => said(server, 'missing.css') > 0)
    expect(childrenOf(server.pid())).toEqual(before)
    expect(await tokenOf(server)).toBe(200)
    rewrite(server, { brands: undefined })
  })

  it.each(['memory', 'rejection', 'block'])(
    'F32: one that a poison hits (%s) is back in 5 s, and it kills once',
    async (fault) => {
      const before = childrenOf(server.pid())
      const [ends, starts, blocks] = [said(server, ' ended ('), ready(server), said(server, 'is blocked')]
      const sent = statusOf(`${server.origin}/livez?poison=${fault}`)
      // The other worker answers meanwhile.
      await until(async () => (await statusOf(`${server.origin}/readyz`)) === 200)
      await until(() => said(server, ' ended (') > ends)
      const forked = await until(() => childrenOf(server.pid()).filter((pid) => !before.includes(pid)).length === 1)
      const took = await until(() => ready(server) === starts + 1)
      expect(forked).toBeLessThan(1000)
      // A busy machine takes longer for a start.
      expect(took).toBeLessThan(Math.max(5000, 2 * startMs))
      // It killed the one that had read it, and was given to no other.
      if (fault !== 'rejection') expect(await sent).toBe(0)
      expect(said(server, ' ended (')).toBe(ends + 1)
      const after = childrenOf(server.pid())
      expect(after).toHaveLength(2)
      expect(after.filter((pid) => before.includes(pid))).toHaveLength(1)
      expect(said(server, 'is blocked') - blocks).toBe(fault === 'block' ? 1 : 0)
    },
  )

  it('end with exit 0', async () => {
    expect(await server.stop()).toBe(0)
  })
})

describe('one process', () => {
  let server: Server
  afterEach(() => server?.close())

  it('with --workers 1 is replaced by SIGHUP as several are', async () => {
    // With no time to drain, a kept connection is closed while its client may be about to ask on it.
    const settings = { ...MORE, drain_seconds: 2 }
    server = await startServer({ settings, stores: await realStores(), command: ['serve', '--workers', '1'] })
    const before = childrenOf(server.pid())
    const load = startLoad(`${server.origin}/readyz`, 4)
    server.signal('SIGHUP')
    await until(() => said(server, 'all workers were replaced') === 1)
    const { answers, failures } = await load.end()
    expect({ failures, statuses: Object.keys(answers) }).toEqual({ failures: [], statuses: ['200'] })
    const after = childrenOf(server.pid())
    expect(after).toHaveLength(1)
    expect(after).not.toEqual(before)
    expect(await server.stop()).toBe(0)
  })

  it('without --workers refuses SIGHUP with a line in the log, and goes on', async () => {
    server = await startServer({ stores: await realStores(), process: 'own' })
    server.signal('SIGHUP')
    await until(() => said(server, 'SIGHUP: one process cannot replace itself') === 1)
    expect((await fetch(`${server.origin}/readyz`)).status).toBe(200)
    expect(await server.stop()).toBe(0)
  })
})
