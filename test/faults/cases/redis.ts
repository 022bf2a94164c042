/** F01 to F13: the store of sessions, codes and counters. */
import { setTimeout as sleep } from 'node:timers/promises'
import { authorizationRequest } from '../../support/people.ts'
import type { Code, NotDone } from '../acts.ts'
import * as acts from '../acts.ts'
import type { Case, Stage } from '../case.ts'
import { type Instance, readiness, statusOf, until } from '../world.ts'
import { attempt, freshCode, reason, unspent, wholeSignIn } from './attempt.ts'
import { F10, F13 } from './redis_refusals.ts'

/** What needs no store is served; what needs one is refused in its own words. */
async function servesDocumentsOnly({ world, check }: Stage): Promise<void> {
  for (const path of ['/.well-known/openid-configuration', '/jwks']) {
    const status = await statusOf(world.issuer + path)
    check(status === 200, `${path} was answered ${status}`)
  }
  const { url } = authorizationRequest(world.issuer, 'spa')
  const page = await world.person().get(url)
  const refused = page.status === 503 || page.params.get('error') === 'temporarily_unavailable'
  check(refused, `a sign-in was answered ${page.status} ${page.params.get('error') ?? ''}`)
}

/** Requests at the same moment: all of them are refused, and none waits. */
async function refusesAtOnce({ world, check }: Stage, count: number): Promise<void> {
  const fields = { grant_type: 'refresh_token', refresh_token: 'x'.repeat(43) }
  const ends = await Promise.allSettled(Array.from({ length: count }, () => acts.post(world, '/token', 'spa', fields)))
  const refused = ends.filter((end) => end.status === 'rejected' && (end.reason as NotDone).kind === 'refused')
  check(refused.length === count, `${count - refused.length} of ${count} requests were not refused with 503`)
}

/** Whoever starts meanwhile listens, says that it is not ready, and comes up by itself. */
async function startsMeanwhile(stage: Stage): Promise<Instance> {
  const newcomer = await stage.world.join({ wait: false })
  stage.later(() => stage.world.leave(newcomer))
  const { managementOrigin } = newcomer.server
  await until(async () => (await statusOf(`${managementOrigin}/livez`)) === 200, 15_000, 'the newcomer lives')
  await sleep(stage.lasting(10_000, 2000))
  const status = await readiness(newcomer.server)
  stage.check(status === 503, `/readyz of the newcomer was answered ${status}`)
  return newcomer
}

/** F06, F09: no writes. What takes something away must win all the same; nothing is done twice for it. */
function withoutWrites(id: string, title: string, on: readonly string[], off: readonly string[]): Case {
  const state = new WeakMap<object, Awaited<ReturnType<typeof unspent>> & { redeemed: number; revoked: boolean }>()
  return {
    ...{ id, title },
    async inject(stage) {
      state.set(stage, { ...(await unspent(stage)), redeemed: 0, revoked: false })
      await stage.world.command(...on)
    },
    async during(stage) {
      const mine = state.get(stage)
      if (mine === undefined) return
      const { world, check } = stage
      const page = await world.person().get(authorizationRequest(world.issuer, 'spa').url)
      const lawful = [200, 503].includes(page.status) || page.params.get('error') === 'temporarily_unavailable'
      check(lawful, `a sign-in was answered ${page.status}`)
      const revoked = await attempt(acts.post(world, '/token/revocation', 'spa', { token: mine.token }))
      mine.revoked = revoked.value?.status === 200
      check(mine.revoked, `a revocation did not win: ${revoked.refused ?? revoked.error ?? revoked.value?.status}`)
      for (let times = 0; times < 2; times++) {
        const redeemed = await attempt(acts.redeem(world, mine.code))
        if (redeemed.value !== undefined) mine.redeemed += 1
        const clean = redeemed.error === undefined || redeemed.error.includes('invalid_grant')
        check(clean, `redeeming: ${redeemed.error}`)
      }
      await sleep(stage.lasting(10_000, 2000))
    },
    heal: async ({ world }) => void (await world.command(...off)),
    async after(stage) {
      const mine = state.get(stage)
      if (mine === undefined) return
      const { world, check } = stage
      const again = await attempt(acts.redeem(world, mine.code))
      if (again.value !== undefined) mine.redeemed += 1
      check(mine.redeemed <= 1, `a code was redeemed ${mine.redeemed} times`)
      const fields = { grant_type: 'refresh_token', refresh_token: mine.token }
      const { status } = await acts.post(world, '/token', 'spa', fields)
      check(!mine.revoked || status === 400, `a token that was revoked meanwhile was answered ${status}`)
    },
  }
}

export const REDIS: readonly Case[] = [
  {
    ...{ id: 'F01', title: 'Redis down at start', unready: true },
    async inject({ world }) {
      await world.redis.stop()
    },
    during: async (stage) => void (await startsMeanwhile(stage)),
    heal: ({ world }) => world.redis.start(),
  },
  {
    ...{ id: 'F02', title: 'Redis killed mid-run', unready: true, quick: true },
    inject: ({ world }) => world.redis.kill(),
    async during(stage) {
      await until(async () => !(await stage.world.ready()), 5000, 'not ready')
      await servesDocumentsOnly(stage)
      await sleep(stage.lasting(60_000, 3000))
    },
    heal: ({ world }) => world.redis.start(),
  },
  {
    ...{ id: 'F03', title: 'Redis hung', unready: true },
    inject: ({ world }) => world.redis.pause(),
    async during(stage) {
      await refusesAtOnce(stage, 40)
      await servesDocumentsOnly(stage)
      await sleep(stage.lasting(30_000, 3000))
      await refusesAtOnce(stage, 40)
    },
    heal: ({ world }) => world.redis.resume(),
  },
  {
    ...{ id: 'F04', title: 'Redis slow' },
    async inject({ world }) {
      world.all('redis', (proxy) => proxy.set({ kind: 'delay', milliseconds: 200, jitter: 50 }))
    },
    async during(stage) {
      const { world, check } = stage
      const slow = await attempt(wholeSignIn(stage))
      check(slow.value !== undefined, `200 ms later: ${reason(slow)}`)
      await sleep(stage.lasting(10_000, 1000))
      world.all('redis', (proxy) => proxy.set({ kind: 'delay', milliseconds: 2000 }))
      await refusesAtOnce(stage, 20)
      await sleep(stage.lasting(10_000, 2000))
      world.all('redis', (proxy) => proxy.set({ kind: 'none' }))
      await world.redis.pause()
      await sleep(5000)
      await world.redis.resume()
    },
    async heal({ world }) {
      world.all('redis', (proxy) => proxy.set({ kind: 'none' }))
      await world.redis.resume()
    },
  },
  {
    ...{ id: 'F05', title: 'Redis takes no writes for a while' },
    inject: async (stage) =>
      void (await stage.world.command('CLIENT', 'PAUSE', String(stage.lasting(10_000, 4000)), 'WRITE')),
    async during(stage) {
      const { world, check } = stage
      const end = Date.now() + stage.lasting(10_000, 4000)
      const issued: Code[] = []
      while (Date.now() < end) {
        const { value, error } = await attempt(freshCode(stage))
        if (value !== undefined) issued.push(value)
        check(error === undefined || error.includes('no /'), `a sign-in: ${error}`)
      }
      for (const code of issued) {
        const { value, refused, error } = await attempt(acts.redeem(world, code))
        check(value !== undefined, `a code was issued and not stored: ${refused ?? error}`)
      }
    },
    heal: async ({ world }) => void (await world.command('CLIENT', 'UNPAUSE')),
  },
  withoutWrites(
    ...(['F06', 'Redis full', ['CONFIG', 'SET', 'maxmemory', '1mb'], ['CONFIG', 'SET', 'maxmemory', '0']] as const),
  ),
  {
    ...{ id: 'F07', title: 'Redis may evict what it likes' },
    inject: async ({ world }) => void (await world.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')),
    async during(stage) {
      const newcomer = await stage.world.join({ wait: false })
      stage.later(() => stage.world.leave(newcomer))
      const alarmed = () => newcomer.server.logs().some((line) => /evict|maxmemory-policy/.test(line))
      const heard = await until(alarmed, 15_000, 'an alarm').catch(() => undefined)
      stage.check(heard !== undefined, 'a start on a Redis that evicts neither refuses nor warns')
    },
    heal: async ({ world }) => void (await world.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')),
  },
  {
    ...{ id: 'F08', title: 'Redis is a replica', unready: true },
    inject: async ({ world }) => void (await world.command('REPLICAOF', '127.0.0.1', '1')),
    async during(stage) {
      await sleep(stage.lasting(10_000, 3000))
      await servesDocumentsOnly(stage)
    },
    heal: async ({ world }) => void (await world.command('REPLICAOF', 'NO', 'ONE')),
  },
  withoutWrites(
    'F09',
    'too few replicas',
    ['CONFIG', 'SET', 'min-replicas-to-write', '1'],
    ['CONFIG', 'SET', 'min-replicas-to-write', '0'],
  ),
  F10,
  {
    ...{ id: 'F11', title: 'Redis emptied', forgets: true },
    async inject({ world }) {
      await world.command('FLUSHALL')
    },
    async during({ world }) {
      await world.redis.kill()
      await sleep(500)
    },
    heal: ({ world }) => world.redis.start(),
  },
  {
    ...{ id: 'F12', title: 'half-open sockets', unready: true, cuts: true },
    async inject({ world }) {
      for (const which of ['redis', 'postgres'] as const) world.all(which, (proxy) => proxy.set({ kind: 'blackhole' }))
    },
    async during(stage) {
      const noticed = async () =>
        (await Promise.all(stage.world.instances.map(({ server }) => readiness(server)))).every((is) => is === 503)
      await until(noticed, 15_000, 'noticed')
      await refusesAtOnce(stage, 10)
      await sleep(stage.lasting(20_000, 3000))
    },
    async heal({ world }) {
      for (const which of ['redis', 'postgres'] as const) world.all(which, (proxy) => proxy.set({ kind: 'none' }))
    },
  },
  F13,
]
