/** The product's connection to one server, with the commands that only one server has. */
import { Cluster, type Redis } from 'ioredis'
import { openRedis } from '../../src/platform/redis.ts'

export function oneRedis(url: string): Redis {
  const redis = openRedis(url)
  if (redis instanceof Cluster) throw new Error('a cluster is not one server')
  return redis
}

/** The same, connected. */
export async function readyRedis(url: string): Promise<Redis> {
  const redis = oneRedis(url)
  await new Promise((resolve) => redis.once('ready', resolve))
  return redis
}
