import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { afterCheck, type DomainProof, proofRecord, seenIn } from '../../src/platform/domain_proof.ts'
import { createTxtLookUp, type LookUpTxt } from '../../src/platform/txt_records.ts'
import { type DnsStub, startDnsStub } from '../support/dns_stub.ts'

const RECORD = proofRecord({ domain: 'acme.example', token: 'T'.repeat(43) })
const DAY = 86_400_000
const START = new Date('2026-11-26T10:00:00Z')
const later = (days: number) => new Date(START.getTime() + days * DAY)

describe('the record of a domain, asked of a DNS server', () => {
  let dns: DnsStub
  let lookUp: LookUpTxt
  beforeAll(async () => {
    dns = await startDnsStub()
    lookUp = createTxtLookUp([dns.server])
  })
  beforeEach(() => dns.answer('well'))
  afterAll(() => dns?.close())
  const look = async () => seenIn(await lookUp(RECORD.name), RECORD.value)

  it.each([
    ['is proven by the exact value', { [RECORD.name]: [[RECORD.value]] }, 'proven'],
    ['among other records', { [RECORD.name]: [['v=spf1 -all'], [RECORD.value]] }, 'proven'],
    [
      'in several strings of one record',
      { [RECORD.name]: [[RECORD.value.slice(0, 20), RECORD.value.slice(20)]] },
      'proven',
    ],
    [
      'not by halves in two records',
      { [RECORD.name]: [[RECORD.value.slice(0, 20)], [RECORD.value.slice(20)]] },
      'other_value',
    ],
    ['not by the token of another', { [RECORD.name]: [[`genkan-domain=${'S'.repeat(43)}`]] }, 'other_value'],
    ['not in another case', { [RECORD.name]: [[RECORD.value.toUpperCase()]] }, 'other_value'],
    ['not with more behind it', { [RECORD.name]: [[`${RECORD.value} `]] }, 'other_value'],
    ['not by a wildcard that says something else', { '*.acme.example': [['v=spf1 -all']] }, 'other_value'],
    ['not by a record of the domain itself', { 'acme.example': [[RECORD.value]] }, 'missing'],
    ['not by a record of a domain below', { '_genkan.www.acme.example': [[RECORD.value]] }, 'missing'],
    ['not by an empty answer', { [RECORD.name]: [] }, 'missing'],
  ])('%s', async (_, records, seen) => {
    dns.set(records)
    expect(await look()).toBe(seen)
    expect(dns.asked.at(-1)).toBe('_genkan.acme.example')
  })

  it('says that it does not know when the server fails', async () => {
    dns.answer('servfail')
    expect(await look()).toEqual({ failed: 'ESERVFAIL' })
  })

  it('waits three seconds for one that is silent', async () => {
    dns.answer('silent')
    const before = performance.now()
    expect(await look()).toEqual({ failed: expect.stringMatching(/^E(TIMEOUT|CANCELLED)$/) })
    expect(performance.now() - before).toBeLessThan(5000)
  })
})

describe('a proof that is looked at each day', () => {
  const PROVEN: DomainProof = { provenAt: START, checkedAt: START, missedSince: undefined, misses: 0 }
  const walk = (looks: readonly (readonly [day: number, isThere: boolean])[]) =>
    looks.reduce((proof, [day, isThere]) => afterCheck(proof, isThere, later(day)), PROVEN)

  it.each([
    ['one miss', [[1, false]], true],
    [
      'two days of misses',
      [
        [1, false],
        [2, false],
      ],
      true,
    ],
    [
      'three misses within a day',
      [
        [1, false],
        [1.2, false],
        [1.9, false],
      ],
      true,
    ],
    [
      'three days of misses',
      [
        [1, false],
        [2, false],
        [3, false],
      ],
      false,
    ],
    [
      'two misses that are far apart',
      [
        [1, false],
        [9, false],
      ],
      true,
    ],
    [
      'misses with a sight between them',
      [
        [1, false],
        [2, false],
        [3, true],
        [4, false],
        [5, false],
      ],
      true,
    ],
  ] as const)('%s', (_, looks, holds) => {
    expect(walk(looks).provenAt !== undefined).toBe(holds)
  })

  it('is whole again after a sight', () => {
    expect(
      walk([
        [1, false],
        [2, true],
      ]),
    ).toEqual({ ...PROVEN, checkedAt: later(2) })
  })
})
