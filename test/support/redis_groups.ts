/** Sets of Redis servers that decide among themselves who is master, for the services process only. */
import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { binary } from './binaries.ts'
import { createRedisServer, createSentinelServer, type PrivateServer, redisSays } from './private_servers.ts'

export interface RedisGroup {
  /** As `REDIS_URL` names it. */
  readonly url: string
  /** The servers that hold data. */
  readonly nodes: readonly PrivateServer[]
  readonly others: readonly PrivateServer[]
}

/** How many ports in a row each takes. */
export const GROUP_PORTS: { readonly [kind: string]: number } = { redis_sentinels: 5, redis_nodes: 12 }

const READY_MS = 60_000
const NODES = [0, 1, 2, 3, 4, 5]

/** A master, its replica, and three sentinels that agree on both. */
export async function createSentinelSet(folder: string, port: number): Promise<RedisGroup> {
  const sentinelPorts = [port + 2, port + 3, port + 4]
  const quickly = ['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1']
  const nodes = [
    await createRedisServer(`${folder}-node-0`, port, quickly),
    await createRedisServer(`${folder}-node-1`, port + 1, [...quickly, '--replicaof', '127.0.0.1', String(port)]),
  ]
  const others = await Promise.all(
    sentinelPorts.map((each) => createSentinelServer(`${folder}-sentinel-${each}`, each, port)),
  )
  await Promise.all(nodes.map((node) => node.start()))
  await until('the replica follows', async () =>
    (await redisSays(port + 1, 'INFO replication')).includes('master_link_status:up'),
  )
  await Promise.all(others.map((sentinel) => sentinel.start()))
  for (const each of sentinelPorts)
    await until('the sentinels know each other and the replica', async () => {
      const quorum = await redisSays(each, 'SENTINEL CKQUORUM mymaster')
      return /OK 3/.test(quorum) && (await redisSays(each, 'SENTINEL REPLICAS mymaster')).startsWith('*1')
    })
  const hosts = sentinelPorts.map((each) => `127.0.0.1:${each}`).join(',')
  return { url: `redis+sentinel://${hosts}/mymaster`, nodes, others }
}

/** Three masters with a replica each. */
export async function createRedisCluster(folder: string, port: number): Promise<RedisGroup> {
  const settings = (index: number) => [
    ...['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--cluster-port', String(port + 6 + index)],
    ...['--repl-diskless-sync-delay', '0', '--databases', '1'],
  ]
  const nodes = await Promise.all(
    NODES.map((index) => createRedisServer(`${folder}-node-${index}`, port + index, settings(index))),
  )
  await Promise.all(nodes.map((node) => node.start()))
  const hosts = NODES.map((index) => `127.0.0.1:${port + index}`)
  await promisify(execFile)(binary('redis-cli'), [
    ...['--cluster', 'create', ...hosts, '--cluster-replicas', '1', '--cluster-yes'],
  ])
  for (const index of NODES)
    await until('the cluster serves its slots with its replicas', async () => {
      const state = await redisSays(port + index, 'CLUSTER INFO')
      const replication = await redisSays(port + index, 'INFO replication')
      return state.includes('cluster_state:ok') && /master_link_status:up|connected_slaves:1/.test(replication)
    })
  return { url: `redis+cluster://${hosts.slice(0, 3).join(',')}`, nodes, others: [] }
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + READY_MS
  while (!(await holds().catch(() => false))) {
    if (Date.now() > end) throw new Error(`not within ${READY_MS} ms: ${what}`)
    await sleep(50)
  }
}
