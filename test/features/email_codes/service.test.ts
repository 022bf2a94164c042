import { beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import { createEmailCodeService } from '../../../src/features/email_codes/service.ts'
import type { CodeRequest } from '../../../src/features/email_codes/types.ts'
import { digits, newId } from '../../../src/platform/ids.ts'
import type { Tx } from '../../../src/platform/postgres.ts'
import { runInRequest } from '../../../src/platform/request_scope.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { createModelKeyValue } from '../../contracts/key_value_model.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')
const box = createSecretBox([Buffer.alloc(32, 7)])
const REQUEST: CodeRequest = {
  purpose: 'verify_email',
  cid: 'c1',
  to: 'anna@example.com',
  bound: 'A',
  ip: '203.0.113.7',
  locale: 'en',
  accountId: 'A',
  mail: {
    to: 'anna@example.com',
    template: 'email_codes/verify_email',
    carriesCode: true,
    values: (code) => ({ url: `https://id.example/interaction/u1/verify_email?code=${code}` }),
  },
}

interface Sealed {
  readonly to: string | null
  readonly values: { readonly code: string; readonly url: string; readonly minutes: number }
  readonly reference: string
}

let time: number
let kv: ReturnType<typeof createModelKeyValue>
let facts: Fact[]
let codes: ReturnType<typeof createEmailCodeService>
let failing: boolean

beforeEach(() => {
  time = START
  facts = []
  failing = false
  const clock = { now: () => new Date(time) }
  kv = createModelKeyValue(clock)
  codes = createEmailCodeService({
    kv,
    transaction: (work) => work({} as Tx),
    outbox: {
      record: async (stated) => {
        if (failing) throw new Error('the database is away')
        facts.push(...stated)
      },
      wake: () => {},
    },
    clock,
    newId,
    digits,
    mac: (value) => box.mac(value, 'code'),
    macMatches: (value, mac) => box.macMatches(value, 'code', mac),
  })
})

const sealed = (index = -1) => facts.at(index)?.sealed as unknown as Sealed
/** What the mails' consumer does: it asks right before each attempt to send. */
const send = (index = -1) => codes.sending(sealed(index).reference)
const wrongOf = (code: string) => String((Number(code) + 1) % 1_000_000).padStart(6, '0')

async function mailed(request = REQUEST): Promise<string> {
  await codes.ensure(request)
  await send()
  return sealed().values.code
}

describe('A code by mail', () => {
  it('is six digits, sealed in the fact, and not readable in the store (A110)', async () => {
    const stored: string[] = []
    const { swap } = kv
    kv.swap = (key, expected, value, ttl) => {
      stored.push(key, value)
      return swap(key, expected, value, ttl)
    }
    const code = await mailed()
    expect(code).toMatch(/^\d{6}$/)
    expect(sealed()).toMatchObject({
      to: 'anna@example.com',
      values: { minutes: 10, url: expect.stringContaining(code) },
    })
    expect(stored.join('\n')).not.toContain(code)
    expect(JSON.stringify(facts.at(-1)?.data)).not.toMatch(/anna|\d{6}/)
  })

  it('is right once', async () => {
    const code = await mailed()
    expect(await codes.check(REQUEST, code)).toBe('right')
    expect(await codes.check(REQUEST, code)).toBe('wrong')
  })

  it('is right for one of fifty that come at once (A24)', async () => {
    const code = await mailed()
    const all = await Promise.all(Array.from({ length: 50 }, () => codes.check(REQUEST, code)))
    expect(all.filter((checked) => checked === 'right')).toHaveLength(1)
  })

  it('takes three wrong tries and then no right one', async () => {
    const code = await mailed()
    for (let i = 0; i < 3; i++) expect(await codes.check(REQUEST, wrongOf(code))).toBe('wrong')
    expect(await codes.check(REQUEST, code)).toBe('used_up')
  })

  it('takes three tries in all when hundreds come at once (A34, A36)', async () => {
    const code = await mailed()
    const all = await Promise.all([
      ...Array.from({ length: 300 }, (_, i) => codes.check(REQUEST, String(i).padStart(6, '0'))),
      codes.check(REQUEST, code),
    ])
    expect(all.filter((checked) => checked === 'wrong').length).toBeLessThanOrEqual(3)
    expect(all.at(-1)).not.toBe('right')
  })

  it.each([
    ['another conversation (A27)', { cid: 'c2' }],
    ['another address (A23)', { to: 'victim@example.com' }],
    ['another purpose (A27)', { purpose: 'recover' as const }],
    ['another account, or the same after a change (A24)', { bound: 'B' }],
  ])('is not right for %s', async (_, change) => {
    const code = await mailed()
    expect(await codes.check({ ...REQUEST, ...change }, code)).toBe('wrong')
    expect(await codes.check(REQUEST, code)).toBe('right')
  })

  it.each(['', ' ', '12345', '1234567', 'abcdef', '１２３４５６', '12345\0', '-12345', '1e5'])(
    'is not %j, which is no code and costs no try',
    async (typed) => {
      const code = await mailed()
      for (let i = 0; i < 5; i++) expect(await codes.check(REQUEST, typed)).toBe('wrong')
      expect(await codes.check(REQUEST, code)).toBe('right')
    },
  )

  it('lasts ten minutes from its sending, not from its asking (F38)', async () => {
    await codes.ensure(REQUEST)
    const { code } = sealed().values
    time += 25 * 60_000
    await send()
    time += 10 * 60_000 - 1
    expect(await codes.check(REQUEST, wrongOf(code))).toBe('wrong')
    expect(await codes.check(REQUEST, code)).toBe('right')

    await codes.ensure(REQUEST)
    await send()
    time += 10 * 60_000
    expect(await codes.check(REQUEST, sealed().values.code)).toBe('wrong')
  })

  it('begins its ten minutes again with another attempt to send', async () => {
    const code = await mailed()
    time += 9 * 60_000
    expect(await send()).toBe(true)
    time += 9 * 60_000
    expect(await codes.check(REQUEST, code)).toBe('right')
  })

  it('is nobody’s before it was sent', async () => {
    await codes.ensure(REQUEST)
    expect(await codes.check(REQUEST, sealed().values.code)).toBe('wrong')
  })
})

describe('Asking for a code', () => {
  it('sends one however often the page is opened', async () => {
    for (let i = 0; i < 5; i++) await codes.ensure(REQUEST)
    expect(facts).toHaveLength(1)
  })

  it('sends one when the page is opened many times at once', async () => {
    await Promise.all(Array.from({ length: 5 }, () => codes.ensure(REQUEST)))
    expect(facts).toHaveLength(1)
  })

  it('sends another to a corrected address, and the first is dead', async () => {
    const first = await mailed()
    const corrected = { ...REQUEST, to: 'right@example.com', mail: { ...REQUEST.mail, to: 'right@example.com' } }
    const second = await mailed(corrected)
    expect(await codes.check(REQUEST, first)).toBe('wrong')
    expect(await codes.check(corrected, second)).toBe('right')
  })

  it('sends another after thirty seconds, and the earlier one is dead (A24)', async () => {
    const first = await mailed()
    expect(await codes.resend(REQUEST)).toBe(30)
    time += 29_500
    expect(await codes.resend(REQUEST)).toBe(1)
    expect(await codes.resendIn(REQUEST)).toBe(1)
    time += 500
    expect(await codes.resendIn(REQUEST)).toBe(0)
    expect(await codes.resend(REQUEST)).toBeUndefined()
    const second = sealed().values.code
    await send()
    if (first !== second) expect(await codes.check(REQUEST, first)).toBe('wrong')
    expect(await codes.check(REQUEST, second)).toBe('right')
  })

  it('sends one mail when the button is pressed many times at once', async () => {
    await mailed()
    time += 60_000
    await Promise.allSettled(Array.from({ length: 20 }, () => codes.resend(REQUEST)))
    expect(facts).toHaveLength(2)
  })

  it('does not send a mail whose code was replaced or used before it left', async () => {
    await codes.ensure(REQUEST)
    time += 30_000
    await codes.resend(REQUEST)
    expect(await send(0)).toBe(false)
    expect(await send(1)).toBe(true)
    await codes.check(REQUEST, sealed().values.code)
    expect(await send(1)).toBe(false)
  })

  it('tries again when the errand could not be stated', async () => {
    failing = true
    await expect(codes.ensure(REQUEST)).rejects.toThrow('away')
    failing = false
    await codes.ensure(REQUEST)
    expect(facts).toHaveLength(1)
  })

  it('keeps a mailbox from being flooded: six an hour for one requester, thirty in all', async () => {
    const from = (ip: string, cid: string) => codes.ensure({ ...REQUEST, ip, cid })
    for (let i = 0; i < 6; i++) await from('203.0.113.7', `c${i}`)
    await expect(from('203.0.113.7', 'c6')).rejects.toMatchObject({ code: 'too_many_requests', retryAfter: 3600 })
    // The mailbox's owner is not locked out by it (A38).
    await from('198.51.100.1', 'owner')
    for (let i = 7; i < 30; i++) await from(`198.51.100.${i}`, `d${i}`)
    await expect(from('192.0.2.1', 'e')).rejects.toMatchObject({ code: 'too_many_requests' })
    expect(facts).toHaveLength(30)
  })

  it('sends nothing to nobody, at the same cost', async () => {
    await codes.ensure({ ...REQUEST, mail: { ...REQUEST.mail, to: null } })
    expect(sealed()).toMatchObject({ to: null, values: { code: expect.stringMatching(/^\d{6}$/) } })
  })

  it('sends a mail without a code whatever becomes of the conversation', async () => {
    await codes.ensure({ ...REQUEST, mail: { ...REQUEST.mail, carriesCode: false, values: () => ({ url: 'x' }) } })
    expect(facts.at(-1)?.sealed).toEqual({
      to: 'anna@example.com',
      template: 'email_codes/verify_email',
      locale: 'en',
      values: { url: 'x' },
    })
  })
})

describe('A36: guessing over new conversations and addresses', () => {
  const guess = (ip: string, cid: string) =>
    runInRequest({ requestId: 'r', ip, userAgent: '' }, async () => {
      const code = await mailed({ ...REQUEST, cid, ip })
      return codes.check({ ...REQUEST, cid }, wrongOf(code))
    })

  it('counts at the most a hundred tries a day for one mailbox', async () => {
    let counted = 0
    for (let i = 0; i < 150; i++) {
      time += 200_000
      if ((await guess(`198.51.${i}.1`, `c${i}`)) === 'wrong') counted++
    }
    expect(counted).toBe(100)
  })

  it('and thirty for one requester, so that nobody alone keeps the owner out (A38)', async () => {
    let counted = 0
    for (let i = 0; i < 40; i++) {
      time += 700_000
      if ((await guess('198.51.100.1', `c${i}`)) === 'wrong') counted++
    }
    expect(counted).toBe(30)
    await runInRequest({ requestId: 'r', ip: '203.0.113.7', userAgent: '' }, async () => {
      expect(await codes.check({ ...REQUEST, cid: 'own' }, await mailed({ ...REQUEST, cid: 'own' }))).toBe('right')
    })
  })

  it('says how long to wait', async () => {
    for (let i = 0; i < 30; i++) {
      time += 700_000
      await guess('198.51.100.1', `c${i}`)
    }
    time += 700_000
    const checked = await guess('198.51.100.1', 'last')
    expect(checked).toEqual({ retryAfter: 86_400 - 30 * 700 })
  })
})
