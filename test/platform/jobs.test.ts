import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { createJobs } from '../../src/platform/jobs.ts'

const clock = { now: () => new Date() }
const quiet = { error: () => {} }

describe('jobs', () => {
  afterEach(() => {
    jest.useRealTimers()
  })

  it('runs each job on its own interval, with jitter, and never before start', async () => {
    jest.useFakeTimers()
    const runs = { fast: 0, slow: 0 }
    const count = (name: 'fast' | 'slow') => {
      runs[name] += 1
    }
    const jobs = createJobs({
      jobs: [
        { name: 'fast', everySeconds: 1, run: async () => count('fast') },
        { name: 'slow', everySeconds: 60, run: async () => count('slow') },
      ],
      logger: quiet,
      clock,
    })
    await jest.advanceTimersByTimeAsync(10_000)
    expect(runs).toEqual({ fast: 0, slow: 0 })
    jobs.start()
    jobs.start()
    await jest.advanceTimersByTimeAsync(60_000)
    expect(runs.fast).toBeGreaterThanOrEqual(48)
    expect(runs.fast).toBeLessThanOrEqual(76)
    expect(runs.slow).toBeGreaterThanOrEqual(1)
    expect(runs.slow).toBeLessThanOrEqual(2)
    await jobs.stop()
    const before = runs.fast
    await jest.advanceTimersByTimeAsync(60_000)
    expect(runs.fast).toBe(before)
  })

  it('never runs a job beside itself', async () => {
    jest.useFakeTimers()
    let running = 0
    let most = 0
    let runs = 0
    const jobs = createJobs({
      jobs: [
        {
          name: 'long',
          everySeconds: 1,
          run: async () => {
            runs += 1
            running += 1
            most = Math.max(most, running)
            await new Promise((resolve) => setTimeout(resolve, 5000))
            running -= 1
          },
        },
      ],
      logger: quiet,
      clock,
    })
    jobs.start()
    for (let i = 0; i < 30; i++) {
      await jest.advanceTimersByTimeAsync(1000)
      void jobs.runDue()
    }
    expect(most).toBe(1)
    expect(runs).toBeGreaterThan(3)
  })

  it('survives failures, counts all of them and logs the 1st, 2nd, 4th, 8th … in a row', async () => {
    jest.useFakeTimers()
    const logged: object[] = []
    let failed = 0
    const jobs = createJobs({
      jobs: [
        {
          name: 'bad',
          everySeconds: 1,
          run: async () => {
            throw new Error('store away')
          },
        },
      ],
      logger: { error: (facts) => logged.push(facts) },
      clock,
      failed: (job) => {
        expect(job).toBe('bad')
        failed += 1
      },
    })
    jobs.start()
    while (failed < 20) await jest.advanceTimersByTimeAsync(1000)
    await jobs.stop()
    expect(logged.map((facts) => (facts as { failures: number }).failures)).toEqual([1, 2, 4, 8, 16])
    expect(logged[0]).toMatchObject({ job: 'bad', err: expect.any(Error) })
  })

  it('waits for running work when it stops, 20 s at the most', async () => {
    jest.useFakeTimers()
    let release = () => {}
    const run = () =>
      new Promise<void>((resolve) => {
        release = resolve
      })
    const jobs = createJobs({ jobs: [{ name: 'long', everySeconds: 1, run }], logger: quiet, clock })
    const stopping = async () => {
      void jobs.runDue()
      let stopped = false
      const end = jobs.stop().then(() => {
        stopped = true
      })
      return { end, stopped: () => stopped }
    }
    const first = await stopping()
    await jest.advanceTimersByTimeAsync(1000)
    expect(first.stopped()).toBe(false)
    release()
    await first.end
    await jest.advanceTimersByTimeAsync(1000)
    const second = await stopping()
    await jest.advanceTimersByTimeAsync(19_000)
    expect(second.stopped()).toBe(false)
    await jest.advanceTimersByTimeAsync(1_001)
    expect(second.stopped()).toBe(true)
  })

  it('runs what is due by the clock, once, and hands over that time', async () => {
    let now = Date.parse('2026-11-22T10:00:00Z')
    const times: Date[] = []
    const jobs = createJobs({
      jobs: [{ name: 'hourly', everySeconds: 3600, run: async (at) => void times.push(at) }],
      logger: quiet,
      clock: { now: () => new Date(now) },
    })
    await jobs.runDue()
    now += 3599_000
    await jobs.runDue()
    expect(times).toEqual([new Date('2026-11-22T10:00:00Z')])
    now += 1000
    await jobs.runDue()
    expect(times).toHaveLength(2)
  })

  it('runs what is kept in memory once more at the stop, after the run that was under way', async () => {
    jest.useFakeTimers()
    const order: string[] = []
    const slow = async () => {
      order.push('begins')
      await new Promise((resolve) => setTimeout(resolve, 1000))
      order.push('ends')
    }
    const jobs = createJobs({
      jobs: [
        { name: 'kept', everySeconds: 10, atStop: true, run: slow },
        { name: 'plain', everySeconds: 3600, run: async () => void order.push('plain') },
      ],
      logger: quiet,
      clock,
    })
    await jobs.stop()
    expect(order).toEqual([])
    jobs.start()
    await jest.advanceTimersByTimeAsync(5000)
    while (order.at(-1) !== 'begins') await jest.advanceTimersByTimeAsync(100)
    order.length = 0
    const stopped = jobs.stop()
    await jest.advanceTimersByTimeAsync(3000)
    await stopped
    expect(order).toEqual(['ends', 'begins', 'ends'])
    await jobs.stop()
    expect(order).toHaveLength(3)
  })
})
