import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { parseAnswer } from './lean_http.ts'
import { type Generator, startGenerator } from './open_loop.ts'
import { instancesFor } from './parts/instances.ts'
import { recovery } from './parts/overload.ts'
import { ROTATIONS } from './parts/rotations.ts'
import { pinned, placement } from './processes.ts'
import { groupOf, sharesOf } from './profile_shares.ts'
import { CREDENTIALS_OPAQUE, DISCOVERY } from './scenarios.ts'
import { intendedStarts } from './schedule.ts'
import { median, quantile, slope } from './statistics.ts'
import { createTally } from './tally.ts'

describe('statistics', () => {
  it('takes quantiles of values in any order, and NaN of none', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index)
    expect([quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)]).toEqual([51, 100, 100])
    expect(quantile([7], 0.99)).toBe(7)
    expect(median([])).toBeNaN()
  })

  it('finds a slope, and says how sure it is of it', () => {
    const exact = slope([0, 1, 2, 3].map((x) => [x, 5 + 2 * x]))
    expect(exact.perUnit).toBeCloseTo(2)
    expect(exact.uncertainty).toBeCloseTo(0)
    const scattered = slope([0, 1, 2, 3, 4, 5].map((x) => [x, 5 + 2 * x + (x % 2 === 0 ? 3 : -3)]))
    expect(Math.abs(scattered.perUnit - 2)).toBeLessThan(scattered.uncertainty)
    expect(
      slope([
        [1, 1],
        [2, 2],
      ]).perUnit,
    ).toBeNaN()
  })
})

function firstOf(values: Iterable<number>, count: number): number[] {
  const taken: number[] = []
  for (const value of values) {
    if (taken.length === count) break
    taken.push(value)
  }
  return taken
}

describe('the schedule', () => {
  const take = (kind: 'constant' | 'poisson', count: number, seed = 1) =>
    firstOf(intendedStarts({ kind, perSecond: 200 }, seed), count)

  it('of a constant rate has equal gaps', () => {
    expect(take('constant', 4)).toEqual([5, 10, 15, 20])
  })

  it('of a Poisson process has the rate on average, bursts, and the same starts for the same seed', () => {
    const starts = take('poisson', 20_000)
    const gaps = starts.map((start, index) => start - (starts[index - 1] ?? 0))
    expect((starts.at(-1) ?? 0) / starts.length).toBeCloseTo(5, 0)
    // Of exponential gaps, a share of e^-2 is longer than twice the mean, and 1 - e^-0.1 shorter than a tenth.
    expect(gaps.filter((gap) => gap > 10).length / gaps.length).toBeCloseTo(Math.exp(-2), 1)
    expect(gaps.filter((gap) => gap < 0.5).length / gaps.length).toBeCloseTo(1 - Math.exp(-0.1), 1)
    expect(take('poisson', 50)).toEqual(take('poisson', 50))
    expect(take('poisson', 50, 2)).not.toEqual(take('poisson', 50))
  })
})

describe('the tally', () => {
  it('takes latencies from the intended start, and throughput by the end of the run', () => {
    const tally = createTally('tokens', 0, 2)
    tally.add({ intended: 100, sent: 400, ended: 420, fate: 'done' })
    tally.add({ intended: 1900, sent: 1900, ended: 2300, fate: 'done' })
    tally.add({ intended: 1000, sent: 1000, ended: 1010, fate: 'refused', retryAfter: true })
    tally.add({ intended: 1000, sent: 1000, ended: 1030, fate: 'refused', retryAfter: false })
    tally.add({ intended: 1500, sent: 1500, ended: 1600, fate: 'failed', reason: 'a 500' })
    const { done, inTime, refused, refusedWithRetryAfter, failed, broken, lag, bySecond, reasons } = tally.result()
    expect(done).toMatchObject({ count: 2, p50: 400, max: 400 })
    expect(inTime).toBe(1)
    expect([refused.count, refused.max, refusedWithRetryAfter, failed, broken]).toEqual([2, 30, 1, 1, 0])
    expect(lag.max).toBe(300)
    expect(bySecond).toEqual([
      { done: 1, refused: 0, wrong: 0, p99: 320 },
      { done: 1, refused: 2, wrong: 1, p99: 400 },
    ])
    expect(reasons).toEqual(['a 500'])
  })
})

describe('recovery after an overload', () => {
  const calm = { done: 10, refused: 0, wrong: 0, p99: 20 }
  const bad = { ...calm, p99: 900 }

  it('is when three seconds in a row are as before', () => {
    expect(recovery([calm, calm, bad, bad, calm, calm, calm], 2, 4)).toBe(0)
    expect(recovery([calm, calm, bad, bad, bad, calm, calm, bad, calm, calm, calm], 2, 4)).toBe(4)
    expect(recovery([calm, calm, bad, bad, { ...calm, refused: 1 }, calm, calm, calm], 2, 4)).toBe(1)
  })

  it('that does not come is all of the time that was watched', () => {
    expect(recovery([calm, bad, bad, bad, bad], 1, 2)).toBe(3)
  })
})

describe('where processes run', () => {
  it('keeps the generator off the server', () => {
    expect(placement(2, true)).toEqual({ server: '0', generator: '1' })
    expect(placement(8, true)).toEqual({ server: '0-3', generator: '7' })
    for (const none of [placement(1, true), placement(8, false)]) expect(none.server).toBeUndefined()
    expect(pinned('0-3', 'node', ['a'])).toEqual(['taskset', ['-c', '0-3', 'node', 'a']])
    expect(pinned(undefined, 'node', ['a'])).toEqual(['node', ['a']])
  })

  it('compares instances only where each has a core', () => {
    expect([1, 2, 3, 4, 5, 6, 16].map(instancesFor)).toEqual([0, 0, 0, 1, 1, 2, 2])
  })
})

describe('profiles', () => {
  const modules = 'file:///srv/node_modules'

  it.each([
    ['refresh', 'file:///srv/src/oidc/adapter/redis_store.ts', 'own'],
    ['sign', `${modules}/oidc-provider/lib/helpers/jwt.js`, 'oidc-provider'],
    ['dispatch', `${modules}/@koa/router/dist/index.js`, 'koa'],
    ['parse', `${modules}/ioredis/node_modules/redis-parser/lib/parser.js`, 'ioredis'],
    ['query', `${modules}/pg/lib/client.js`, 'pg'],
    ['verify', `${modules}/jose/dist/webapi/jws/compact/verify.js`, 'jose'],
    ['render', `${modules}/nunjucks/src/environment.js`, 'other packages'],
    ['hash', 'node:internal/crypto/hash', 'node internals'],
    ['writev', '', 'node internals'],
    ['(garbage collector)', '', 'gc'],
    ['(program)', '', 'native'],
    ['(idle)', '', undefined],
  ])('%s of %s belongs to %s', (name, url, group) => expect(groupOf(name, url)).toBe(group))

  it('are cut by time and leave idleness out', () => {
    const frame = (functionName: string, url: string) => ({ functionName, url, lineNumber: 9 })
    const nodes = [
      { id: 1, callFrame: frame('(idle)', '') },
      { id: 2, callFrame: frame('load', 'file:///srv/src/main.ts') },
      { id: 3, callFrame: frame('hash', 'node:internal/crypto/hash') },
    ]
    const profile = { nodes, startTime: 1000, samples: [2, 2, 3, 1, 2], timeDeltas: [0, 100, 100, 100, 100] }
    const { groups, functions } = sharesOf(profile, 1100, 1400)
    expect(Object.fromEntries(groups)).toEqual({ own: 0.5, 'node internals': 0.5 })
    expect(functions[0]).toEqual({ group: 'own', name: 'load', at: 'src/main.ts:10', share: 0.5 })
  })
})

describe('answers on bare sockets', () => {
  const parse = (text: string) => parseAnswer(Buffer.from(text.replaceAll('\n', '\r\n')))

  it('are whole with their length or their last chunk, and not before', () => {
    const sized =
      'HTTP/1.1 303 See Other\nLocation: /next\nSet-Cookie: a=1; Path=/\nset-cookie: b=2\nContent-Length: 5\n\nhello'
    expect(parse(sized)?.answer).toEqual({
      ...{ status: 303, location: '/next', retryAfter: undefined, cookies: ['a=1; Path=/', 'b=2'], body: 'hello' },
    })
    const chunked =
      'HTTP/1.1 503 No\nRetry-After: 2\nTransfer-Encoding: chunked\nConnection: close\n\n3\nhel\n2\nlo\n0\n\n'
    expect(parse(chunked)).toMatchObject({ close: true, answer: { status: 503, retryAfter: '2', body: 'hello' } })
    for (const whole of [sized, chunked]) {
      for (let length = 1; length < whole.length; length += 1) {
        if (whole[length - 1] !== '\n') expect(parse(whole.slice(0, length))).toBeUndefined()
      }
    }
    expect(parse('HTTP/1.1 204 No Content\n\n')?.answer.body).toBe('')
  })
})

describe('the open-loop generator', () => {
  let server: Server
  let generator: Generator
  let handle: RequestListener = () => {}
  let origin = ''

  beforeAll(async () => {
    server = createServer((req, res) => handle(req, res))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    generator = await startGenerator(undefined)
    const streams = [DISCOVERY, CREDENTIALS_OPAQUE].map(({ name }) => ({ scenario: name, lanes: 200 }))
    await generator.prepare({ origin, accounts: [], streams })
  })
  afterAll(async () => {
    await generator?.stop()
    server?.closeAllConnections()
    server?.close()
  })

  const run = async (perSecond: number, seconds: number, { name }: { name: string } = DISCOVERY) => {
    const arrivals = { kind: 'constant', perSecond } as const
    const [result] = await generator.run([{ name: 'load', scenarios: [name], arrivals }], seconds)
    if (result === undefined) throw new Error('no result')
    return result
  }

  it('does not hide a server that stands still: everybody who should have come meanwhile has waited', async () => {
    handle = (_, res) => res.end('{}')
    const steady = await run(100, 1)
    expect(steady.done.count).toBeGreaterThan(90)
    const began = performance.now()
    handle = (_, res) => {
      const at = performance.now() - began
      // From 0.3 to 0.9 s nothing is answered.
      setTimeout(() => res.end('{}'), at > 300 && at < 900 ? 900 - at : 0)
    }
    const stalled = await run(100, 1.2)
    expect(stalled.done.count).toBeGreaterThan(110)
    // Half of the flows fell into it. A closed loop with one lane would have seen one slow answer.
    expect(stalled.done.p90).toBeGreaterThan(300)
    expect(stalled.done.p90).toBeGreaterThan(steady.done.p90 + 250)
  })

  it('tells apart who was refused, what failed and what broke', async () => {
    let count = 0
    handle = (_, res) => {
      count += 1
      if (count % 4 === 0) res.writeHead(503, { 'retry-after': '1' }).end()
      else if (count % 4 === 1) res.writeHead(500).end('a fault')
      else if (count % 4 === 2) res.writeHead(429).end()
      else res.destroy()
    }
    const { done, refused, refusedWithRetryAfter, failed, broken, reasons } = await run(100, 0.8, CREDENTIALS_OPAQUE)
    expect(done.count).toBe(0)
    for (const each of [refused.count / 2, refusedWithRetryAfter, failed, broken]) expect(each).toBeGreaterThan(5)
    expect(reasons.join()).toMatch(/answered 500: a fault/)
  })
})

it('a part runs in quick form and finds something', async () => {
  const { tables, gates } = await ROTATIONS.run({ quick: true, cores: 2, arrivals: 'poisson', say: () => {} })
  expect(tables[0]?.rows).toHaveLength(5)
  for (const [, cpu] of tables[0]?.rows ?? []) expect(Number(cpu)).toBeGreaterThan(0)
  expect(gates.map(({ what, kind, value }) => ({ what, kind, number: Number.isFinite(value) }))).toEqual([
    { what: 'CPU of the last 20 to the first 20', kind: 'ratio', number: true },
  ])
})
