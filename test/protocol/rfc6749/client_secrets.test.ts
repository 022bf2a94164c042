/** RFC 6749 §2.3.1: several secrets of one client, their ends, and when each was last used. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { API, SETTINGS } from '../../support/journeys.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import { basic, postForm } from '../../support/token_requests.ts'

interface Secret {
  readonly id: string
  readonly created_at: string
  readonly expires_at?: string
  readonly last_used_at?: string
}

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))('secrets on %s', (kind) => {
  let server: Server
  let first = ''
  let second = ''

  beforeAll(async () => {
    const stores = kind === 'embedded' ? kind : await realStores()
    server = await startServer({ settings: { resources: SETTINGS.resources }, stores })
  })
  afterAll(() => server.close())

  const ask = async (secret: string) =>
    (await postForm(`${server.issuer}/token`, { grant_type: 'client_credentials', resource: API }, basic('m', secret)))
      .status
  const secrets = async () => {
    const clients = JSON.parse((await server.run('clients', 'list', '--json')).stdout) as {
      client_id: string
      secrets: Secret[]
    }[]
    return clients.find(({ client_id }) => client_id === 'm')?.secrets ?? []
  }
  const secretOf = async (...command: string[]) =>
    (JSON.parse((await server.run(...command, '--json')).stdout) as { client_secret: string }).client_secret

  it('overlap for as long as was asked for', async () => {
    const machine = ['--grant-type', 'client_credentials', '--scope', 'orders:read', '--resource', API]
    first = await secretOf('clients', 'create', 'm', ...machine)
    expect(await ask(first)).toBe(200)
    second = await secretOf('clients', 'rotate-secret', 'm', '--overlap', '1h')
    const deadline = Date.now() + 5000
    while ((await ask(second)) !== 200 && Date.now() < deadline) await new Promise((next) => setTimeout(next, 50))
    expect([await ask(first), await ask(second)]).toEqual([200, 200])
    const [old, fresh] = await secrets()
    expect(Date.parse(old?.expires_at ?? '') - Date.now()).toBeGreaterThan(3_500_000)
    expect(fresh?.expires_at).toBeUndefined()
  })

  it('show when each was last used, also after a restart', async () => {
    await ask(`${second}x`)
    const before = Date.now()
    await ask(first)
    const after = Date.now()
    await server.restart()
    const [old, fresh] = await secrets()
    expect(Date.parse(old?.last_used_at ?? '')).toBeGreaterThanOrEqual(before)
    expect(Date.parse(old?.last_used_at ?? '')).toBeLessThanOrEqual(after)
    // A wrong secret is a use of none.
    expect(Date.parse(fresh?.last_used_at ?? '')).toBeLessThan(before)
    const { stdout } = await server.run('clients', 'list')
    expect(stdout).toMatch(/CLIENT +SECRET +CREATED +EXPIRES +LAST USED/)
    expect(stdout).toMatch(new RegExp(`m +${old?.id} +${old?.created_at} +${old?.expires_at} +${old?.last_used_at}`))
    expect(stdout).toMatch(new RegExp(`m +${fresh?.id} +${fresh?.created_at} +never +${fresh?.last_used_at}`))
    expect((await server.run('clients', 'show', 'm')).stdout).toContain(String(old?.last_used_at))
  })

  it('are refused after their end, while the newer ones work', async () => {
    await server.shiftDate(3602)
    expect([await ask(first), await ask(second)]).toEqual([401, 200])
    await server.shiftDate(0)
  })

  it('end at once when they are replaced without overlap', async () => {
    const third = await secretOf('clients', 'rotate-secret', 'm')
    const deadline = Date.now() + 5000
    while ((await ask(third)) !== 200 && Date.now() < deadline) await new Promise((next) => setTimeout(next, 50))
    expect([await ask(first), await ask(second), await ask(third)]).toEqual([401, 401, 200])
  })
})
