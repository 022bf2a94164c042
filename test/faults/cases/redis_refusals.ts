/** F10, F13: Redis is another one, or lets nobody in. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { startFaultProxy } from '../../support/fault_proxy.ts'
import { startBreakable } from '../../support/services.ts'
import * as acts from '../acts.ts'
import type { Case, Stage } from '../case.ts'
import { until } from '../world.ts'
import { attempt, unspent } from './attempt.ts'

/** F10: what was used and revoked in the gap, and where the product is led then. */
async function failOver(stage: Stage): Promise<void> {
  const { world, check } = stage
  const replica = await startBreakable('redis')
  stage.later(() => replica.stop())
  const link = await startFaultProxy(world.redis.url)
  stage.later(() => link.stop())
  const told = (...words: readonly string[]) => tell(replica.url, words)
  await told('REPLICAOF', '127.0.0.1', String(link.port))
  const linked = async () => String(await told('INFO', 'replication')).includes('master_link_status:up')
  await until(linked, 15_000, 'the replica follows')
  // Now: a master that gets its first replica begins another history.
  const { code, token, other } = await unspent(stage)
  await until(async () => Number(await told('DBSIZE')) > 0, 15_000, 'the replica has it')
  link.set({ kind: 'blackhole' })
  const redeemed = await acts.redeem(world, code)
  const fields = { grant_type: 'refresh_token', refresh_token: token }
  const successor = await acts.tokens(world, 'spa', fields)
  const revoked = await acts.post(world, '/token/revocation', 'spa', { token: other })
  check(revoked.status === 200, `the revocation was answered ${revoked.status}`)
  await sleep(2000)
  await told('REPLICAOF', 'NO', 'ONE')
  world.all('redis', (proxy) => proxy.retarget(replica.url))
  await world.redis.kill()
  await until(world.ready, 10_000, 'ready on the replica')
  const again = await attempt(acts.redeem(world, code))
  check(again.value === undefined, 'a code that was used in the gap was redeemed again')
  const refreshed = await attempt(acts.tokens(world, 'spa', fields))
  const same = refreshed.value === undefined || refreshed.value.refresh_token === successor.refresh_token
  check(same, 'a refresh token that was used in the gap led to a second family')
  const dead = await attempt(acts.tokens(world, 'spa', { ...fields, refresh_token: other }))
  check(dead.value === undefined, 'a refresh token that was revoked in the gap works again')
  check(redeemed.refresh_token !== '', 'no tokens')
}

async function tell(url: string, words: readonly string[]): Promise<unknown> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null })
  client.on('error', () => {})
  await client.connect()
  try {
    return await client.call(words[0] ?? 'PING', ...words.slice(1))
  } finally {
    client.disconnect()
  }
}

/** Connections that the product asks for in a second, at the most. */
async function attemptsASecond({ world }: Stage, milliseconds: number): Promise<number> {
  const all = () => world.instances.reduce((sum, { redis }) => sum + redis.accepted(), 0)
  const before = all()
  await sleep(milliseconds)
  return ((all() - before) * 1000) / milliseconds / world.instances.length
}

const logged = ({ world }: Stage, what: RegExp) =>
  world.instances.some(({ server }) => server.logs().some((line) => what.test(line)))

/** Holds the one connection that is left, and speaks for the operator. */
let control: Redis | undefined

export const F10: Case = {
  ...{ id: 'F10', title: 'failover that loses the last two seconds', forgets: true, cuts: true, world: {} },
  inject: failOver,
  heal: async () => {},
}

export const F13: Case = {
  ...{ id: 'F13', title: 'Redis takes no more clients, or another password', unready: true, cuts: true },
  async inject(stage) {
    control = new Redis(stage.world.redis.url)
    control.on('error', () => {})
    stage.later(async () => control?.disconnect())
    await control.config('SET', 'maxclients', '1')
    await control.call('CLIENT', 'KILL', 'TYPE', 'normal')
    await control.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  },
  async during(stage) {
    const { check } = stage
    const storm = await attemptsASecond(stage, stage.lasting(10_000, 4000))
    check(storm <= 12, `${storm.toFixed(1)} connections are asked for in a second by each instance`)
    check(logged(stage, /max number of clients/), 'no line of the log says that Redis takes no more clients')
    await control?.config('SET', 'requirepass', 'nobody-knows-it')
    await control?.config('SET', 'maxclients', '1000')
    const changed = await attemptsASecond(stage, stage.lasting(10_000, 3000))
    check(changed <= 12, `with another password: ${changed.toFixed(1)} connections in a second`)
    check(logged(stage, /NOAUTH|WRONGPASS/), 'no line of the log says that Redis wants a password')
  },
  async heal() {
    await control?.config('SET', 'maxclients', '1000')
    await control?.config('SET', 'requirepass', '')
  },
}
