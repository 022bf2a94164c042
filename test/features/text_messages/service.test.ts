import { beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact, RecordedFact } from '../../../src/events.ts'
import { createTextMessages } from '../../../src/features/text_messages/index.ts'
import type { SpendingRules } from '../../../src/features/text_messages/types.ts'
import { PermanentFailure } from '../../../src/platform/delivery_rows.ts'
import type { Tx } from '../../../src/platform/postgres.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { createViews } from '../../../src/platform/views.ts'
import { createModelKeyValue } from '../../contracts/key_value_model.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')
const box = createSecretBox([Buffer.alloc(32, 7)])
const views = createViews({ viewsDir: new URL('../../../views', import.meta.url).pathname })
const RULES: SpendingRules = {
  countries: ['FI', 'SE'],
  budget: { prefixPerHour: 20, prefixPerDay: 30, countryPerHour: 1000, countryPerDay: 5000 },
  conversion: { sample: 1000, least: 0.2 },
}

let time: number
let facts: Fact[]
let measured: string[]
let sent: { to: string; text: string; id: string }[]
let wanted: boolean

beforeEach(() => {
  time = START
  facts = []
  measured = []
  sent = []
  wanted = true
})

function create(rules: Partial<SpendingRules> = {}, send?: () => Promise<void>) {
  const kv = createModelKeyValue({ now: () => new Date(time) })
  return createTextMessages({
    kv,
    rules: { ...RULES, ...rules },
    mac: (value) => box.mac(value, 'phone'),
    transaction: (work) => work({} as Tx),
    outbox: {
      record: async (stated) => {
        facts.push(...stated)
      },
      wake: () => {},
    },
    measure: (event) => measured.push(event),
    send: send ?? (async (message) => void sent.push(message)),
    writeCode: async (code, locale) => views.t(locale, 'sms.code', { code, brand: 'Genkan' }),
    host: 'id.example',
    sending: async () => wanted,
  })
}

/** Numbers of one prefix. */
const number = (i: number, prefix = '+358401') => `${prefix}${String(234_000 + i)}`
/** Somebody else each time. */
const who = (i: number) => ({ accountId: `a${i}`, ip: `10.${i >> 8}.${i & 255}.1` })

async function ends(work: readonly Promise<void>[]): Promise<string[]> {
  const settled = await Promise.allSettled(work)
  return settled.map((end) => (end.status === 'fulfilled' ? 'sent' : (end.reason as { code: string }).code))
}
const count = (all: readonly string[], what: string) => all.filter((one) => one === what).length

describe('where messages go', () => {
  it('is to mobile phones of countries that are served', async () => {
    const { read } = create().service
    expect(await read('+358 40 1234567')).toMatchObject({ number: '+358401234567', country: 'FI' })
    expect(await read('+46 70 123 45 67')).toMatchObject({ country: 'SE' })
    expect(await read('+37360012345')).toEqual({ code: 'phone_not_supported' })
    expect(await read('+358600123456')).toEqual({ code: 'phone_not_supported' })
    expect(await read('0401234567')).toEqual({ code: 'phone_invalid' })
  })

  it('is nowhere while no country is served, and anywhere where any is', async () => {
    expect(await create({ countries: [] }).service.read('+358401234567')).toEqual({ code: 'phone_not_supported' })
    expect(await create({ countries: 'any' }).service.read('+37360012345')).toMatchObject({ country: 'MD' })
  })

  it('is nowhere any more once the country of a stored number is not served', async () => {
    const { admit } = create({ countries: ['SE'] }).service
    expect(await ends([admit('+358401234567', who(1))])).toEqual(['sms_unavailable'])
    expect(measured).toEqual(['refused'])
  })
})

describe('what one may ask for', () => {
  it('is one message in thirty seconds for a number, whoever asks', async () => {
    const { admit } = create().service
    const all = await ends(Array.from({ length: 50 }, (_, i) => admit(number(0), who(i))))
    expect([count(all, 'sent'), count(all, 'too_many_requests')]).toEqual([1, 49])
    await expect(admit(number(0), who(1))).rejects.toMatchObject({ code: 'too_many_requests', retryAfter: 30 })
    time += 30_000
    expect(await ends([admit(number(0), who(1))])).toEqual(['sent'])
  })

  it('is six an hour and twelve a day for a number', async () => {
    const { admit } = create().service
    const all: string[] = []
    for (let i = 0; i < 10; i++) {
      all.push(...(await ends([admit(number(0), who(i))])))
      time += 31_000
    }
    expect(count(all, 'sent')).toBe(6)
    for (let hour = 0; hour < 4; hour++) {
      time += 3_600_000
      for (let i = 0; i < 10; i++) {
        all.push(...(await ends([admit(number(0), who(i))])))
        time += 31_000
      }
    }
    expect(count(all, 'sent')).toBe(12)
  })

  it('is ten an hour for an account and twenty for an address, whatever the numbers', async () => {
    const one = create({ countries: 'any' }).service
    const ofAccount = await ends(
      Array.from({ length: 15 }, (_, i) => one.admit(number(i), { ...who(i), accountId: 'a' })),
    )
    expect(count(ofAccount, 'sent')).toBe(10)
    const two = create({ budget: { ...RULES.budget, prefixPerHour: 100, prefixPerDay: 100 } }).service
    const ofAddress = await ends(
      Array.from({ length: 30 }, (_, i) => two.admit(number(i), { ...who(i), ip: '10.0.0.1' })),
    )
    expect(count(ofAddress, 'sent')).toBe(20)
  })

  it('counts nothing of what is refused', async () => {
    const { admit } = create({ budget: { ...RULES.budget, prefixPerHour: 2 } }).service
    await admit(number(0), who(0))
    await ends(Array.from({ length: 20 }, () => admit(number(0), who(0))))
    expect(await ends([admit(number(1), who(1))])).toEqual(['sent'])
  })
})

describe('R49d: a budget', () => {
  it('of a prefix lasts an hour and a day, and leaves other prefixes alone', async () => {
    const { admit } = create().service
    const hour = await ends(Array.from({ length: 25 }, (_, i) => admit(number(i), who(i))))
    expect([count(hour, 'sent'), count(hour, 'sms_unavailable')]).toEqual([20, 5])
    await expect(admit(number(30), who(30))).rejects.toMatchObject({ status: 429, retryAfter: 3600 })
    expect(await ends([admit(number(0, '+358451'), who(31))])).toEqual(['sent'])
    time += 3_600_000
    const day = await ends(Array.from({ length: 25 }, (_, i) => admit(number(100 + i), who(100 + i))))
    expect([count(day, 'sent'), count(day, 'sms_unavailable')]).toEqual([10, 15])
    await expect(admit(number(200), who(200))).rejects.toMatchObject({ retryAfter: 82_800 })
  })

  it('of a country holds whoever spreads over its prefixes', async () => {
    const { admit } = create({ budget: { ...RULES.budget, countryPerHour: 7 } }).service
    const prefixes = ['+358401', '+358402', '+358403', '+358404', '+358405']
    const all = await ends(
      prefixes.flatMap((prefix, p) => [0, 1, 2].map((i) => admit(number(i, prefix), who(10 * p + i)))),
    )
    expect([count(all, 'sent'), count(all, 'sms_unavailable')]).toEqual([7, 8])
    expect(await ends([admit('+46701234567', who(99))])).toEqual(['sent'])
  })
})

describe('R49d: a prefix whose codes nobody uses', () => {
  const conversion = { sample: 10, least: 0.2 }

  it('is stopped for an hour after the sample, once, with a fact and a measure; then it is tried again', async () => {
    const { admit } = create({ conversion }).service
    expect(count(await ends(Array.from({ length: 10 }, (_, i) => admit(number(i), who(i)))), 'sent')).toBe(10)
    const all = await ends(Array.from({ length: 10 }, (_, i) => admit(number(20 + i), who(20 + i))))
    expect(all).toEqual(Array.from({ length: 10 }, () => 'sms_unavailable'))
    expect(facts).toEqual([
      { type: 'sms.stopped', actor: 'system', data: { prefix: '+358401', country: 'FI', seconds: 3600 } },
    ])
    expect(count(measured, 'stopped')).toBe(1)
    expect(await ends([admit(number(0, '+358451'), who(50))])).toEqual(['sent'])
    time += 3_599_000
    await expect(admit(number(40), who(40))).rejects.toMatchObject({ code: 'sms_unavailable', retryAfter: 1 })
    time += 1000
    const again = await ends(Array.from({ length: 12 }, (_, i) => admit(number(60 + i), who(60 + i))))
    expect(count(again, 'sent')).toBe(10)
    expect(facts).toHaveLength(2)
  })

  it('goes on while enough are used, sample after sample', async () => {
    const { admit, used } = create({
      conversion,
      budget: { ...RULES.budget, prefixPerHour: 100, prefixPerDay: 100 },
    }).service
    for (let i = 0; i < 60; i++) {
      await admit(number(i), who(i))
      if (i % 5 === 0) await used(number(i))
    }
    expect(facts).toEqual([])
    // The last sample had its two; the next has one.
    for (let i = 60; i < 70; i++) await admit(number(i), who(i))
    await used(number(60))
    expect(await ends([admit(number(70), who(70))])).toEqual(['sms_unavailable'])
    expect(facts).toHaveLength(1)
  })

  it('is never stopped by requests at once of which the sample was used', async () => {
    const { admit, used } = create({
      conversion,
      budget: { ...RULES.budget, prefixPerHour: 100, prefixPerDay: 100 },
    }).service
    for (let i = 0; i < 10; i++) await admit(number(i), who(i))
    await used(number(0))
    await used(number(1))
    const all = await ends(Array.from({ length: 9 }, (_, i) => admit(number(20 + i), who(20 + i))))
    expect(count(all, 'sent')).toBeGreaterThan(0)
    expect(facts).toEqual([])
  })

  it('may be switched off', async () => {
    const { admit } = create({ conversion: { sample: 5, least: 0 } }).service
    const all = await ends(Array.from({ length: 15 }, (_, i) => admit(number(i), who(i))))
    for (let i = 15; i < 18; i++) all.push(...(await ends([admit(number(i), who(i))])))
    expect(count(all.slice(-3), 'sent')).toBe(3)
  })
})

describe('a message', () => {
  const message = {
    accountId: 'a',
    to: '+358401234567',
    code: '123456',
    locale: 'en',
    brand: undefined,
    reference: 'r',
  }
  const fact = (sealed: Fact['sealed']): RecordedFact => ({
    type: 'sms.requested',
    id: 'f1',
    occurredAt: new Date(START),
    sealed,
  })
  const deliver = async (feature: ReturnType<typeof create>, sealed: Fact['sealed'] = facts[0]?.sealed) =>
    feature.subscribe?.[0]?.handle(fact(sealed))

  it('is asked for by a fact that shows neither number nor code', async () => {
    await create().service.request(message)
    const [{ sealed, ...open } = {}] = facts
    expect(open).toEqual({ type: 'sms.requested', accountId: 'a' })
    expect(sealed).toMatchObject({ to: '+358401234567', code: '123456' })
  })

  it('names the brand, says never to share the code, and binds it to the host', async () => {
    const feature = create()
    await feature.service.request(message)
    await deliver(feature)
    expect(sent).toEqual([
      {
        to: '+358401234567',
        id: 'f1',
        text: '123456 is your Genkan code. Never share it: nobody from Genkan will ask for it.\n\n@id.example #123456',
      },
    ])
    expect(measured).toEqual(['sent'])
  })

  it.each(views.locales)('in %s fits what is paid for as one message, or two in wide letters', async (locale) => {
    const feature = create()
    await feature.service.request({ ...message, locale })
    await deliver(feature)
    const text = sent[0]?.text ?? ''
    const wide = /[^\n\x20-\x5f\x61-\x7eÄÖÅäöåéèàùìòÆæØøßÑñÜü]/u.test(text)
    expect(text).toMatch(/\n\n@id\.example #123456$/)
    expect([locale, text.length]).toEqual([locale, text.length <= (wide ? 134 : 160) ? text.length : 'too long'])
  })

  it('is not sent when its code is not wanted any more', async () => {
    const feature = create()
    await feature.service.request(message)
    wanted = false
    await deliver(feature)
    expect(sent).toEqual([])
  })

  it('that the provider does not take is left to the delivery to repeat, and measured', async () => {
    const feature = create({}, () => Promise.reject(new Error('the provider of text messages answered 503')))
    await feature.service.request(message)
    await expect(deliver(feature)).rejects.toThrow('503')
    expect(measured).toEqual(['failed'])
  })

  it('that is not whole fails for good', async () => {
    for (const sealed of [undefined, { ...message, to: '358401234567' }, { ...message, to: '+1; drop' }]) {
      await expect(create().subscribe?.[0]?.handle(fact(sealed))).rejects.toThrow(PermanentFailure)
    }
    expect(sent).toEqual([])
  })
})
