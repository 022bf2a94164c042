import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { storeShape } from '../../src/config/stores.ts'
import type { Fact, RecordedFact } from '../../src/events.ts'
import { createClockWatch } from '../../src/platform/clock_watch.ts'
import { createDeliveries } from '../../src/platform/deliveries.ts'
import { PermanentFailure } from '../../src/platform/delivery_rows.ts'
import { createDispatcher } from '../../src/platform/dispatcher.ts'
import { createLedger } from '../../src/platform/ledger.ts'
import { createOutbox } from '../../src/platform/outbox.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { testPersonal } from '../support/personal_columns.ts'
import { until } from '../support/processes.ts'
import { freshDatabase } from '../support/services.ts'

const secretBox = createSecretBox([Buffer.alloc(32, 1)])
const start = Date.parse('2026-11-22T10:00:00Z')
const logger = { warn: () => {} }

type Handle = (fact: RecordedFact) => Promise<void>

describe.each(['embedded', 'postgres'] as const)('deliveries on %s', (kind) => {
  let database: Database
  let now = start
  const clock = { now: () => new Date(now) }
  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    now = start
    await database.db.raw('truncate outbox, ledger, ledger_anchors, deliveries')
  })
  afterEach(() => {
    jest.useRealTimers()
  })

  const outbox = createOutbox({ personal: testPersonal, secretBox, clock })
  const record = (...facts: Fact[]) => database.transaction((tx) => outbox.record(facts, tx))
  const mail = (n: number, accountId?: string): Fact => ({
    type: 'mail.requested',
    accountId,
    data: { n },
    sealed: { n },
  })
  type Own = Partial<Pick<Parameters<typeof createDeliveries>[0], 'clock' | 'mayClaim' | 'leaseSeconds'>>
  const setUp = (handle: Handle, more: Record<string, Handle> = {}, own: Own = {}) => {
    const subscriptions = Object.entries({ mails: handle, ...more }).map(([consumer, each]) => ({
      consumer,
      types: ['mail.requested'],
      handle: each,
    }))
    const ledger = createLedger({ personal: testPersonal, database, secretBox, clock, subscriptions })
    const deliveries = createDeliveries({
      personal: testPersonal,
      database,
      secretBox,
      subscriptions,
      logger,
      clock,
      leaseSeconds: 90,
      ...own,
    })
    return {
      ...deliveries,
      seal: ledger.seal,
      run: async () => {
        await ledger.seal()
        return deliveries.deliver()
      },
    }
  }
  const rows = () => database.db('deliveries').orderBy(['outbox_id', 'consumer'])

  it('hands over the fact with its opened sealed part, once, and erases the sealed part', async () => {
    const seen: RecordedFact[] = []
    const { run } = setUp(async (fact) => {
      seen.push(fact)
    })
    await record({ type: 'mail.requested', accountId: 'a1', clientId: 'c1', data: { t: 1 }, sealed: { to: 'x' } })
    expect(await run()).toBe(1)
    expect(await run()).toBe(0)
    const stored = await database.db('outbox').first()
    expect(seen).toEqual([
      {
        id: stored.id,
        type: 'mail.requested',
        accountId: 'a1',
        clientId: 'c1',
        actor: 'a1',
        data: { t: 1 },
        sealed: { to: 'x' },
        requestId: undefined,
        occurredAt: new Date(start),
      },
    ])
    expect(stored.sealed).toBeNull()
    expect(await rows()).toMatchObject([{ state: 'delivered', attempts: 1, delivered_at: new Date(start) }])
  })

  // The embedded database has one connection.
  if (kind === 'postgres') {
    it('leaves requests their connections while its table is locked, however many consumers there are', async () => {
      const consumers = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`consumer${n}`, async () => {}]))
      const { deliver, seal } = setUp(async () => {}, consumers)
      await record(mail(1))
      await seal()
      let release = () => {}
      const released = new Promise<void>((resolve) => {
        release = resolve
      })
      let lock: Promise<void> | undefined
      await new Promise<void>((locked) => {
        lock = database.transaction(async (tx) => {
          await tx.raw('lock table deliveries in access exclusive mode')
          locked()
          await released
        })
      })
      const delivering = deliver()
      await Promise.all(Array.from({ length: 40 }, () => database.db.raw('select 1')))
      release()
      await lock
      expect(await delivering).toBe(31)
    })
  }

  it('keeps the sealed part until the last consumer has it', async () => {
    let fail = true
    const { run } = setUp(async () => {}, {
      other: async () => {
        if (fail) throw new Error('not yet')
      },
    })
    await record(mail(1))
    expect(await run()).toBe(1)
    expect((await database.db('outbox').first()).sealed).not.toBeNull()
    fail = false
    now += 3600_000
    expect(await run()).toBe(1)
    expect((await database.db('outbox').first()).sealed).toBeNull()
  })

  it('tries again with growing delays up to an hour, then fails after 12 attempts and erases the sealed part', async () => {
    const ids = new Set<string>()
    const { run } = setUp(async (fact) => {
      ids.add(fact.id)
      throw new Error('smtp is away')
    })
    await record(mail(1))
    const delays: number[] = []
    for (let attempt = 1; attempt <= 12; attempt++) {
      await run()
      const [row] = await rows()
      expect(row).toMatchObject({ attempts: attempt, state: attempt === 12 ? 'failed' : 'pending' })
      expect(row.last_error).toBe('smtp is away')
      delays.push((row.next_at.getTime() - now) / 1000)
      now = row.next_at.getTime() - 1
      await run()
      expect((await rows())[0].attempts).toBe(attempt)
      now += 1
    }
    delays.forEach((delay, i) => {
      const full = Math.min(5 * 2 ** i, 3600)
      expect(delay).toBeGreaterThanOrEqual(full / 2)
      expect(delay).toBeLessThanOrEqual(full)
    })
    now += 86_400_000
    expect(await run()).toBe(0)
    expect(ids.size).toBe(1)
    expect((await database.db('outbox').first()).sealed).toBeNull()
  })

  it('fails at once when no repetition can help', async () => {
    const { run } = setUp(async () => {
      throw new PermanentFailure('no such mailbox')
    })
    await record(mail(1))
    await run()
    expect(await rows()).toMatchObject([{ state: 'failed', attempts: 1, last_error: 'no such mailbox' }])
  })

  it('brings back what a killed worker held, when its lease is over', async () => {
    const seen: string[] = []
    const killed = setUp(() => new Promise(() => {}), {}, { leaseSeconds: 60 })
    await record(mail(1))
    await killed.seal()
    killed.deliver().catch(() => {})
    await until(async () => (await rows())[0]?.attempts === 1)
    const { run } = setUp(async (fact) => {
      seen.push(fact.id)
    })
    now += 59_000
    await run()
    expect(seen).toHaveLength(0)
    now += 1_000
    await run()
    expect(seen).toHaveLength(1)
  })

  it('resumes at once after a kill when it is the only process (F29)', async () => {
    const killed = setUp(() => new Promise(() => {}))
    await record(mail(1))
    await killed.seal()
    killed.deliver().catch(() => {})
    await until(async () => (await rows())[0]?.attempts === 1)
    const seen: string[] = []
    const next = setUp(async (fact) => {
      seen.push(fact.id)
    })
    expect(await next.run()).toBe(0)
    await next.resume()
    expect(await next.run()).toBe(1)
    expect(seen).toEqual([(await database.db('outbox').first()).id])
  })

  it('gives up a consumer that hangs, and tries again', async () => {
    const { run } = setUp(() => new Promise(() => {}), {}, { leaseSeconds: 0.1 })
    await record(mail(1))
    expect(await run()).toBe(0)
    expect(await rows()).toMatchObject([{ state: 'pending', last_error: 'the consumer took too long' }])
  })

  it('delivers each fact exactly once over three healthy workers', async () => {
    const seen: string[] = []
    const handle: Handle = async (fact) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 5))
      seen.push(fact.id)
    }
    const workers = [setUp(handle), setUp(handle), setUp(handle)]
    await record(...Array.from({ length: 60 }, (_, i) => mail(i)))
    const counts = await Promise.all(workers.map((worker) => worker.run()))
    // A worker may end while another still has the rest in its hands.
    expect(counts.reduce((a, b) => a + b)).toBe(60)
    expect(new Set(seen).size).toBe(60)
    expect(seen).toHaveLength(60)
  })

  it('keeps the order of facts about one account, over several workers (F29)', async () => {
    const seen: Record<string, number[]> = {}
    const handle: Handle = async (fact) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10))
      const account = String(fact.accountId)
      seen[account] = [...(seen[account] ?? []), Number(fact.data?.n)]
    }
    const workers = [setUp(handle), setUp(handle)]
    await record(...Array.from({ length: 30 }, (_, i) => mail(i, `a${i % 3}`)))
    await workers[0]?.seal()
    await until(async () => {
      await Promise.all(workers.map((worker) => worker.deliver()))
      return (await database.db('deliveries').where({ state: 'pending' })).length === 0
    })
    for (const order of Object.values(seen)) expect(order).toEqual([...order].sort((a, b) => a - b))
    expect(Object.values(seen).flat()).toHaveLength(30)
  })

  it('lets later facts of an account pass one that failed and waits', async () => {
    const seen: number[] = []
    const { run } = setUp(async (fact) => {
      if (fact.data?.n === 1) throw new Error('bounced')
      seen.push(Number(fact.data?.n))
    })
    await record(mail(1, 'a'), mail(2, 'a'), mail(3, 'a'))
    await run()
    expect(seen).toEqual([2, 3])
  })

  it('lets no slow consumer hold up another, nor one slow delivery the next', async () => {
    const seen: number[] = []
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const worker = setUp(
      async (fact) => {
        if (fact.data?.n === 1) await held
        else seen.push(Number(fact.data?.n))
      },
      { logouts: () => held },
    )
    await record(...Array.from({ length: 12 }, (_, i) => mail(i + 1)))
    await worker.seal()
    const all = worker.deliver()
    await until(async () => seen.length === 11)
    await record(mail(13))
    await worker.seal()
    worker.deliver().catch(() => {})
    await until(async () => seen.includes(13))
    release()
    expect(await all).toBe(26)
  })

  it('hands forged facts to nobody', async () => {
    const seen: string[] = []
    const { run } = setUp(async (fact) => {
      seen.push(fact.type)
    })
    await record(mail(1))
    await database.db('outbox').update({ account_id: 'victim' })
    expect(await run()).toBe(0)
    expect(seen).toEqual([])
    expect(await rows()).toMatchObject([{ state: 'failed', last_error: 'the fact is not genuine' }])
  })

  it('tells numbers by consumer and state', async () => {
    let fail = false
    const worker = setUp(async () => {
      if (fail) throw new PermanentFailure('refused')
    })
    await record(mail(1), mail(2))
    await worker.run()
    fail = true
    await record(mail(3))
    await worker.run()
    expect(await worker.status()).toEqual([
      { consumer: 'mails', state: 'delivered', count: 2, lastError: undefined },
      { consumer: 'mails', state: 'failed', count: 1, lastError: 'refused' },
    ])
  })

  it('a worker as far ahead as an instance may be leaves alone what another handles for as long as it may', async () => {
    const tolerated = storeShape.clock_tolerance_seconds.parse(undefined)
    const handlingSeconds = 180
    const seen: unknown[] = []
    const handling = setUp(() => new Promise(() => {}), {}, { leaseSeconds: undefined })
    await record(mail(1))
    await handling.seal()
    handling.deliver().catch(() => {})
    await until(async () => (await rows())[0]?.attempts === 1)
    const ahead = setUp(async ({ data }) => void seen.push(data), {}, { leaseSeconds: undefined })
    now += (handlingSeconds + tolerated - 1) * 1000
    expect(await ahead.deliver()).toBe(0)
    now += 1000
    expect([await ahead.deliver(), seen]).toEqual([1, [{ n: 1 }]])
  })

  it('a worker whose clock was set an hour ahead does not take what another has in its hands (F34)', async () => {
    const seen: unknown[] = []
    const gate = Promise.withResolvers<void>()
    const handle = async ({ data }: RecordedFact) => {
      seen.push(data)
      await gate.promise
    }
    let aheadMs = 0
    const ahead = { now: () => new Date(now + aheadMs) }
    const right = async () => new Date(now)
    const watch = createClockWatch({
      ...{ clock: ahead, databaseTime: right, redisTime: right, toleranceSeconds: 120, logger: { error: () => {} } },
    })
    const [holder, off] = [setUp(handle), setUp(handle, {}, { clock: ahead, mayClaim: watch.mayTake })]
    await watch.look()
    await record(mail(1, 'a1'))
    const held = holder.run()
    await until(() => seen.length === 1)
    aheadMs = 3_600_000
    expect(await off.deliver()).toBe(0)
    gate.resolve()
    expect(await held).toBe(1)
    await record(mail(2, 'a1'))
    await off.seal()
    expect(await off.deliver()).toBe(0)
    aheadMs = 0
    expect([await off.deliver(), seen]).toEqual([1, [{ n: 1 }, { n: 2 }]])
  })

  it('stops: claims nothing more, waits for what is in flight', async () => {
    let done = 0
    const worker = setUp(async () => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      done += 1
    })
    await record(...Array.from({ length: 20 }, (_, i) => mail(i)))
    await worker.seal()
    worker.deliver().catch(() => {})
    await until(async () => (await database.db('deliveries').where('attempts', '>', 0)).length > 0)
    await worker.stop()
    const before = done
    expect(before).toBeLessThan(20)
    expect(await database.db('deliveries').where({ state: 'delivered' })).toHaveLength(before)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(done).toBe(before)
  })

  it('leaves within 200 ms of the commit by itself when a dispatcher listens', async () => {
    const woken = createOutbox({ personal: testPersonal, secretBox, clock })
    let arrived = 0
    const worker = setUp(async () => {
      arrived = performance.now()
    })
    const dispatcher = createDispatcher({ seal: worker.seal, deliveries: worker, logger })
    woken.onWake(dispatcher.wake)
    await database.transaction((tx) => woken.record([mail(1)], tx))
    const committed = performance.now()
    await until(async () => arrived > 0)
    expect(arrived - committed).toBeLessThan(200)
    await dispatcher.stop()
    await database.transaction((tx) => woken.record([mail(2)], tx))
    await new Promise((resolve) => setTimeout(resolve, 60))
    expect(await database.db('outbox').whereNull('seq')).toHaveLength(1)
  })
})
