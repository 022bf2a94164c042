/** F14 to F22: the database. */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { PASSWORD } from '../../support/journeys.ts'
import { codeFrom } from '../../support/mailbox.ts'
import * as acts from '../acts.ts'
import type { Case, Stage } from '../case.ts'
import { readiness, statusOf, until } from '../world.ts'
import { attempt, freshCode, machineToken, reason, wholeSignIn } from './attempt.ts'
import { F22 } from './embedded.ts'
import { connection, tokensGoOn } from './past_product.ts'
import { F20, F21 } from './postgres_refusals.ts'

/** The processes that answer the product; `faults` are our own questions. */
async function backends({ world }: Stage): Promise<number[]> {
  const rows = await world.sql<{ pid: number }>(`select pid from pg_stat_activity where application_name = 'genkan'`)
  return rows.map(({ pid }) => pid)
}

/** Repeats something until it is stopped. */
function repeatedly(everyMs: number, work: () => Promise<unknown>): { stop(): Promise<void> } {
  let stopped = false
  const running = (async () => {
    while (!stopped) {
      await work().catch(() => {})
      await sleep(everyMs)
    }
  })()
  return {
    stop: async () => {
      stopped = true
      await running
    },
  }
}

const F16: Case = (() => {
  const stopped = new Set<number>()
  const tokens = new WeakMap<object, string>()
  return {
    ...{ id: 'F16', title: 'backends of PostgreSQL hang', cuts: true },
    async inject(stage) {
      tokens.set(stage, (await wholeSignIn(stage, 'openid')).refresh_token)
      for (let each = 0; each < 4; each++) await machineToken(stage)
      const pids = await backends(stage)
      for (const pid of pids) {
        stopped.add(pid)
        process.kill(pid, 'SIGSTOP')
      }
      stage.check(pids.length > 0, 'no backend was there to be stopped')
    },
    async during(stage) {
      const end = Date.now() + stage.lasting(30_000, 6000)
      let token = tokens.get(stage) ?? ''
      while (Date.now() < end) {
        token = await tokensGoOn(stage, token)
        const page = await attempt(freshCode(stage))
        stage.check(page.error === undefined, `a sign-in: ${reason(page)}`)
        await sleep(500)
      }
    },
    async heal() {
      for (const pid of stopped) {
        try {
          process.kill(pid, 'SIGCONT')
        } catch {}
      }
      stopped.clear()
    },
  }
})()

/** F17: sign-ins that wait for SQL fill the pool; tokens do not wait behind them. */
async function behindALock(stage: Stage): Promise<void> {
  const { world, check } = stage
  let { refresh_token: token } = await wholeSignIn(stage, 'openid')
  // Clients that are in use are known to every instance.
  for (let each = 0; each < 4; each++) await machineToken(stage)
  const holder = await connection(stage)
  await holder.query('begin')
  await holder.query('lock table accounts in access exclusive mode')
  const end = Date.now() + stage.lasting(20_000, 6000)
  // Each is somebody else: nobody's tries are used up.
  const flood = Array.from({ length: 30 }, async () => {
    while (Date.now() < end) {
      const stranger = { email: acts.newEmail('flood'), password: PASSWORD, sub: '', browser: world.person() }
      const { error } = await attempt(acts.signInPage(world, 'spa', stranger))
      check(error === undefined, `a sign-in behind a lock: ${error}`)
    }
  })
  await sleep(500)
  const waits: number[] = []
  while (Date.now() < end) {
    const began = Date.now()
    token = await tokensGoOn(stage, token)
    waits.push(Date.now() - began)
    await sleep(100)
  }
  await Promise.all(flood)
  await holder.query('rollback')
  check(Math.max(...waits) < 3000, `tokens waited ${Math.max(...waits)} ms beside the flood`)
  check(world.instances.length > 0, 'nobody is there')
}

/** F18: how many of many acts fail while every backend is killed each second. */
async function underKills(stage: Stage): Promise<void> {
  const { world, check } = stage
  const end = Date.now() + stage.lasting(60_000, 8000)
  const killer = repeatedly(1000, () =>
    world.sql(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'genkan'`),
  )
  const counts = { done: 0, not: 0 }
  const why = new Map<string, number>()
  const lane = async (work: () => Promise<unknown>) => {
    while (Date.now() < end) {
      const { value, refused, error } = await attempt(work())
      if (value !== undefined) counts.done += 1
      else {
        counts.not += 1
        const text = refused ?? error ?? ''
        why.set(text.slice(0, 80), (why.get(text.slice(0, 80)) ?? 0) + 1)
      }
      await sleep(50)
    }
  }
  await Promise.all([lane(() => machineToken(stage)), lane(() => wholeSignIn(stage)), lane(() => freshCode(stage))])
  await killer.stop()
  const rate = counts.not / Math.max(1, counts.done + counts.not)
  const reasons = [...why].map(([text, count]) => `${count} × ${text}`).join('; ')
  check(rate < 0.05, `${counts.not} of ${counts.done + counts.not} acts failed: ${reasons}`)
}

/** Of F19: idle connections that leave none to the product. */
let holders: pg.Client[] = []

export const POSTGRES: readonly Case[] = [
  {
    ...{ id: 'F14', title: 'PostgreSQL down at start', unready: true, cuts: true },
    inject: ({ world }) => world.postgres.stop(),
    async during(stage) {
      const newcomer = await stage.world.join({ wait: false })
      stage.later(() => stage.world.leave(newcomer))
      const { managementOrigin } = newcomer.server
      await until(async () => (await statusOf(`${managementOrigin}/livez`)) === 200, 15_000, 'the newcomer lives')
      await sleep(stage.lasting(10_000, 2000))
      stage.check((await readiness(newcomer.server)) === 503, 'the newcomer says that it is ready')
    },
    heal: ({ world }) => world.postgres.start(),
  },
  {
    ...{ id: 'F15', title: 'PostgreSQL crashes', unready: true, quick: true },
    async inject(stage) {
      const { world } = stage
      for (let each = 0; each < 4; each++) await machineToken(stage)
      const [before, during] = [acts.newEmail('before'), acts.newEmail('during')]
      const browser = world.person()
      const begun = await acts.beginRegistration(world, 'web', before, browser)
      const code = codeFrom(await world.mailbox.to(before))
      await world.postgres.kill()
      const refused = await attempt(acts.step(browser, begun.sent, '/verify_email', { code }))
      stage.check(refused.refused !== undefined, `a code while the database is away: ${reason(refused)}`)
      const other = await attempt(acts.beginRegistration(world, 'web', during, world.person()))
      stage.check(other.refused !== undefined, `a registration while the database is away: ${reason(other)}`)
      stage.later(async () => {
        const page = await browser.get(begun.sent.url)
        const verified = await browser.submit(page, { code }, { form: '/verify_email' })
        stage.check(
          verified.status < 400,
          `the same code afterwards: ${verified.status} ${verified.text.slice(0, 100)}`,
        )
      })
    },
    async during(stage) {
      await sleep(stage.lasting(20_000, 2000))
      const machine = await attempt(machineToken(stage))
      stage.check(machine.value !== undefined, `client credentials: ${reason(machine)}`)
    },
    heal: ({ world }) => world.postgres.start(),
  },
  F16,
  {
    ...{ id: 'F17', title: 'PostgreSQL slow, and a table locked' },
    async inject({ world }) {
      world.all('postgres', (proxy) => proxy.set({ kind: 'delay', milliseconds: 150, jitter: 50 }))
    },
    async during(stage) {
      const slow = await attempt(wholeSignIn(stage))
      stage.check(slow.value !== undefined, `300 ms a statement later: ${reason(slow)}`)
      await sleep(stage.lasting(10_000, 500))
      stage.world.all('postgres', (proxy) => proxy.set({ kind: 'none' }))
      await behindALock(stage)
    },
    heal: async ({ world }) => world.all('postgres', (proxy) => proxy.set({ kind: 'none' })),
  },
  {
    ...{ id: 'F18', title: 'backends killed each second', cuts: true },
    inject: underKills,
    heal: async () => {},
  },
  {
    ...{ id: 'F19', title: 'no more connections to be had', world: { postgres: 'postgres_narrow', count: 1 } },
    async inject(stage) {
      holders = []
      for (let taken = 0; taken < 12; taken++) {
        const holder = await connection(stage).catch(() => undefined)
        if (holder !== undefined) holders.push(holder)
      }
    },
    async during(stage) {
      const ends = await Promise.all(Array.from({ length: 40 }, () => attempt(freshCode(stage))))
      const wrong = ends.filter(({ error }) => error !== undefined)
      stage.check(wrong.length === 0, `without connections: ${wrong[0]?.error} (${wrong.length} of 40)`)
      await sleep(stage.lasting(10_000, 2000))
    },
    async heal() {
      await Promise.all(holders.map((holder) => holder.end()))
    },
  },
  F20,
  F21,
  F22,
]
