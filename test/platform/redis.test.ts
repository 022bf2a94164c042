import { once } from 'node:events'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Redis } from 'ioredis'
import { redisUnavailable } from '../../src/platform/redis.ts'
import { oneRedis } from '../support/one_redis.ts'
import { type BreakableServer, startBreakable } from '../support/services.ts'

describe('a command', () => {
  let server: BreakableServer
  let redis: Redis
  beforeAll(async () => {
    server = await startBreakable('redis')
    redis = oneRedis(server.url)
    await once(redis, 'ready')
  })
  afterAll(async () => {
    redis?.disconnect()
    await server?.stop()
  })

  it('gets an answer that came while this process computed for longer than a command may take', async () => {
    await redis.set('key', 'value')
    const answer = redis.get('key')
    await turn()
    for (const until = Date.now() + 1300; Date.now() < until; );
    expect(await answer).toBe('value')
  })

  it('fails as unavailable when none comes', async () => {
    await server.pause()
    const failed = await redis.get('key').catch((error: unknown) => error)
    await server.resume()
    expect(redisUnavailable(failed)).toBe(true)
  })

  it('comes back when a connection failed before it was one, until it is closed', async () => {
    const own = oneRedis(server.url)
    await once(own, 'ready')
    const { connector } = own as unknown as { connector: { connect(): Promise<unknown> } }
    const { connect } = connector
    connector.connect = () => {
      connector.connect = connect
      return Promise.reject(new Error('another master'))
    }
    const told = (event: string) => new Promise((resolve) => own.once(event, resolve))
    const [given, back] = [told('end'), told('ready')]
    own.disconnect(true)
    await given
    await back
    const closed = told('end')
    own.disconnect()
    await closed
    await sleep(200)
    expect(own.status).toBe('end')
  })
})
