/** The layer of autonomous systems: what many addresses of one network do together, without keeping its other customers out. */
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { loadConfig } from '../../../src/config/config.ts'
import { createModelKeyValue } from '../../contracts/key_value_model.ts'
import { createTestAbuse, solve } from '../../support/abuse.ts'
import { oneRedis } from '../../support/one_redis.ts'
import { startTarget, type Target } from '../../support/target.ts'

const CLOCK = { now: () => new Date('2026-11-26T12:00:00Z') }

describe('many addresses of one autonomous system', () => {
  let from = 0
  const attempt = () => {
    from += 1
    // Each in a subnet of its own.
    const ip = `10.${from >> 8}.${from & 255}.1`
    return { flow: 'sign_in' as const, identifier: `${from}@example.com`, ip }
  }

  it('are asked for a proof from the limit on, others are not, and nobody is refused', async () => {
    const { limits } = loadConfig({
      DATA_DIR: '/tmp',
      GENKAN_CONFIG: new URL('../../support/no_settings.yaml', import.meta.url).pathname,
      GENKAN_SECRET_KEYS: Buffer.alloc(32, 7).toString('base64'),
    })
    let asn: string | undefined = '64500'
    const kv = createModelKeyValue(CLOCK)
    const { signIn } = createTestAbuse(kv, CLOCK, { settings: limits, asn: () => asn }).service
    const admitted = { ok: true, warm: false, knownDevice: false } as const
    for (let failures = 0; failures < limits.signIn.asn; failures++) {
      const next = await signIn.failed(attempt(), admitted)
      expect(next === undefined).toBe(failures + 1 < limits.signIn.asn)
    }
    const asked = await signIn.admit(attempt())
    expect(asked).toMatchObject({ ok: false, challenge: { bits: expect.any(Number) } })
    const person = attempt()
    const own = await signIn.admit(person)
    if (own.ok || own.challenge === undefined) throw new Error('no challenge')
    const { puzzle, rounds, bits } = own.challenge
    expect(await signIn.admit({ ...person, proof: solve({ puzzle, rounds, bits }) })).toMatchObject({ ok: true })
    asn = '64501'
    expect(await signIn.admit(attempt())).toMatchObject({ ok: true })
    asn = undefined
    expect(await signIn.admit(attempt())).toMatchObject({ ok: true })
  })
})

describe('the number of the system', () => {
  let target: Target
  beforeAll(async () => {
    target = await startTarget({ env: { ASN_HEADER: 'X-Client-ASN' } })
  })
  afterAll(() => target?.close())

  let visits = 0
  async function counted(header: string): Promise<string[]> {
    const browser = target.person({ headers: { 'x-client-asn': header } })
    const page = await browser.submit(
      await target.open(browser),
      { identifier: `nobody${visits++}@example.com` },
      { form: '/identifier' },
    )
    await browser.submit(page, { password: 'a wrong password 7' }, { form: '/password' })
    const redis = oneRedis(target.stores.redisUrl)
    await once(redis, 'ready')
    try {
      return (await redis.keys('*:asn:*')).map((key) => key.slice(key.indexOf('{')))
    } finally {
      redis.disconnect()
    }
  }

  it('is counted as a trusted proxy tells it, and nothing else that stands there', async () => {
    for (const nonsense of ['', 'x', '-1', '0', 'AS', '64500, 64501', '9'.repeat(11)])
      expect([nonsense, await counted(nonsense)]).toEqual([nonsense, []])
    expect(await counted('AS64500')).toEqual(['{sign_in}:asn:64500'])
    expect(await counted('064500')).toEqual(['{sign_in}:asn:64500'])
  })
})
