/** Instances that are restarted (F31) or replaced by the next version (F25) while people sign in: nobody notices. */
import { cpSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals'
import * as oidc from 'openid-client'
import { type Database, openDatabase } from '../../src/platform/postgres.ts'
import { type Balancer, startBalancer } from '../support/balancer.ts'
import { createBrowser } from '../support/browser.ts'
import { authorization, discover, PASSWORD, redeem, SETTINGS } from '../support/journeys.ts'
import { until } from '../support/processes.ts'
import { DEEP, generator, SEED } from '../support/sample.ts'
import { seedPeople } from '../support/seeded_people.ts'
import { realStores, type Server, type ServerOptions, startServer } from '../support/server.ts'
import { freePort, scratchFolder } from '../support/services.ts'

// Processes that start one after the other take their time on a busy machine.
jest.setTimeout(180_000)

const LOGINS = DEEP ? 500 : 30
const LANES = DEEP ? 40 : 12
/** Beside a third instance, which starts and migrates meanwhile: more would be too many for two cores, and told to wait in line. */
const LANES_OF_THREE = 12
/** How long people look at a page, at the most. */
const THINK_MS = 1500
const OWN = 'https://own.test.example'
const random = generator(SEED)

let balancer: Balancer
let servers: readonly Server[]
let people: string[]
let client: oidc.Configuration
let database: Database
let options: ServerOptions

beforeAll(async () => {
  balancer = await startBalancer(await freePort())
  const stores = await realStores()
  const settings = {
    ...{ ...SETTINGS, drain_seconds: 2 },
    limits: { sign_in_per_address: 1_000_000, sign_in_per_identifier: 1_000_000 },
  }
  options = { settings, stores, issuer: balancer.origin, process: 'own', env: { TRUSTED_PROXIES: '127.0.0.1' } }
  servers = [await startServer(options), await startServer(options)]
  database = await openDatabase({ databaseUrl: stores.databaseUrl })
  balancer.serve(servers.map(({ origin }) => origin))
  await until(() => balancer.ready().length === 2)
  people = await seedPeople(stores.databaseUrl, servers[0]?.env.GENKAN_SECRET_KEYS ?? '', LOGINS)
  client = await discover(balancer.origin, 'own')
})
afterAll(async () => {
  await balancer?.stop()
  await database?.close()
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

/** So many people sign in at once and without pause while `work` goes on, and until there were `least` of them. */
async function signInDuring(
  atOnce: number,
  least: number,
  work: (logins: readonly Login[]) => Promise<void>,
): Promise<readonly Login[]> {
  const logins: Login[] = []
  let over = false
  let next = 0
  const lane = async () => {
    while (!over || logins.length < least) {
      const email = people[next++ % people.length] ?? ''
      const began = performance.now()
      const failure = await logIn(email).then(
        () => undefined,
        (error: Error) => `${error.message} ${String(error.cause ?? '')}`,
      )
      logins.push({ began, ended: performance.now(), failure })
    }
  }
  const lanes = Array.from({ length: atOnce }, lane)
  await until(() => logins.length >= atOnce / 2)
  await work(logins).finally(() => {
    over = true
  })
  await Promise.all(lanes)
  return logins
}

const failuresOf = (logins: readonly Login[]) => logins.flatMap(({ failure }) => failure ?? [])

describe('F31: a rolling restart', () => {
  it(`of two instances while people sign in (${LOGINS} at least): no login fails`, async () => {
    const restarts: number[] = []
    const logins = await signInDuring(LANES, LOGINS, async () => {
      for (const server of servers) {
        restarts.push(performance.now())
        expect(await server.stop()).toBe(0)
        expect(balancer.ready()).toHaveLength(1)
        restarts.push(performance.now())
        await server.restart()
        await until(() => balancer.ready().length === 2)
      }
    })
    expect(failuresOf(logins)).toEqual([])
    expect(logins.length).toBeGreaterThanOrEqual(LOGINS)
    // Of the logins, those that an instance left in the middle: without them the test would show nothing.
    const crossed = logins.filter(({ began, ended }) => restarts.some((at) => began < at && at < ended))
    expect(crossed.length).toBeGreaterThanOrEqual(LANES)
  })
})

// A copy of the whole tree takes its time. `npm run test:faults` has it as a row, too.
if (DEEP)
  describe('F25: the next version', () => {
    it('migrates and serves beside this one, which then goes: no login fails, sessions are known to both', async () => {
      const root = await nextVersion()
      let newer: Server | undefined
      let mixed: readonly Login[] = []
      try {
        const logins = await signInDuring(LANES_OF_THREE, LANES_OF_THREE * 3, async (done) => {
          newer = await startServer({ ...options, root })
          balancer.serve([...servers, newer].map(({ origin }) => origin))
          await until(() => balancer.ready().length === 3)
          const from = done.length
          await until(() => done.length >= from + LANES_OF_THREE)
          mixed = done.slice(from)
          for (const server of servers) expect(await server.stop()).toBe(0)
          await until(() => balancer.ready().length === 1)
        })
        expect(failuresOf(logins)).toEqual([])
        expect(mixed.length).toBeGreaterThanOrEqual(LANES_OF_THREE)
        const { rows } = await database.db.raw("select to_regclass('tomorrow') is not null as there")
        expect(rows).toEqual([{ there: true }])
      } finally {
        await newer?.close()
      }
    })
  })

/** This tree with one more migration, which expands tables that every login reads and writes. */
async function nextVersion(): Promise<string> {
  const root = await scratchFolder('next-')
  for (const part of ['src', 'views', 'migrations', 'package.json']) cpSync(part, join(root, part), { recursive: true })
  symlinkSync(join(process.cwd(), 'node_modules'), join(root, 'node_modules'))
  const up = `export async function up(db) {
    await db.raw(\`
      create table tomorrow (account_id text primary key references accounts (id) on delete cascade);
      alter table accounts add column tomorrow text;
      alter table sessions add column tomorrow boolean not null default false;
      alter table outbox add column tomorrow text;
    \`)
  }`
  writeFileSync(join(root, 'migrations/209901010000_platform_expand_tomorrow.ts'), up)
  return root
}
