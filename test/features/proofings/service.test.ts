/** The rules of proofings on both kinds of database: whose word ends one, once, and what is left of it. */
import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import { identificationRepository } from '../../../src/features/identifications/repository.ts'
import { createIdentificationService } from '../../../src/features/identifications/service.ts'
import { proofingRepository } from '../../../src/features/proofings/repository.ts'
import { readProofings } from '../../../src/features/proofings/schema.ts'
import { createProofingService, type ProofingService } from '../../../src/features/proofings/service.ts'
import type { ProofingProvider } from '../../../src/features/proofings/types.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { accountColumns, testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')
const HOUR = 3_600_000
const DAY = 24 * HOUR
const KEYS = { 'photo-id': Buffer.alloc(24, 1), video: Buffer.alloc(24, 2) }
const secretOf = (name: keyof typeof KEYS) => `whsec_${KEYS[name].toString('base64')}`
const MEMBERS = { framework: 'de_aml', evidence: 'document', valid_days: 30, claims: ['given_name', 'birthdate'] }
const vendor = (name: keyof typeof KEYS) => ({
  ...{ name, title: `The ${name}`, kind: 'webhook', ...MEMBERS },
  ...{ start_url: `https://${name}.example/start?client=shop`, secret: secretOf(name) },
})
const DECLARED = [vendor('photo-id'), vendor('video'), { name: 'desk', kind: 'manual', ...MEMBERS }]
const ANNA = { given_name: 'Anna', birthdate: '1990-05-21' }
const ANN = { operator: 'ann' }

describe.each(['embedded', 'postgres'] as const)('proofings on %s', (kind) => {
  let database: Database
  let facts: Fact[]
  let told: string[]
  let hits: string[]
  let now: number
  let providers: Map<string, ProofingProvider>
  let service: ProofingService
  let ids = 0

  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    ;[facts, told, hits, now] = [[], [], [], START]
    await database.db('accounts').delete()
    const row = { state: 'active', created_at: new Date(START), updated_at: new Date(START) }
    await database
      .db('accounts')
      .insert(['a', 'b'].map((id) => ({ id, ...accountColumns(id, `${id}@x.test`), ...row })))
    const read = readProofings(DECLARED, [])
    providers = new Map('providers' in read ? read.providers : [])
    const shared = {
      clock: { now: () => new Date(now) },
      outbox: { record: async (more: readonly Fact[]) => void facts.push(...more) },
      newId: () => `id-${ids++}`,
    }
    const identifications = createIdentificationService({
      ...{ ...shared, repository: identificationRepository(database.db, testPersonal) },
      title: async (name) => providers.get(name)?.title,
    })
    service = createProofingService({
      ...{ ...shared, providers, identifications, issuer: 'https://id.example', transaction: database.transaction },
      repository: proofingRepository(database.db, testPersonal),
      newToken: () => `token-${ids++}`.padEnd(43, 'x'),
      kv: {
        hit: async ([limit]) => {
          const used = hits.filter((key) => key === limit?.key).length
          const allowed = used < (limit?.limit ?? 0)
          if (allowed && limit?.peek !== true) hits.push(limit?.key ?? '')
          return { allowed, retryAfter: allowed ? 0 : 60, warm: false }
        },
      },
      tell: async (accountId, title) => void told.push(`${accountId}: ${title}`),
      warn: () => {},
    })
  })

  /** The reference that the vendor is given. */
  async function begin(name = 'photo-id', accountId = 'a'): Promise<string> {
    const begun = await service.begin(name, accountId)
    if (!begun.ok) throw new Error(begun.code)
    return new URL(begun.url).searchParams.get('reference') ?? ''
  }
  const deliver = (
    result: object,
    options: { readonly name?: keyof typeof KEYS; readonly id?: string; readonly by?: keyof typeof KEYS } = {},
  ) => {
    const { name = 'photo-id', id = `msg_${ids++}`, by = name } = options
    const [body, timestamp] = [JSON.stringify(result), String(Math.floor(now / 1000))]
    const mac = createHmac('sha256', KEYS[by]).update(`${id}.${timestamp}.${body}`).digest('base64')
    return service.receive(name, { id, timestamp, body, signature: `v1,${mac}` }, '192.0.2.1')
  }
  const verified = (reference: string, more: object = {}) => ({ reference, status: 'verified', claims: ANNA, ...more })
  const review = (reference: string, more: object = {}) => ({ ...verified(reference, more), status: 'review' })
  const rows = () => database.db('proofings').orderBy('began_at')
  const recorded = () => database.db('identifications').orderBy('account_id')
  const types = () => facts.map(({ type }) => type)
  const stateOf = async (name = 'photo-id', accountId = 'a') =>
    (await service.offered(accountId)).find((each) => each.name === name)?.state

  describe('a check', () => {
    it('begins at the vendor, with a reference that is stored as a hash and a way back', async () => {
      const begun = await service.begin('photo-id', 'a')
      const url = new URL(begun.ok ? begun.url : '')
      expect(`${url.origin}${url.pathname}`).toBe('https://photo-id.example/start')
      const reference = url.searchParams.get('reference') ?? ''
      expect(Object.fromEntries(url.searchParams)).toEqual({
        ...{ client: 'shop', reference, return_to: 'https://id.example/account/identities' },
      })
      const [row] = await rows()
      expect(row).toMatchObject({ account_id: 'a', provider: 'photo-id', state: 'begun', sealed_claims: null })
      expect(JSON.stringify([row, facts])).not.toContain(reference)
      expect(facts).toEqual([
        { type: 'proofing.started', accountId: 'a', data: { proofing: row.id, provider: 'photo-id' } },
      ])
      expect([await stateOf(), await stateOf('video'), await stateOf('photo-id', 'b')]).toEqual([
        ...['begun', undefined, undefined],
      ])
    })

    it('is not begun at a desk, nor at what is not declared', async () => {
      for (const name of ['desk', 'nobody', '__proto__'])
        expect(await service.begin(name, 'a')).toEqual({ ok: false, code: 'absent' })
      expect((await service.offered('a')).map(({ name }) => name)).toEqual(['photo-id', 'video'])
    })

    it('takes the place of the one that is open, of two at once too; five a day', async () => {
      const first = await begin()
      const others = await Promise.all([begin(), begin()])
      expect(await rows()).toHaveLength(1)
      expect((await deliver(verified(first))).code).toBe('unknown')
      const codes = await Promise.all(others.map(async (reference) => (await deliver(verified(reference))).code))
      expect(codes.sort()).toEqual(['taken', 'unknown'])
      await begin('video')
      await begin('video')
      expect(await service.begin('photo-id', 'a')).toEqual({ ok: false, code: 'too_many_requests', retryAfter: 60 })
      expect((await service.begin('photo-id', 'b')).ok).toBe(true)
    })

    it('is over after a day', async () => {
      const reference = await begin()
      now += DAY - 1
      expect(await stateOf()).toBe('begun')
      now += 1
      expect([await stateOf(), (await deliver(verified(reference))).code]).toEqual([undefined, 'unknown'])
      expect(await service.endOverdue(new Date(now), 10)).toBe(1)
      expect(await service.endOverdue(new Date(now), 10)).toBe(0)
      expect(facts.at(-1)).toMatchObject({ type: 'proofing.expired', actor: 'system', data: { reason: 'overdue' } })
      expect(await rows()).toMatchObject([{ state: 'expired' }])
    })
  })

  describe('a result', () => {
    it('that verifies becomes an identification, with what is declared and nothing else', async () => {
      const reference = await begin()
      const at = new Date(now - DAY).toISOString()
      const said = { ...ANNA, family_name: 'Meier', photo: 'data:image/png;base64,AAAA' }
      expect(await deliver(verified(reference, { claims: said, verified_at: at }))).toEqual({ code: 'taken' })
      expect(await recorded()).toMatchObject([
        {
          ...{ account_id: 'a', upstream: 'photo-id', framework: 'de_aml', evidence: 'document' },
          ...{ verified_at: new Date(at), expires_at: new Date(Date.parse(at) + 30 * DAY) },
        },
      ])
      expect(facts.slice(1)).toMatchObject([
        { type: 'proofing.decided', actor: 'system', data: { provider: 'photo-id', status: 'verified' } },
        { type: 'identification.recorded', actor: 'system', data: { claims: ['given_name', 'birthdate'] } },
      ])
      expect(told).toEqual(['a: The photo-id'])
      const [row] = await rows()
      expect(row).toMatchObject({ state: 'verified', sealed_claims: null, decided_at: new Date(now) })
      for (const secret of ['Anna', 'Meier', '1990', 'base64'])
        expect(JSON.stringify([facts, row])).not.toContain(secret)
    })

    it('that refuses says so, by a code, and the person may begin again', async () => {
      const reference = await begin()
      expect(await deliver({ reference, status: 'refused', reason: 'document_expired' })).toEqual({ code: 'taken' })
      expect([await stateOf(), await recorded(), told]).toEqual(['refused', [], []])
      expect(facts.at(-1)).toMatchObject({ data: { status: 'refused', reason: 'document_expired' } })
      await begin()
      expect(await stateOf()).toBe('begun')
      expect(await rows()).toHaveLength(2)
    })

    it('that was decided is decided, and is answered like one that never was', async () => {
      const [used, mine] = [await begin(), await begin('video')]
      await deliver(verified(used))
      const count = facts.length
      const unknown = [
        ...[verified(used), { reference: used, status: 'refused' }, review(used)],
        ...[verified(mine), verified('x'.repeat(43))],
      ]
      for (const result of unknown) expect(await deliver(result)).toEqual({ code: 'unknown' })
      expect([facts.length, await recorded()]).toEqual([count, [expect.anything()]])
      expect(await deliver(verified(mine), { name: 'video' })).toEqual({ code: 'taken' })
    })

    it('is taken once: of twenty deliveries at once one does something, and all are told the same', async () => {
      const reference = await begin()
      const all = await Promise.all(Array.from({ length: 20 }, () => deliver(verified(reference), { id: 'msg_same' })))
      expect(all).toEqual(Array.from({ length: 20 }, () => ({ code: 'taken' })))
      expect(await deliver(verified(reference), { id: 'msg_same' })).toEqual({ code: 'taken' })
      expect(types()).toEqual(['proofing.started', 'proofing.decided', 'identification.recorded'])
      expect(told).toHaveLength(1)
    })

    it('of twenty different ones at once one counts', async () => {
      const reference = await begin()
      const all = await Promise.all(Array.from({ length: 20 }, () => deliver(verified(reference))))
      expect(all.filter(({ code }) => code === 'taken')).toHaveLength(1)
      expect(all.filter(({ code }) => code === 'unknown')).toHaveLength(19)
      expect(types().filter((type) => type === 'proofing.decided')).toHaveLength(1)
    })

    it.each([
      ['without claims', {}, undefined],
      ['with claims that are not declared', { family_name: 'Meier' }, undefined],
      ['with claims that cannot be read', { given_name: '', birthdate: '1990-02-31' }, undefined],
      ['that is older than it counts', ANNA, 31],
    ])('%s verifies nothing and changes nothing', async (_, claims, days) => {
      const reference = await begin()
      const at = days === undefined ? {} : { verified_at: new Date(now - days * DAY).toISOString() }
      expect(await deliver(verified(reference, { claims, ...at }))).toEqual({ code: 'unverified' })
      expect([await stateOf(), types()]).toEqual(['begun', ['proofing.started']])
      expect(await deliver(verified(reference))).toEqual({ code: 'taken' })
    })

    it.each([
      ['no status', { status: undefined }],
      ['a status of its own', { status: 'approved' }],
      ['no reference', { reference: undefined }],
      ['a reference of another length', { reference: 'short' }],
      ['a member more', { score: 1 }],
      ['a reason in words', { status: 'refused', reason: 'Anna Meier has no passport' }],
      ['a day without time', { verified_at: '2026-11-01' }],
      ['a time to come', { verified_at: '2026-11-01T12:06:00Z' }],
      ['claims in a list', { claims: ['Anna'] }],
    ])('with %s is malformed', async (_, change) => {
      const reference = await begin()
      expect(await deliver(verified(reference, change))).toMatchObject({
        code: 'malformed',
        detail: expect.any(String),
      })
      expect(await stateOf()).toBe('begun')
    })

    it('that nobody has signed is counted by network, and refused after sixty in ten minutes', async () => {
      const reference = await begin()
      const forged = () => deliver(verified(reference), { by: 'video' })
      for (let count = 0; count < 60; count++) expect((await forged()).code).toBe('unsigned')
      expect(await forged()).toEqual({ code: 'too_many_requests', retryAfter: 60 })
      expect(await stateOf()).toBe('begun')
    })

    it('leaves a later identification alone', async () => {
      const first = await begin()
      await deliver(verified(first))
      const second = await begin()
      const at = new Date(now - DAY).toISOString()
      expect(await deliver(verified(second, { claims: { given_name: 'Old' }, verified_at: at }))).toEqual({
        code: 'taken',
      })
      expect(await recorded()).toMatchObject([{ verified_at: new Date(now) }])
      expect(told).toHaveLength(1)
    })
  })

  describe('a review', () => {
    it('keeps the claims sealed until somebody decides, and thirty days at the most', async () => {
      const reference = await begin()
      expect(await deliver(review(reference))).toEqual({ code: 'taken' })
      const [row] = await rows()
      expect(row).toMatchObject({ state: 'review', expires_at: new Date(now + 30 * DAY) })
      expect(row.sealed_claims).toEqual(expect.any(String))
      expect(JSON.stringify([row, facts])).not.toContain('Anna')
      expect(facts.at(-1)).toMatchObject({ type: 'proofing.referred', actor: 'system' })
      expect(await stateOf()).toBe('review')
      now += 30 * DAY
      expect(await service.desk.approve(row.id, ANN)).toBe('closed')
      await service.endOverdue(new Date(now), 10)
      expect(await rows()).toMatchObject([{ state: 'expired', sealed_claims: null }])
    })

    it('is shown to an operator, which is stated with a name', async () => {
      await deliver(review(await begin()))
      const [{ id = '' } = {}] = await service.desk.list({ state: 'review', atMost: 5 })
      expect(await service.desk.view(id, ANN)).toMatchObject({ id, claims: ANNA, accountId: 'a' })
      expect(facts.at(-1)).toEqual({
        ...{ type: 'proofing.viewed', accountId: 'a', actor: 'operator' },
        data: { proofing: id, provider: 'photo-id', operator: 'ann' },
      })
      expect(await service.desk.view('nobody', ANN)).toBeUndefined()
      expect(await service.desk.list({ state: 'verified', atMost: 5 })).toEqual([])
    })

    it('is approved once, of many at once, and dates from when the person was seen', async () => {
      const at = new Date(now - HOUR).toISOString()
      await deliver(review(await begin(), { verified_at: at }))
      const [{ id }] = await rows()
      now += DAY
      const all = await Promise.all(Array.from({ length: 10 }, () => service.desk.approve(id, ANN)))
      expect(all.filter((decided) => decided === 'done')).toHaveLength(1)
      expect(all.filter((decided) => decided === 'closed')).toHaveLength(9)
      expect(await recorded()).toMatchObject([{ verified_at: new Date(at) }])
      expect(facts.slice(-2)).toMatchObject([
        { type: 'proofing.decided', actor: 'operator', data: { status: 'verified', operator: 'ann' } },
        { type: 'identification.recorded', actor: 'operator', data: { operator: 'ann' } },
      ])
      expect(await rows()).toMatchObject([{ state: 'verified', sealed_claims: null }])
    })

    it('is refused for a reason', async () => {
      const reference = await begin()
      await deliver(review(reference))
      const [{ id }] = await rows()
      expect(await service.desk.refuse(id, { ...ANN, reason: 'another face' })).toBe('done')
      expect([await stateOf(), await recorded()]).toEqual(['refused', []])
      expect(await rows()).toMatchObject([{ reason: 'another face', sealed_claims: null }])
      expect(await service.desk.approve(id, ANN)).toBe('closed')
      expect((await deliver(verified(reference))).code).toBe('unknown')
    })

    it('may be followed by a later result of the vendor, and is never brought back by an earlier delivery', async () => {
      const reference = await begin()
      const early = () => deliver(review(reference, { claims: { given_name: 'Early' } }), { id: 'msg_early' })
      await Promise.all(Array.from({ length: 10 }, early))
      expect(types()).toEqual(['proofing.started', 'proofing.referred'])
      await deliver(review(reference))
      expect(await early()).toEqual({ code: 'taken' })
      const [{ id }] = await rows()
      expect((await service.desk.view(id, ANN))?.claims).toEqual(ANNA)
      expect(await deliver(verified(reference))).toEqual({ code: 'taken' })
      expect(await early()).toEqual({ code: 'taken' })
      expect(await rows()).toMatchObject([{ state: 'verified', sealed_claims: null }])
    })

    it('and a decision of the vendor at once are both taken, one after the other', async () => {
      for (let round = 0; round < 5; round++) {
        const reference = await begin()
        await deliver(review(reference))
        const both = await Promise.all([deliver(review(reference)), deliver(review(reference))])
        expect(both).toEqual([{ code: 'taken' }, { code: 'taken' }])
        const last = await Promise.all([deliver(review(reference)), deliver(verified(reference))])
        expect(last[1]).toEqual({ code: 'taken' })
        expect((await rows()).at(-1)).toMatchObject({ state: 'verified', sealed_claims: null })
        await database.db('proofings').delete()
        hits.length = 0
      }
    })

    it('whose claims were replaced is not approved by whoever has seen the earlier ones', async () => {
      const reference = await begin()
      await deliver(review(reference, { claims: { given_name: 'Early' } }))
      const [{ id }] = await rows()
      expect((await service.desk.view(id, ANN))?.claims).toEqual({ given_name: 'Early' })
      await deliver(review(reference))
      expect(await service.desk.approve(id, ANN)).toBe('absent')
      const [row] = await rows()
      expect(facts.at(-1)).toMatchObject({ type: 'proofing.referred', data: { proofing: row.id } })
      expect((await service.desk.view(row.id, ANN))?.claims).toEqual(ANNA)
      expect(await service.desk.approve(row.id, ANN)).toBe('done')
    })

    it('remembers the last fifty deliveries', async () => {
      const reference = await begin()
      for (let count = 0; count < 52; count++) await deliver(review(reference), { id: `msg_many_${count}` })
      const [row] = await rows()
      expect(row.results).toHaveLength(50)
    })

    it.each([
      ['nothing that may be recorded', { claims: {} }, ANN],
      ['what was seen too long ago', { verified_at: new Date(START - 40 * DAY).toISOString() }, ANN],
    ])('of %s cannot be approved, only refused', async (_, more, by) => {
      await deliver(review(await begin(), more))
      const [{ id }] = await rows()
      expect(await service.desk.approve(id, by)).toBe('unverified')
      expect(await stateOf()).toBe('review')
      expect(await service.desk.refuse(id, by)).toBe('done')
    })

    it('cannot be decided without its provider, and not before there is anything to decide', async () => {
      const reference = await begin()
      const [{ id }] = await rows()
      expect(await service.desk.approve(id, ANN)).toBe('closed')
      await deliver(review(reference))
      providers.delete('photo-id')
      expect([await service.desk.approve(id, ANN), await service.desk.approve('nobody', ANN)]).toEqual([
        ...['undeclared', 'absent'],
      ])
      expect((await deliver(verified(reference))).code).toBe('absent')
    })
  })

  describe('an operator', () => {
    const seen = { accountId: 'a', provider: 'desk', claims: ANNA }
    it('records what was seen at a desk', async () => {
      const at = new Date(now - DAY)
      expect(await service.desk.record({ ...seen, at }, ANN)).toBe('done')
      expect(await recorded()).toMatchObject([{ upstream: 'desk', verified_at: at }])
      expect(facts).toMatchObject([{ type: 'identification.recorded', actor: 'operator', data: { operator: 'ann' } }])
      expect(told).toEqual(['a: desk'])
      expect(await service.desk.record({ ...seen, at: new Date(now - 2 * DAY) }, ANN)).toBe('later')
    })

    it.each([
      ['undeclared', { provider: 'photo-id' }],
      ['undeclared', { provider: 'nobody' }],
      ['absent', { accountId: 'nobody' }],
      ['unverified', { claims: { ...ANNA, family_name: 'Meier' } }],
      ['unverified', { claims: { given_name: 'Anna', birthdate: '21.5.1990' } }],
      ['unverified', { claims: {} }],
      ['unverified', { at: new Date(START - 30 * DAY) }],
    ])('is told %s of %j', async (decided, change) => {
      expect(await service.desk.record({ ...seen, ...change }, ANN)).toBe(decided)
      expect([await recorded(), facts]).toEqual([[], []])
    })

    it('revokes what should not be there', async () => {
      await service.desk.record(seen, ANN)
      const by = { ...ANN, reason: 'a forged passport' }
      expect([await service.desk.revoke('a', 'desk', by), await service.desk.revoke('a', 'desk', by)]).toEqual([
        true,
        false,
      ])
      expect(await recorded()).toEqual([])
      expect(facts.at(-1)).toMatchObject({ type: 'identification.removed', actor: 'operator', data: by })
    })
  })

  describe('an account', () => {
    it('that is switched off, or was somebody else’s, ends what is open', async () => {
      const references = [await begin(), await begin('video')]
      await deliver(review(references[1] ?? ''), { name: 'video' })
      await begin('photo-id', 'b')
      await database.transaction((tx) => service.end('a', 'account.disabled', tx))
      expect((await rows()).map(({ state }) => state).sort()).toEqual(['begun', 'expired', 'expired'])
      expect(await database.db('proofings').whereNotNull('sealed_claims')).toEqual([])
      expect(facts.filter(({ type }) => type === 'proofing.expired')).toHaveLength(2)
      expect((await deliver(verified(references[0] ?? ''))).code).toBe('unknown')
    })

    it('may be switched off while a result comes: one of them is first, and neither waits for ever', async () => {
      for (let round = 0; round < 10; round++) {
        const reference = await begin('photo-id', round % 2 === 0 ? 'a' : 'b')
        const accountId = round % 2 === 0 ? 'a' : 'b'
        const off = database.transaction(async (tx) => {
          await tx.raw('select 1 from accounts where id = ? for update', [accountId])
          await service.end(accountId, 'account.disabled', tx)
        })
        const [{ code }] = await Promise.all([deliver(verified(reference)), off])
        const ended = (await rows()).at(-1).state
        expect([
          ['taken', 'verified'],
          ['unknown', 'expired'],
        ]).toContainEqual([code, ended])
        await database.db('proofings').delete()
        hits.length = 0
      }
    })

    it('that was somebody else’s loses what was verified by a check in the last week', async () => {
      await deliver(verified(await begin('photo-id')))
      now += 7 * DAY
      await deliver(verified(await begin('video')), { name: 'video' })
      await service.desk.record({ accountId: 'a', provider: 'desk', claims: ANNA }, ANN)
      await database.transaction((tx) => service.disown('a', tx))
      expect((await recorded()).map(({ upstream }) => upstream).sort()).toEqual(['desk', 'photo-id'])
      expect(facts.at(-1)).toMatchObject({ actor: 'system', data: { upstream: 'video', reason: 'disowned' } })
    })

    it('lets its owner remove what a check has verified', async () => {
      await deliver(verified(await begin()))
      expect([await service.forget('photo-id', 'b'), await service.forget('bank', 'a')]).toEqual([false, false])
      expect([await service.forget('photo-id', 'a'), await service.forget('photo-id', 'a')]).toEqual([true, false])
      expect(await recorded()).toEqual([])
    })

    it('that is deleted takes its checks along', async () => {
      await begin()
      await database.db('accounts').where({ id: 'a' }).delete()
      expect(await rows()).toEqual([])
    })
  })

  it('what has ended is forgotten later, some in one go', async () => {
    for (const accountId of ['a', 'b']) {
      const reference = await begin('photo-id', accountId)
      await deliver({ reference, status: 'refused' })
    }
    await begin('video')
    expect(await service.purge(new Date(now), 5)).toBe(0)
    expect(await service.purge(new Date(now + 1), 1)).toBe(1)
    expect(await service.purge(new Date(now + 1), 5)).toBe(1)
    expect(await rows()).toMatchObject([{ provider: 'video', state: 'begun' }])
  })
})
