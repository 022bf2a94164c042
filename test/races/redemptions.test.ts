/**
 * Redemptions that meet in a store that is slow: all have read what is redeemed before the first of them has consumed it. What is
 * consumed and what is made of it are written together, so each of them has made tokens by then; one may tell them.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { DEVICE_CLIENTS, device, goOn, typeCode } from '../support/devices.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault_proxy.ts'
import { SECRET, SETTINGS } from '../support/journeys.ts'
import { mailFolder } from '../support/mailbox.ts'
import { newPerson, OFFLINE, type Person, redirectUri } from '../support/people.ts'
import { type Server, startServer } from '../support/server.ts'
import { freshDatabaseUrl, startRedis } from '../support/services.ts'
import { type ClientRequests, clientRequests, type TokenAnswer, tokensOf } from '../support/token_requests.ts'

const COUNT = 12
const SLOW = { kind: 'delay', milliseconds: 150 } as const
const invalidGrant = { status: 400, body: { error: 'invalid_grant' } }

let redis: FaultProxy
let server: Server
let client: ClientRequests
let ann: Person

beforeAll(async () => {
  redis = await startFaultProxy((await startRedis()).url)
  const brief = {
    ...{ client_id: 'brief', client_secret: SECRET, redirect_uris: [redirectUri('brief')], first_party: true },
    ...{ scope: 'openid offline_access', refresh_grace_seconds: 0 },
  }
  server = await startServer({
    settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...DEVICE_CLIENTS, brief] },
    stores: { databaseUrl: await freshDatabaseUrl(), redisUrl: redis.url },
  })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(async () => {
  await server?.close()
  await redis?.stop()
})

async function atOnce(ask: () => Promise<TokenAnswer>): Promise<TokenAnswer[]> {
  redis.set(SLOW)
  try {
    return await Promise.all(Array.from({ length: COUNT }, ask))
  } finally {
    redis.set({ kind: 'none' })
  }
}

/** One has the tokens, and they are dead; the others hear of nothing but the refusal. */
async function expectOneOfDead(answers: readonly TokenAnswer[]): Promise<void> {
  const good = answers.filter(({ status }) => status === 200)
  expect(good).toHaveLength(1)
  for (const answer of answers) if (answer !== good[0]) expect(answer).toMatchObject(invalidGrant)
  const { access } = tokensOf(good[0] as TokenAnswer)
  expect((await client.userinfo(access)).status).toBe(401)
}

describe('of many who come at once', () => {
  it('with a code one succeeds, and its tokens die', async () => {
    const code = await ann.code('own', OFFLINE)
    await expectOneOfDead(await atOnce(() => client.redeem(code)))
  })

  it('with a device code one succeeds, and its tokens die', async () => {
    const tv = device(server.issuer, 'tv')
    const { deviceCode, userCode, verificationUri } = await tv.ask()
    await goOn(ann.browser, await typeCode(ann.browser, verificationUri, userCode))
    await expectOneOfDead(await atOnce(() => tv.poll(deviceCode)))
  })

  it('with a refresh token that has no grace one succeeds, and the family dies', async () => {
    const { refresh } = await ann.tokens('brief', OFFLINE)
    await expectOneOfDead(await atOnce(() => client.refresh('brief', refresh)))
  })

  it('with a refresh token in its grace all arrive at one successor', async () => {
    const { refresh } = await ann.tokens('own', OFFLINE)
    const successors = (await atOnce(() => client.refresh('own', refresh))).map((answer) => tokensOf(answer).refresh)
    expect(new Set(successors).size).toBe(1)
    expect((await client.refresh('own', successors[0] ?? '')).status).toBe(200)
  })
})

it('a refresh waits for the store four times when its token hangs on a session', async () => {
  let { refresh } = await ann.tokens('spa')
  const trips: number[] = []
  for (let times = 0; times < 8; times++) {
    redis.set({ kind: 'none' })
    refresh = tokensOf(await client.refresh('spa', refresh)).refresh
    trips.push(redis.requests())
  }
  // Now and then the server asks something for itself.
  expect(Math.min(...trips)).toBe(4)
})
