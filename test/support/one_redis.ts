/** The product's connections, by the URLs that servers of the tests have. */
import { Cluster, type Redis } from 'ioredis'
import { redisPlace } from '../../src/config/redis_url.ts'
import { openRedis, openSubscriber, type RedisClient } from '../../src/platform/redis.ts'

/** Whatever the URL names. */
export const redisAt = (url: string): RedisClient => openRedis(redisPlace(url))
export const subscriberAt = (url: string, publisher: RedisClient): Redis => openSubscriber(redisPlace(url), publisher)

/** To one server, with the commands that only one server has. */
export function oneRedis(url: string): Redis {
  const redis = redisAt(url)
  if (redis instanceof Cluster) throw new Error('a cluster is not one server')
  return redis
}

/** The same, connected. */
export async function readyRedis(url: string): Promise<Redis> {
  const redis = oneRedis(url)
  await new Promise((resolve) => redis.once('ready', resolve))
  return redis
}
