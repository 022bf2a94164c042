import { describe, expect, it } from '@jest/globals'
import { sha256 } from '../../src/platform/ids.ts'
import { createWaitingLine, type Verdict, type WaitingLine } from '../../src/platform/waiting_line.ts'

/** A clock by hand, processes that share a secret, and people who come again when they are told to. */
function createHall({ perSecond, processes = 1 }: { perSecond?: number; processes?: number } = {}) {
  const start = 1_700_000_000_000
  let time = start
  let ids = 0
  let tooMuch = false
  const open = (): WaitingLine =>
    createWaitingLine({
      now: () => time,
      newId: () => `id${ids++}`,
      mac: (value) => sha256(`secret ${value}`),
      macMatches: (value, mac) => sha256(`secret ${value}`) === mac,
      perSecond,
      isTooMuch: () => tooMuch,
    })
  const lines = Array.from({ length: processes }, open)
  let turn = 0
  const next = (): WaitingLine => lines[turn++ % lines.length] as WaitingLine
  const people: { name: string; ticket?: string; at: number; stays: boolean }[] = []
  const admitted: { name: string; second: number }[] = []

  function visit(person: (typeof people)[number]): void {
    const verdict = next().come({ ticket: person.ticket, holder: 'a browser' })
    if (verdict.admitted) {
      admitted.push({ name: person.name, second: (time - start) / 1000 })
      people.splice(people.indexOf(person), 1)
    } else {
      person.ticket = verdict.ticket
      person.at = person.stays ? time + verdict.againSeconds * 1000 : Number.POSITIVE_INFINITY
    }
  }

  return {
    lines,
    admitted,
    add: () => lines.push(open()),
    setTooMuch: (value: boolean) => {
      tooMuch = value
    },
    arrive(name: string, { stays = true } = {}) {
      time += 1
      const person = { name, at: time, stays }
      people.push(person)
      visit(person)
    },
    /** A moment later. */
    moment() {
      time += 1
    },
    /** Lets a second pass, in tenths. */
    second() {
      for (let tenth = 0; tenth < 10; tenth++) {
        time += 100
        for (const person of [...people]) if (person.at <= time) visit(person)
      }
      for (const line of lines) line.tick()
    },
    waiting: () => people.filter(({ stays }) => stays).length,
  }
}

const names = (admitted: readonly { name: string }[]) => admitted.map(({ name }) => name)
const numbersOf = (admitted: readonly { name: string }[]) => admitted.map(({ name }) => Number(name))

describe('with a number from the operator', () => {
  it('lets in so many a second, in the order of arrival', () => {
    const hall = createHall({ perSecond: 2 })
    for (let i = 0; i < 60; i++) hall.arrive(String(i))
    // One second's worth at once.
    expect(names(hall.admitted)).toEqual(['0', '1'])
    for (let second = 0; second < 60; second++) hall.second()
    expect(hall.waiting()).toBe(0)
    expect(numbersOf(hall.admitted)).toEqual(numbersOf(hall.admitted).sort((a, b) => a - b))
    const last = hall.admitted.at(-1)?.second ?? 0
    expect(last).toBeGreaterThanOrEqual(29)
    expect(last).toBeLessThan(40)
  })

  it('keeps the order after a quiet night, however much was left over in it', () => {
    const hall = createHall({ perSecond: 1 })
    const line = hall.lines[0] as WaitingLine
    for (let second = 0; second < 3600; second++) hall.second()
    const come = (ticket?: string) => line.come({ ticket, holder: 'a browser' })
    const ticketOf = (verdict: Verdict) => (verdict.admitted ? undefined : verdict.ticket)
    // Six seconds' worth is saved.
    const [first] = Array.from({ length: 7 }, () => come()).flatMap((verdict) => ticketOf(verdict) ?? [])
    hall.moment()
    const second = ticketOf(come())
    expect([first, second]).toEqual([expect.any(String), expect.any(String)])
    hall.second()
    expect(come(second).admitted).toBe(false)
    expect(come(first).admitted).toBe(true)
    hall.second()
    expect(come(second).admitted).toBe(true)
  })

  it('has no line for fewer than that', () => {
    const hall = createHall({ perSecond: 2 })
    for (let i = 0; i < 50; i++) {
      hall.arrive(String(i))
      hall.second()
    }
    expect(hall.admitted).toHaveLength(50)
    expect(hall.lines[0]?.stats().waiting).toBe(0)
  })

  it('tells about how long it takes', () => {
    const line = createHall({ perSecond: 2 }).lines[0] as WaitingLine
    const verdicts: Verdict[] = []
    for (let i = 0; i < 242; i++) verdicts.push(line.come({ holder: 'a browser' }))
    expect(verdicts.at(-1)).toMatchObject({ admitted: false, waitSeconds: 120 })
  })

  it('goes on without those who left', () => {
    const hall = createHall({ perSecond: 1 })
    for (let i = 0; i < 40; i++) hall.arrive(String(i), { stays: i % 4 === 0 })
    for (let second = 0; second < 40; second++) hall.second()
    const order = numbersOf(hall.admitted)
    expect([...order].sort((a, b) => a - b)).toEqual([0, 4, 8, 12, 16, 20, 24, 28, 32, 36])
    // What others left is there for six seconds, for whoever is near the front and comes again first.
    expect(order.filter((number, place) => Math.abs(number / 4 - place) > 6)).toEqual([])
    expect(hall.lines[0]?.stats().waiting).toBe(0)
  })
})

describe('several processes', () => {
  it('share nothing, and together let in at their rates, much in the order of arrival, whoever is asked', () => {
    const hall = createHall({ perSecond: 1, processes: 3 })
    for (let i = 0; i < 120; i++) {
      hall.arrive(String(i))
      if (i % 30 === 29) hall.second()
    }
    for (let second = 0; second < 20; second++) hall.second()
    // A new one knows the line when everybody has come once.
    hall.add()
    for (let second = 0; second < 40; second++) hall.second()
    expect(hall.waiting()).toBe(0)
    const order = numbersOf(hall.admitted)
    const displaced = order.filter((number, place) => Math.abs(number - place) > 20)
    expect(displaced).toEqual([])
    expect(hall.admitted.at(-1)?.second).toBeGreaterThan(25)
  })
})

describe('a ticket', () => {
  const first = () => {
    const hall = createHall({ perSecond: 1 })
    const line = hall.lines[0] as WaitingLine
    line.come({ holder: 'a browser' })
    const verdict = line.come({ holder: 'a browser' })
    if (verdict.admitted) throw new Error('there is no line')
    for (let i = 0; i < 300; i++) line.come({ holder: 'somebody' })
    hall.second()
    return { hall, line, ticket: verdict.ticket }
  }
  const older = (ticket: string) => {
    const [time = '', ...rest] = ticket.split('.')
    return [(Number.parseInt(time, 36) - 60_000).toString(36), ...rest].join('.')
  }

  it('lets in when its turn comes', () => {
    const { line, ticket } = first()
    expect(line.come({ ticket, holder: 'a browser' })).toEqual({ admitted: true })
  })

  it.each([
    ['made older', (ticket: string) => older(ticket)],
    ['with another id', (ticket: string) => ticket.replace(/\.[^.]+\./, '.id999.')],
    ['with another signature', (ticket: string) => `${ticket.slice(0, -43)}${'A'.repeat(43)}`],
    ['cut', (ticket: string) => ticket.slice(0, -1)],
    ['of nothing', () => ''],
  ])('%s is none: its bearer is the last', (_name, forge) => {
    const { line, ticket } = first()
    const verdict = line.come({ ticket: forge(ticket), holder: 'a browser' })
    expect(verdict).toMatchObject({ admitted: false })
    expect(verdict.admitted ? 0 : verdict.waitSeconds).toBeGreaterThan(300)
  })

  it('of another browser is none', () => {
    const { line, ticket } = first()
    expect(line.come({ ticket, holder: 'another browser' })).toMatchObject({ admitted: false })
  })

  it('that was handed on lets in three times, no more', () => {
    const { line, ticket } = first()
    const verdicts = Array.from({ length: 5 }, () => line.come({ ticket, holder: 'a browser' }).admitted)
    expect(verdicts).toEqual([true, true, true, false, false])
  })

  it('ends after two hours', () => {
    const { hall, line, ticket } = first()
    for (let second = 0; second < 7201; second++) hall.second()
    for (let i = 0; i < 20; i++) line.come({ holder: 'somebody' })
    expect(line.come({ ticket, holder: 'a browser' })).toMatchObject({ admitted: false })
  })
})

describe('without a number', () => {
  it('is no line until it is too much, and none again when it is not', () => {
    const hall = createHall()
    const line = hall.lines[0] as WaitingLine
    for (let second = 0; second < 20; second++) {
      for (let i = 0; i < 10; i++) hall.arrive(`early ${second} ${i}`)
      hall.second()
    }
    expect(hall.admitted).toHaveLength(200)
    expect(line.isOn()).toBe(false)
    hall.setTooMuch(true)
    hall.second()
    expect(line.isOn()).toBe(true)
    // Less than what it was when it became too much.
    expect(line.stats().rate).toBeGreaterThan(1)
    expect(line.stats().rate).toBeLessThan(10)
    for (let i = 0; i < 100; i++) hall.arrive(`late ${i}`)
    expect(hall.waiting()).toBeGreaterThan(90)
    hall.setTooMuch(false)
    for (let second = 0; second < 40; second++) hall.second()
    expect(hall.waiting()).toBe(0)
    expect(names(hall.admitted.slice(200))).toEqual(Array.from({ length: 100 }, (_, i) => `late ${i}`))
    for (let second = 0; second < 10; second++) hall.second()
    expect(line.isOn()).toBe(false)
  })

  it('lets in fewer while it stays too much, and nobody while it is closed', () => {
    const hall = createHall()
    const line = hall.lines[0] as WaitingLine
    hall.setTooMuch(true)
    hall.second()
    const { rate } = line.stats()
    for (let second = 0; second < 5; second++) hall.second()
    expect(line.stats().rate).toBeLessThanOrEqual(rate)
    expect(line.stats().rate).toBeGreaterThan(0)
    expect(line.come({ holder: 'a browser', closed: true })).toMatchObject({ admitted: false })
    expect(line.come({ holder: 'a browser' })).toEqual({ admitted: true })
  })
})
