/** Instances that are restarted one after the other while people sign in (F31): nobody notices, and nobody is stuck to one. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import * as oidc from 'openid-client'
import { type Balancer, startBalancer } from '../support/balancer.ts'
import { createBrowser } from '../support/browser.ts'
import { authorization, discover, PASSWORD, redeem, SETTINGS } from '../support/journeys.ts'
import { until } from '../support/processes.ts'
import { DEEP, generator, SEED } from '../support/sample.ts'
import { seedPeople } from '../support/seeded_people.ts'
import { realStores, type Server, startServer } from '../support/server.ts'
import { freePort } from '../support/services.ts'

const LOGINS = DEEP ? 500 : 30
const LANES = DEEP ? 40 : 12
/** How long people look at a page, at the most. */
const THINK_MS = 1500
const OWN = 'https://own.test.example'
const random = generator(SEED)

let balancer: Balancer
let servers: readonly Server[]
let people: string[]
let client: oidc.Configuration

beforeAll(async () => {
  balancer = await startBalancer(await freePort())
  const stores = await realStores()
  const settings = {
    ...{ ...SETTINGS, drain_seconds: 2 },
    passwords: { queue_ms: 10_000 },
    limits: { sign_in_per_address: 1_000_000, sign_in_per_identifier: 1_000_000 },
  }
  const start = () =>
    startServer({
      ...{ settings, stores, issuer: balancer.origin, process: 'own' },
      env: { TRUSTED_PROXIES: '127.0.0.1' },
    })
  servers = [await start(), await start()]
  balancer.serve(servers.map(({ origin }) => origin))
  await until(() => balancer.ready().length === 2)
  people = await seedPeople(stores.databaseUrl, servers[0]?.env.GENKAN_SECRET_KEYS ?? '', LOGINS)
  client = await discover(balancer.origin, 'own')
})
afterAll(async () => {
  await balancer?.stop()
  await Promise.all((servers ?? []).map((server) => server.close()))
})

interface Login {
  readonly began: number
  readonly ended: number
  readonly failure: string | undefined
}

/** From the authorization request to userinfo, each request to whichever instance has its turn. */
async function logIn(email: string): Promise<void> {
  const think = () => sleep(random() * THINK_MS)
  const browser = createBrowser({ stopAt: [OWN] })
  const request = await authorization(client, `${OWN}/callback`, { scope: 'openid email offline_access' })
  const asked = await browser.get(request.url)
  await think()
  const known = await browser.submit(asked, { identifier: email }, { form: '/identifier' })
  await think()
  const end = await browser.submit(known, { password: PASSWORD }, { form: '/password' })
  if (!end.params.has('code')) throw new Error(`no code: ${end.status} ${end.url} ${end.text.slice(0, 200)}`)
  await think()
  const tokens = await redeem(client, request, end)
  const sub = tokens.claims()?.sub ?? ''
  const about = await oidc.fetchUserInfo(client, tokens.access_token, sub)
  if (about.email !== email) throw new Error(`userinfo says ${about.email} of ${email}`)
  // The session is known to the other instance, too.
  const again = await browser.get((await authorization(client, `${OWN}/callback`, { prompt: 'none' })).url)
  if (!again.params.has('code')) throw new Error(`not signed in: ${again.url}`)
}

describe('F31: a rolling restart', () => {
  it(`of two instances while people sign in (${LOGINS} at least): no login fails`, async () => {
    const logins: Login[] = []
    const restarts: number[] = []
    let rolled = false
    let next = 0
    const lane = async () => {
      while (!rolled || logins.length < LOGINS) {
        const email = people[next++ % people.length] ?? ''
        const began = performance.now()
        const failure = await logIn(email).then(
          () => undefined,
          (error: Error) => `${error.message} ${String(error.cause ?? '')}`,
        )
        logins.push({ began, ended: performance.now(), failure })
      }
    }
    const lanes = Array.from({ length: LANES }, lane)
    await until(() => logins.length >= LANES / 2)
    for (const server of servers) {
      restarts.push(performance.now())
      expect(await server.stop()).toBe(0)
      expect(balancer.ready()).toHaveLength(1)
      restarts.push(performance.now())
      await server.restart()
      await until(() => balancer.ready().length === 2)
    }
    rolled = true
    await Promise.all(lanes)
    expect(logins.flatMap(({ failure }) => failure ?? [])).toEqual([])
    expect(logins.length).toBeGreaterThanOrEqual(LOGINS)
    // Of the logins, those that an instance left in the middle: without them the test would show nothing.
    const crossed = logins.filter(({ began, ended }) => restarts.some((at) => began < at && at < ended))
    expect(crossed.length).toBeGreaterThanOrEqual(LANES)
  })
})
