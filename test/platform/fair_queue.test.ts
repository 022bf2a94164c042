import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from '@jest/globals'
import { createFairQueue, type FairQueueOptions, type Ticket } from '../../src/platform/fair_queue.ts'

/** It took as long as the queue saw. */
const DONE = { result: undefined, ms: Number.POSITIVE_INFINITY }

/** How long the deadline is for so many places of a second's work each: they take four fifths of it. */
const forPlaces = (count: number) => ({ deadlineMs: count * 1250 })

/** A queue of one at a time whose work ends when the test says so. */
function createDesk(options: Partial<FairQueueOptions> = {}) {
  const refusals: string[] = []
  const queue = createFairQueue({
    ...{ width: 1, guessMs: 1000, ...forPlaces(60) },
    watch: { waited: () => {}, refused: (reason, priority) => refusals.push(`${priority} ${reason}`) },
    ...options,
  })
  const served: string[] = []
  const ends: (() => void)[] = []
  const answers: Promise<string>[] = []
  const ask = (name: string, ticket: Partial<Ticket> = {}): Promise<string> => {
    const work = () => {
      served.push(name)
      return new Promise<typeof DONE>((resolve) => ends.push(() => resolve(DONE)))
    }
    const answer = queue.run({ priority: 'sign_in', ...ticket }, work).then(
      () => 'done',
      (error: { code: string; retryAfter?: number }) => `${error.code} ${error.retryAfter}`,
    )
    answers.push(answer)
    return answer
  }
  const come = (name: string, ticket?: Partial<Ticket>): void => {
    void ask(name, ticket)
  }
  /** Ends what runs, one after the other, until nobody is left. */
  const serveAll = async () => {
    for (;;) {
      await new Promise(setImmediate)
      const end = ends.shift()
      if (end === undefined) return Promise.all(answers)
      end()
    }
  }
  return { queue, ask, come, serveAll, served, refusals }
}

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`)

describe('whether a ticket would find a place', () => {
  it('is told without taking one, and without taking it from anybody', async () => {
    const { queue, come, serveAll, served, refusals } = createDesk(forPlaces(4))
    const would = (network: string) => !queue.turnsAway({ priority: 'sign_in', network })
    expect(would('a')).toBe(true)
    come('running', { network: 'a' })
    come('a1', { network: 'a' })
    expect(would('a')).toBe(true)
    come('a2', { network: 'a' })
    expect(would('a')).toBe(false)
    expect(would('b')).toBe(true)
    come('b1', { network: 'b' })
    come('c1', { network: 'c' })
    // All four places are taken; one of the network with two would leave for one with none.
    expect(would('d')).toBe(true)
    expect(would('b')).toBe(false)
    expect(refusals).toEqual(['sign_in address', 'sign_in full'])
    await serveAll()
    expect(served).toHaveLength(5)
  })
})

describe('who was let in', () => {
  const from = (network: string) => ({ priority: 'sign_in' as const, network })

  it('counts where others are turned away, before asking for a turn and until having left', () => {
    const { queue, refusals } = createDesk(forPlaces(4))
    const comes = (network: string) => (queue.turnsAway(from(network)) ? undefined : queue.enter(from(network)))
    const leaving = names('n', 5).map(comes)
    // One would run, and four would wait.
    expect(leaving).toEqual(Array(5).fill(expect.any(Function)))
    expect(comes('n6')).toBeUndefined()
    leaving[0]?.()
    expect(comes('n6')).toBeDefined()
    expect(comes('n7')).toBeUndefined()
    expect(refusals).toEqual(['sign_in full', 'sign_in full'])
  })

  it('uses up the share of the network', () => {
    const { queue, refusals } = createDesk(forPlaces(4))
    for (let i = 0; i < 3; i++) {
      expect(queue.turnsAway(from('a'))).toBe(false)
      queue.enter(from('a'))
    }
    expect(queue.turnsAway(from('a'))).toBe(true)
    expect(queue.turnsAway(from('b'))).toBe(false)
    expect(refusals).toEqual(['sign_in address'])
  })

  it('does not keep out who has a place coming to them', () => {
    const { queue, come } = createDesk(forPlaces(4))
    for (const name of ['a1', 'a2', 'a3', 'b1', 'b2']) {
      queue.enter(from(name.slice(0, 1)))
      come(name, { network: name.slice(0, 1) })
    }
    // Of the four who wait, one of the network with two leaves for one who has none.
    expect(queue.turnsAway(from('c'))).toBe(false)
    expect(queue.turnsAway(from('b'))).toBe(true)
  })
})

describe('turns', () => {
  it('go round networks, whoever came in what number', async () => {
    const { come, serveAll, served } = createDesk()
    for (const name of names('a', 5)) come(name, { network: 'a' })
    for (const name of names('b', 2)) come(name, { network: 'b' })
    come('c1', { network: 'c' })
    await serveAll()
    expect(served).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4', 'a5'])
  })

  it('are of those who sign in before those who sign up', async () => {
    const { come, serveAll, served } = createDesk()
    come('first', { network: 'a', priority: 'sign_up' })
    for (const name of names('up', 3)) come(name, { network: name, priority: 'sign_up' })
    for (const name of names('in', 3)) come(name, { network: 'a' })
    await serveAll()
    expect(served).toEqual(['first', 'in1', 'in2', 'in3', 'up1', 'up2', 'up3'])
  })
})

describe('shares', () => {
  it('a network holds half of the places at the most, and is told at once', async () => {
    const { ask, serveAll, served, refusals } = createDesk(forPlaces(8))
    const answers = names('a', 10).map((name) => ask(name, { network: 'a' }))
    expect(refusals).toEqual(Array(5).fill('sign_in address'))
    expect(await answers[9]).toBe('too_many_requests 1')
    const other = ask('b1', { network: 'b' })
    await serveAll()
    expect(await other).toBe('done')
    expect(served).toHaveLength(6)
  })

  it('an account holds an eighth of the places, four at least, from however many networks', async () => {
    const { come, refusals } = createDesk()
    for (const name of names('a', 12)) come(name, { network: name, account: 'ada' })
    // One of them runs, and an eighth of sixty places wait.
    expect(refusals).toEqual(Array(3).fill('sign_in account'))
    const small = createDesk(forPlaces(16))
    for (const name of names('a', 9)) small.come(name, { network: name, account: 'ada' })
    expect(small.refusals).toEqual(Array(4).fill('sign_in account'))
    small.come('bob', { network: 'a9', account: 'bob' })
    expect(small.refusals).toHaveLength(4)
  })
})

describe('a full queue', () => {
  it('takes a place from the network with the most for one that has none', async () => {
    const { ask, come, serveAll, served, refusals } = createDesk(forPlaces(4))
    come('first')
    for (const name of names('a', 2)) come(name, { network: 'a' })
    for (const name of names('b', 2)) come(name, { network: 'b' })
    const late = ask('c1', { network: 'c' })
    expect(refusals).toEqual(['sign_in full'])
    await serveAll()
    expect(await late).toBe('done')
    expect(served).toEqual(['first', 'a1', 'b1', 'c1', 'b2'])
  })

  it('does not take it when all have as many', async () => {
    const { ask, come, refusals } = createDesk(forPlaces(3))
    come('first')
    for (const network of ['a', 'b', 'c']) come(network, { network })
    expect(await ask('d', { network: 'd' })).toBe('temporarily_unavailable 1')
    expect(refusals).toEqual(['sign_in full'])
  })

  it('sends sign-ups away for sign-ins, never the other way round', async () => {
    const { come, serveAll, served, refusals } = createDesk(forPlaces(3))
    come('first')
    for (const name of names('up', 3)) come(name, { network: name, priority: 'sign_up' })
    for (const name of names('in', 3)) come(name, { network: name })
    come('up4', { network: 'up4', priority: 'sign_up' })
    expect(refusals).toEqual(Array(4).fill('sign_up full'))
    await serveAll()
    expect(served).toEqual(['first', 'in1', 'in2', 'in3'])
  })

  it('is as long as what is done in four fifths of the deadline, as measured', async () => {
    const { queue, come, serveAll } = createDesk({ deadlineMs: 1250, guessMs: 100, width: 2 })
    expect(queue.stats()).toEqual({ running: 0, queued: 0, signUps: 0, width: 2, places: 20 })
    for (let i = 0; i < 20; i++) {
      come('quick')
      await serveAll()
    }
    expect(queue.stats().places).toBeGreaterThan(100)
  })

  it('is not shorter because the event loop stood still while the work was done', async () => {
    const { queue } = createDesk({ deadlineMs: 1250, guessMs: 10 })
    const halted = { result: undefined, ms: 10 }
    for (let i = 0; i < 3; i++) await queue.run({ priority: 'sign_in' }, () => sleep(100, halted))
    expect(queue.stats().places).toBeGreaterThanOrEqual(50)
    const slow = { result: undefined, ms: 100 }
    for (let i = 0; i < 3; i++) await queue.run({ priority: 'sign_in' }, () => sleep(100, slow))
    expect(queue.stats().places).toBeLessThan(25)
  })
})

it('who waited in vain leaves its place and its share', async () => {
  const { queue, ask, come, refusals } = createDesk({ deadlineMs: 20, guessMs: 1 })
  come('first', { network: 'a', account: 'ada' })
  expect(await ask('second', { network: 'a', account: 'ada' })).toBe('temporarily_unavailable 1')
  expect(refusals).toEqual(['sign_in late'])
  expect(queue.stats()).toMatchObject({ running: 1, queued: 0 })
  const again = ask('third', { network: 'a', account: 'ada' })
  await sleep(1)
  expect(queue.stats().queued).toBe(1)
  await again
})
