/** What is recorded of persons, how long it counts, and what it takes to be taken as verified. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import { identificationRepository } from '../../../src/features/identifications/repository.ts'
import { createIdentificationService } from '../../../src/features/identifications/service.ts'
import { type Identifying, verifiedIn } from '../../../src/features/identifications/types.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { accountColumns, testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const DAY = 86_400_000
const START = Date.parse('2026-11-01T12:00:00.000Z')
const BANK: Identifying = {
  ...{ framework: 'fi_ftn', evidence: 'electronic_record', validDays: 30 },
  claims: ['given_name', 'birthdate', 'personal_identity_code'],
}
const VERA = { given_name: 'Vera', personal_identity_code: '280290-123A' }

describe.each(['embedded', 'postgres'] as const)('identifications on %s', (kind) => {
  let database: Database
  let facts: Fact[]
  let now: number
  let ids = 0

  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    facts = []
    now = START
    await database.db('accounts').delete()
    const row = { state: 'active', created_at: new Date(START), updated_at: new Date(START) }
    await database
      .db('accounts')
      .insert(['a', 'b'].map((id) => ({ id, ...accountColumns(id, `${id}@x.test`), ...row })))
  })

  const repository = () => identificationRepository(database.db, testPersonal)
  const service = () =>
    createIdentificationService({
      repository: repository(),
      outbox: { record: async (more) => void facts.push(...more) },
      clock: { now: () => new Date(now) },
      newId: () => `id-${ids++}`,
      title: async (name) => (name === 'gone' ? undefined : `The ${name}`),
    })
  const record = (accountId: string, verified: { [claim: string]: string } | undefined, at = now, name = 'bank') =>
    database.transaction((tx) => service().record(accountId, { name, identification: BANK }, { verified, at }, tx))

  it('one is recorded with its date and its end, stated without values, and counts until then', async () => {
    await record('a', VERA)
    expect(await service().current('a')).toMatchObject([
      {
        ...{ accountId: 'a', upstream: 'bank', framework: 'fi_ftn', evidence: 'electronic_record', claims: VERA },
        ...{ verifiedAt: new Date(START), expiresAt: new Date(START + 30 * DAY), title: 'The bank' },
      },
    ])
    expect(facts).toEqual([
      {
        type: 'identification.recorded',
        accountId: 'a',
        data: {
          ...{ upstream: 'bank', framework: 'fi_ftn', evidence: 'electronic_record' },
          ...{ claims: Object.keys(VERA), expires_at: new Date(START + 30 * DAY).toISOString() },
        },
      },
    ])
    expect(JSON.stringify(await database.db('identifications'))).not.toContain('Vera')
    expect(await service().current('b')).toEqual([])
    now = START + 30 * DAY - 1
    expect(await service().current('a')).toHaveLength(1)
    now = START + 30 * DAY
    expect(await service().current('a')).toEqual([])
  })

  it('nothing is recorded of who was not identified', async () => {
    await record('a', undefined)
    await database.transaction((tx) => service().record('a', { name: 'bank' }, { verified: VERA, at: now }, tx))
    expect([await service().current('a'), facts]).toEqual([[], []])
  })

  it('a later one of the provider replaces it, an earlier one that was slower does not', async () => {
    await record('a', VERA)
    await record('a', { given_name: 'Veera' }, START + DAY)
    await record('a', VERA, START + 1)
    expect((await service().current('a')).map(({ claims }) => claims)).toEqual([{ given_name: 'Veera' }])
    expect(facts).toHaveLength(2)
    await record('a', VERA, START, 'operator')
    expect((await service().current('a')).map(({ upstream }) => upstream)).toEqual(['bank', 'operator'])
  })

  it('one of a provider that is not there any more does not count, until it is there again', async () => {
    await record('a', VERA, START, 'gone')
    await record('a', VERA, START, 'bank')
    expect((await service().current('a')).map(({ upstream }) => upstream)).toEqual(['bank'])
    expect(await database.db('identifications')).toHaveLength(2)
  })

  it('whoever else records or removes one stands in the facts', async () => {
    const by = { actor: 'operator', operator: 'ann', reason: 'seen at the desk' } as const
    const source = { name: 'desk', identification: BANK }
    const said = { verified: VERA, at: now }
    expect(await database.transaction((tx) => service().record('a', source, said, tx, by))).toBe(true)
    expect(await database.transaction((tx) => service().record('a', source, { ...said, at: 0 }, tx, by))).toBe(false)
    expect(await database.transaction((tx) => service().forget('a', 'desk', tx, by))).toBe(true)
    expect(await database.transaction((tx) => service().forget('a', 'desk', tx, by))).toBe(false)
    const { actor, ...who } = by
    expect(facts).toMatchObject([
      { type: 'identification.recorded', actor, data: who },
      { type: 'identification.removed', actor, data: { ...who, upstream: 'desk' } },
    ])
  })

  it('of many at once the latest stays', async () => {
    const times = Array.from({ length: 10 }, (_, index) => START + ((index * 7) % 10) * 1000)
    await Promise.all(times.map((at) => record('a', { given_name: String(at) }, at)))
    expect(await service().current('a')).toMatchObject([{ claims: { given_name: String(START + 9000) } }])
  })

  it('it goes with the connection, and with the account', async () => {
    await record('a', VERA)
    await record('b', VERA)
    await database.transaction((tx) => service().forget('a', 'bank', tx))
    await database.transaction((tx) => service().forget('a', 'bank', tx))
    expect(await service().current('a')).toEqual([])
    expect(facts.filter(({ type }) => type === 'identification.removed')).toHaveLength(1)
    await database.db('accounts').where({ id: 'b' }).delete()
    expect(await database.db('identifications')).toEqual([])
  })

  it('claims that were moved to the row of another account do not open there', async () => {
    await record('a', VERA)
    await record('b', { given_name: 'Bertha' })
    const { sealed_claims } = await database.db('identifications').where({ account_id: 'a' }).first()
    await database.db('identifications').where({ account_id: 'b' }).update({ sealed_claims })
    await expect(service().current('b')).rejects.toThrow()
  })
})

describe('an answer verifies', () => {
  it.each([
    ['the claims that the settings name', VERA, VERA],
    ['no other claim', { ...VERA, picture: 'https://x', email: 'v@x' }, VERA],
    ['what it says, trimmed', { given_name: '  Vera ' }, { given_name: 'Vera' }],
    [
      'no empty text, number, list or object',
      { given_name: '', birthdate: 19900228, personal_identity_code: ['x'] },
      undefined,
    ],
    ['no image', { given_name: `data:image/png;base64,${'A'.repeat(300)}` }, undefined],
    ['no line that turns another around', { given_name: 'Ve\u202era' }, undefined],
    ['a day that exists', { birthdate: '1990-02-28' }, { birthdate: '1990-02-28' }],
    ['no day that does not', { birthdate: '1990-02-30' }, undefined],
    ['nothing at all', {}, undefined],
  ])('%s', (_, claims, verified) => {
    expect(verifiedIn(BANK, { claims })).toEqual(verified)
  })

  it('at the levels that count only', () => {
    const strict = { ...BANK, acrs: ['loa2', 'loa3'] }
    expect(verifiedIn(strict, { claims: VERA, acr: 'loa2' })).toEqual(VERA)
    for (const acr of ['loa1', '', undefined]) expect(verifiedIn(strict, { claims: VERA, acr })).toBeUndefined()
    expect(verifiedIn(undefined, { claims: VERA })).toBeUndefined()
  })
})
