/** F23 to F25: several versions, several instances, one schema. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startFaultProxy } from '../../support/fault_proxy.ts'
import { SETTINGS } from '../../support/journeys.ts'
import { authorizationRequest } from '../../support/people.ts'
import { startServer } from '../../support/server.ts'
import { createProcess } from '../../support/server_process.ts'
import { scratchFolder, startRedis } from '../../support/services.ts'
import * as acts from '../acts.ts'
import type { Case, Stage } from '../case.ts'
import { olderTree } from '../older.ts'
import { readiness } from '../world.ts'
import { attempt, reason } from './attempt.ts'

let databases = 0

/** A new, empty database of the world's PostgreSQL. */
async function newDatabase({ world }: Stage): Promise<string> {
  databases += 1
  const name = `faults_${process.pid}_${databases}`
  await world.sql(`create database ${name}`)
  const url = new URL(world.postgres.url)
  url.pathname = `/${name}`
  return url.href
}

async function inDatabase<Row extends object>(url: string, statement: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Row>(statement)).rows
  } finally {
    await client.end()
  }
}

/** Tables, columns and indexes, as text. */
async function schemaOf(url: string): Promise<string> {
  const columns = await inDatabase<{ line: string }>(
    url,
    `select table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '') as line
     from information_schema.columns where table_schema = 'public' order by 1`,
  )
  const indexes = await inDatabase<{ line: string }>(
    url,
    `select indexdef as line from pg_indexes where schemaname = 'public' order by 1`,
  )
  return [...columns, ...indexes].map(({ line }) => line).join('\n')
}

const migrationsOf = async (url: string) =>
  (await inDatabase<{ name: string }>(url, 'select name from migrations order by name')).map(({ name }) => name)

/** Runs `genkan migrate` as a process that can be killed. */
async function migration(databaseUrl: string, key: string, root?: string) {
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: await scratchFolder('migrate-'),
    DATA_DIR: await scratchFolder('migrate-'),
    ...{ DATABASE_URL: databaseUrl, GENKAN_SECRET_KEYS: key, GENKAN_ISSUER: 'http://localhost:3000' },
    REDIS_URL: (await startRedis()).url,
  }
  const made = createProcess(['migrate'], env, root === undefined ? {} : { root })
  await made.start(env)
  return made
}

const newKey = () => randomBytes(32).toString('base64')

/** F23: an empty database, or one of the version before, and two instances at once. */
async function atOnce(stage: Stage, times: number): Promise<void> {
  const { check } = stage
  const schemas = new Set<string>()
  for (let time = 0; time < times; time++) {
    const databaseUrl = await newDatabase(stage)
    const key = newKey()
    if (time % 2 === 1) await (await migration(databaseUrl, key, olderTree())).exited()
    const stores = { databaseUrl, redisUrl: (await startRedis()).url }
    const start = () => startServer({ settings: SETTINGS, stores, process: 'own', env: { GENKAN_SECRET_KEYS: key } })
    const servers = await Promise.all([start(), start()])
    const sets = await Promise.all(servers.map(async ({ origin }) => (await fetch(`${origin}/jwks`)).text()))
    check(new Set(sets).size === 1, 'two instances have different keys')
    await Promise.all(servers.map((server) => server.close()))
    schemas.add(await schemaOf(databaseUrl))
    const names = await migrationsOf(databaseUrl)
    check(new Set(names).size === names.length, 'a migration ran twice')
  }
  check(schemas.size === 1, `${schemas.size} different schemas`)
}

/** F24: killed at any point, while the version before serves. */
async function killedMidway(stage: Stage, count: number): Promise<void> {
  const { check } = stage
  const [databaseUrl, key] = [await newDatabase(stage), newKey()]
  const stores = { databaseUrl, redisUrl: (await startRedis()).url }
  const root = olderTree()
  const env = { GENKAN_SECRET_KEYS: key }
  const older = await startServer({ settings: SETTINGS, stores, root, process: 'own', env })
  stage.later(() => older.close())
  const proxy = await startFaultProxy(databaseUrl)
  stage.later(() => proxy.stop())
  const before = (await migrationsOf(databaseUrl)).length
  for (let time = 0; time < count; time++) {
    proxy.set({ kind: 'hold_nth', nth: 2 + Math.floor(stage.random() * 12) })
    const made = await migration(proxy.url, key)
    await Promise.race([proxy.caught(), made.exited(), sleep(20_000)])
    await made.end('SIGKILL')
    if (stage.random() < 0.5) proxy.release()
    else proxy.drop()
    const status = await readiness(older)
    check(status === 200, `the version before is ${status} beside a migration that was killed`)
    const machine = await attempt(
      acts.tokens({ issuer: older.origin }, 'machine', {
        grant_type: 'client_credentials',
        resource: 'https://api.test.example',
      }),
    )
    check(machine.value !== undefined, `the version before: ${reason(machine)}`)
  }
  proxy.set({ kind: 'none' })
  const last = await migration(proxy.url, key)
  check((await last.exited()) === 0, `the last migration failed: ${last.logs().slice(-3).join(' ')}`)
  check((await migrationsOf(databaseUrl)).length > before, 'nothing was migrated')
  const fresh = await newDatabase(stage)
  await (await migration(fresh, key)).exited()
  check((await schemaOf(fresh)) === (await schemaOf(databaseUrl)), 'the schema is another than of an empty database')
}

/** F25: people go from one version to the other and back, in the middle of what they do. */
async function mixed(stage: Stage): Promise<void> {
  const { world, check } = stage
  const [older] = world.instances
  const newer = await world.join()
  if (older === undefined) return
  const end = Date.now() + stage.lasting(60_000, 6000)
  while (Date.now() < end) {
    for (const [here, there] of [
      [older, newer],
      [newer, older],
    ] as const) {
      world.route(here)
      const email = acts.newEmail('mixed')
      const began = await attempt(acts.register(world, 'web', email))
      check(began.value !== undefined, `a registration at one version: ${reason(began)}`)
      world.route(there)
      const { account, tokens } = began.value ?? {}
      if (account === undefined || tokens === undefined) continue
      const ask = authorizationRequest(world.issuer, 'web', { prompt: 'none', scope: 'openid email' })
      const seen = await account.browser.get(ask.url)
      check(seen.params.has('code'), `a session of the other version: ${seen.params.get('error') ?? seen.status}`)
      const signedIn = await attempt(acts.signIn(world, 'spa', acts.elsewhere(world, account)))
      check(signedIn.value !== undefined, `a sign-in at the other version: ${reason(signedIn)}`)
      world.route(here)
      if (signedIn.value === undefined) continue
      const redeemed = await attempt(acts.redeem(world, signedIn.value.code))
      check(redeemed.value !== undefined, `a code of the other version: ${reason(redeemed)}`)
    }
  }
  world.route()
  await sleep(stage.mode === 'load' ? 3000 : 0)
}

export const MIGRATIONS: readonly Case[] = [
  {
    ...{ id: 'F23', title: 'two instances migrate at once' },
    inject: (stage) => atOnce(stage, stage.lasting(20, 2)),
    heal: async () => {},
  },
  {
    ...{ id: 'F24', title: 'a migration is killed midway' },
    inject: (stage) => killedMidway(stage, stage.lasting(20, 4)),
    heal: async () => {},
  },
  {
    // The load runs on both versions: nothing of it may fail.
    ...{ id: 'F25', title: 'two versions at the same time', harmless: true },
    world: { count: 1, first: () => ({ root: olderTree() }) },
    inject: mixed,
    heal: async ({ world }) => world.route(),
  },
]
