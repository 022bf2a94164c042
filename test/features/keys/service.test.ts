import { createPublicKey, sign, verify } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createKeys } from '../../../src/features/keys/index.ts'
import { createLocalInvalidation, type Invalidation } from '../../../src/platform/invalidation.ts'
import { createOutbox } from '../../../src/platform/outbox.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const OLD = Buffer.alloc(32, 1)
const NEW = Buffer.alloc(32, 2)
const DAY = 86_400
const START = new Date('2026-11-22T10:00:00Z')
const later = (seconds: number) => new Date(START.getTime() + seconds * 1000)

describe.each(['embedded', 'postgres'] as const)('signing keys on %s', (kind) => {
  let database: Database
  let now = START
  const build = (secretKeys: readonly Buffer[] = [OLD], invalidation: Invalidation = createLocalInvalidation()) => {
    const secretBox = createSecretBox(secretKeys)
    const clock = { now: () => now }
    return createKeys({
      database,
      secretBox,
      outbox: createOutbox({ personal: testPersonal, secretBox, clock }),
      invalidation,
      clock,
      verifySeconds: 30 * DAY,
    }).service
  }
  const ensure = (service = build()) => database.transaction((tx) => service.ensure(tx))
  const states = async (at: Date, service = build()) =>
    (await service.current(at)).map(({ alg, state }) => `${alg} ${state}`)

  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    now = START
    await database.db('signing_keys').delete()
    await database.db('outbox').delete()
  })

  it('makes one set at the first start, and none later', async () => {
    await ensure()
    const before = await database.db('signing_keys')
    await ensure()
    expect(await database.db('signing_keys')).toEqual(before)
    expect(await states(START)).toEqual(['ES256 signing', 'RS256 signing', 'EdDSA signing'])
  })

  it('ends with one set when three instances start at once', async () => {
    await Promise.all([ensure(), ensure(), ensure()])
    expect(await database.db('signing_keys')).toHaveLength(3)
    expect(await database.db('outbox').where({ type: 'key.created' })).toHaveLength(1)
  })

  it('publishes what verifies, and nothing private', async () => {
    const service = build()
    await ensure(service)
    for (const { alg, kid, publicJwk, privateJwk, privateKey } of await service.current(START)) {
      expect(publicJwk).toMatchObject({ kid, alg, use: 'sig' })
      expect(Object.keys(publicJwk)).not.toEqual(expect.arrayContaining(['d']))
      expect(typeof privateJwk.d).toBe('string')
      const digest = alg === 'EdDSA' ? null : 'sha256'
      const signature = sign(digest, Buffer.from('x'), privateKey)
      expect(verify(digest, Buffer.from('x'), createPublicKey({ key: publicJwk, format: 'jwk' }), signature)).toBe(true)
    }
  })

  it('keeps no private part in clear in the database (A110)', async () => {
    const service = build()
    await ensure(service)
    const dump = JSON.stringify([await database.db('signing_keys'), await database.db('outbox')])
    for (const { privateJwk } of await service.current(START)) expect(dump).not.toContain(privateJwk.d)
  })

  it('keeps key objects alive between calls', async () => {
    const service = build()
    await ensure(service)
    const [first] = await service.current(START)
    const [second] = await service.current(later(60))
    expect(second?.privateKey).toBe(first?.privateKey)
    expect(second?.privateJwk).toBe(first?.privateJwk)
  })

  it('publishes a new key before it signs, and the old one after it did', async () => {
    const service = build()
    await ensure(service)
    const [old] = await service.current(START)
    const made = await service.rotate({ alg: 'ES256', now: START })
    expect(made.state).toBe('next')
    const es256 = async (at: Date) =>
      (await service.current(at)).filter(({ alg }) => alg === 'ES256').map(({ kid, state }) => [kid, state])
    expect(await es256(later(DAY - 1))).toEqual([
      [old?.kid, 'signing'],
      [made.kid, 'next'],
    ])
    expect(await es256(later(DAY))).toEqual([
      [made.kid, 'signing'],
      [old?.kid, 'retiring'],
    ])
    expect(await es256(later(31 * DAY - 1))).toEqual([
      [made.kid, 'signing'],
      [old?.kid, 'retiring'],
    ])
    expect(await es256(later(31 * DAY))).toEqual([[made.kid, 'signing']])
    const rotated = (await database.db('outbox').where({ type: 'key.rotated' })) as { data: object }[]
    expect(rotated.map(({ data }) => data)).toEqual([
      expect.objectContaining({
        ...{ alg: 'ES256', kid: made.kid, retired: [old?.kid], retiresAt: later(31 * DAY).toISOString() },
        changes: { signing_key: { old: old?.kid, new: made.kid } },
      }),
    ])
  })

  it('refuses a second rotation while a next key waits, also of two at once', async () => {
    await ensure()
    const results = await Promise.allSettled([
      build().rotate({ alg: 'ES256', now: START }),
      build().rotate({ alg: 'ES256', now: START }),
    ])
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const refused = results.find(({ status }) => status === 'rejected') as PromiseRejectedResult
    expect(refused.reason).toMatchObject({ code: 'key_rotation_pending' })
    await build().rotate({ alg: 'RS256', now: START })
  })

  it('stops publishing a compromised key at once', async () => {
    const service = build()
    await ensure(service)
    const [old] = await service.current(START)
    const next = await service.rotate({ alg: 'ES256', now: START })
    const made = await service.rotate({ alg: 'ES256', compromised: true, now: later(60) })
    const kids = (await service.current(later(60))).map(({ kid }) => kid)
    expect(kids).toContain(made.kid)
    expect(kids).not.toContain(old?.kid)
    expect(kids).not.toContain(next.kid)
    expect(made.state).toBe('signing')
  })

  it('forgets a retired key a day later', async () => {
    const service = build()
    await ensure(service)
    await service.rotate({ alg: 'ES256', publishSeconds: 0, now: START })
    expect(await service.purge(later(31 * DAY - 1))).toBe(0)
    expect(await service.purge(later(31 * DAY + 1))).toBe(1)
  })

  it('tells listeners when the set changes: by a rotation, by time, and not otherwise', async () => {
    const service = build()
    await ensure(service)
    let told = 0
    service.onChange(() => told++)
    await service.refresh(START)
    await service.refresh(later(60))
    expect(told).toBe(0)
    await service.rotate({ alg: 'ES256', now: START })
    await service.refresh(later(60))
    const afterRotation = told
    expect(afterRotation).toBeGreaterThan(0)
    await service.refresh(later(120))
    expect(told).toBe(afterRotation)
    await service.refresh(later(DAY))
    expect(told).toBe(afterRotation + 1)
  })

  it('tells listeners of a rotation that another instance makes before the first refresh', async () => {
    const service = build()
    await ensure(service)
    let told = 0
    service.onChange(() => told++)
    await build().rotate({ alg: 'ES256', now: START })
    await service.refresh(later(1))
    expect(told).toBe(1)
  })

  it('refuses to start with a corrupt key, naming it', async () => {
    await ensure()
    const [row] = (await database.db('signing_keys').where({ alg: 'ES256' })) as {
      kid: string
      sealed_private: string
    }[]
    const damaged = `${row?.sealed_private.slice(0, -4)}AAAA`
    await database.db('signing_keys').where({ alg: 'ES256' }).update({ sealed_private: damaged })
    await expect(ensure()).rejects.toMatchObject({
      code: 'key_corrupt',
      message: expect.stringContaining(row?.kid ?? '?'),
    })
  })

  it('refuses a private key under the name of another, and a changed public key', async () => {
    await ensure()
    const rows = (await database.db('signing_keys').orderBy('alg')) as {
      kid: string
      alg: string
      sealed_private: string
    }[]
    const [eddsa, es256] = [rows.find(({ alg }) => alg === 'EdDSA'), rows.find(({ alg }) => alg === 'ES256')]
    await database.db('signing_keys').where({ alg: 'ES256' }).update({ sealed_private: eddsa?.sealed_private })
    await expect(ensure()).rejects.toThrow(es256?.kid)
    await database.db('signing_keys').where({ alg: 'ES256' }).update({ sealed_private: es256?.sealed_private })
    await ensure()
    await database.db.raw(
      `update signing_keys set public_jwk = jsonb_set(public_jwk, '{x}', '"AAAA"') where alg = 'ES256'`,
    )
    await expect(ensure()).rejects.toThrow(es256?.kid)
  })

  it('refuses to start when the secret key of a signing key is not configured', async () => {
    await ensure()
    await expect(ensure(build([NEW]))).rejects.toMatchObject({ code: 'key_corrupt' })
  })

  it('refuses to start, and makes no new key, when one has gone missing', async () => {
    await ensure()
    await database.db('signing_keys').where({ alg: 'RS256' }).delete()
    await expect(ensure()).rejects.toMatchObject({ code: 'key_missing', message: expect.stringContaining('RS256') })
    expect(await database.db('signing_keys')).toHaveLength(2)
  })

  it('reseals under the newest secret key, so that the older one can go', async () => {
    await ensure()
    const both = build([NEW, OLD])
    const seen: string[] = []
    const changed = await both.reseal([
      async (reseal) => {
        const sealed = createSecretBox([OLD]).seal('seed', 'totp')
        seen.push(createSecretBox([NEW]).open(reseal(sealed, 'totp') ?? '', 'totp'))
        return 1
      },
    ])
    expect([changed, seen]).toEqual([4, ['seed']])
    await ensure(build([NEW]))
    await expect(ensure(build([OLD]))).rejects.toMatchObject({ code: 'key_corrupt' })
    expect(await both.reseal()).toBe(0)
  })

  it('reseals everything or nothing', async () => {
    await ensure()
    const failing = async () => Promise.reject(new Error('not this one'))
    await expect(build([NEW, OLD]).reseal([failing])).rejects.toThrow('not this one')
    await ensure(build([OLD]))
  })
})
