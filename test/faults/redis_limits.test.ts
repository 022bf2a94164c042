/** A Redis that is full (F06), evicts (F07) or has too few replicas (F09): refused cleanly; ends and consumptions win. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Redis } from 'ioredis'
import { SETTINGS } from '../support/journeys.ts'
import { type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { readyRedis } from '../support/one_redis.ts'
import { authorizationRequest, clientBrowser, newPerson, OFFLINE, type Person } from '../support/people.ts'
import { until } from '../support/processes.ts'
import { type Server, startServer } from '../support/server.ts'
import { type BreakableServer, freshDatabaseUrl, startBreakable } from '../support/services.ts'
import { type ClientRequests, clientRequests } from '../support/token_requests.ts'

let redis: BreakableServer
let direct: Redis
let server: Server
let mailbox: SmtpMailbox
let client: ClientRequests
let ann: Person

const WITHIN_MS = 15_000

const health = async () => {
  const answer = await fetch(`${server.managementOrigin}/readyz`)
  const { missing } = (await answer.json()) as { missing?: string[] }
  return { code: answer.status, missing }
}
const evicting = async () =>
  /^genkan_redis_evicting (\d)/m.exec(await (await fetch(`${server.managementOrigin}/metrics`)).text())?.[1]

beforeAll(async () => {
  mailbox = await startMailbox()
  redis = await startBreakable('redis')
  direct = await readyRedis(redis.url)
  await direct.config('SET', 'maxmemory-policy', 'allkeys-lru')
  server = await startServer({
    settings: SETTINGS,
    env: { SMTP_URL: mailbox.url },
    stores: { databaseUrl: await freshDatabaseUrl(), redisUrl: redis.url },
    wait: false,
  })
}, 60_000)
afterAll(async () => {
  direct?.disconnect()
  await server?.close()
  await mailbox?.stop()
})

describe('a Redis that evicts (F07)', () => {
  it('is not begun with, by a text that names the policy, until it is set right', async () => {
    const objection = 'redis evicts: maxmemory-policy is allkeys-lru, set noeviction'
    // Its port opens a while after the process begins.
    await until(async () => (await health().catch(() => undefined))?.missing?.[0] === objection, WITHIN_MS)
    expect((await health()).code).toBe(503)
    await direct.config('SET', 'maxmemory-policy', 'noeviction')
    await server.ready()
    expect((await health()).code).toBe(200)
    client = clientRequests(server.issuer)
    ann = await newPerson(server.issuer, mailbox, 'ann@example.com')
  })

  it('raises an alarm when it begins to in mid-run, and goes on', async () => {
    await until(async () => (await evicting()) === '0', WITHIN_MS)
    await direct.config('SET', 'maxmemory-policy', 'volatile-ttl')
    await until(async () => (await evicting()) === '1', WITHIN_MS)
    expect((await health()).code).toBe(200)
    const alarms = () => server.logs().filter((line) => line.includes('volatile-ttl') && line.includes('"error"'))
    await until(() => alarms().length === 1, WITHIN_MS)
    const { output } = await server.run('doctor').then(
      (result) => ({ output: JSON.stringify(result) }),
      (error: unknown) => ({ output: String(error) }),
    )
    expect(output).toMatch(/fail +redis +maxmemory-policy is volatile-ttl/)
    await direct.config('SET', 'maxmemory-policy', 'noeviction')
    await until(async () => (await evicting()) === '0', WITHIN_MS)
  })
})

describe.each([
  ['is full (F06)', 'maxmemory', '1', '0'],
  ['has too few replicas (F09)', 'min-replicas-to-write', '1', '0'],
])('a Redis that %s', (_, setting, bad, good) => {
  it('refuses what must be written, and what is ended and used meanwhile stays so', async () => {
    const code = await ann.code('own')
    const lost = await ann.tokens('web', OFFLINE)
    const kept = await ann.tokens('own', OFFLINE)
    const there = await ann.elsewhere()
    expect([(await client.userinfo(lost.access)).status, await there.signedIn()]).toEqual([200, true])

    await direct.config('SET', setting, bad)
    const page = await clientBrowser().get(authorizationRequest(server.issuer, 'own').url)
    const error = page.params.get('error')
    expect(error ?? page.status).toBe(error === null ? 503 : 'temporarily_unavailable')
    expect((await client.redeem(code)).status).toBe(503)
    expect((await client.refresh('own', kept.refresh)).status).toBe(503)
    expect([200, 503]).toContain((await client.revoke('web', lost.refresh)).status)
    // Nobody hears that it is still good, here or where it was not told.
    expect((await client.introspect('web', lost.access)).body).not.toMatchObject({ active: true })
    expect((await client.userinfo(lost.access)).status).not.toBe(200)

    await direct.config('SET', setting, good)
    expect((await client.userinfo(lost.access)).status).toBe(401)
    expect(await client.refresh('web', lost.refresh)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
    const late = await client.redeem(code)
    expect([200, 400]).toContain(late.status)
    if (late.status === 200) expect((await client.redeem(code)).status).toBe(400)
    expect(await there.signedIn()).toBe(true)
    expect(server.logs().filter((line) => line.includes('"fatal"'))).toEqual([])
  })
})
