import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type DoctorNeeds, doctor } from '../../src/commands/doctor.ts'
import { loadConfig } from '../../src/config/config.ts'
import { captchaOf } from '../../src/features.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { startCaptchaVendor, VENDOR_SECRET } from '../support/captcha_vendor.ts'
import { freePort, freshDatabase } from '../support/services.ts'

interface Finding {
  check: string
  state: string
  text: string
}

describe('doctor', () => {
  let database: Database
  let dataDir = ''
  const examine = async (needs: Partial<DoctorNeeds> = {}, env: { [name: string]: string } = {}) => {
    const lines: string[] = []
    const config = loadConfig({ DATA_DIR: dataDir, ...env })
    const healthy: DoctorNeeds = {
      config: { ...config, passwords: { ...config.passwords, memoryKib: 7168, passes: 1 } },
      database,
      keys: { current: async () => [{ alg: 'ES256', kid: 'k', state: 'signing' }] } as unknown as DoctorNeeds['keys'],
      sealed: { stale: async () => ({ personal: 0, secrets: 0 }) } as unknown as DoctorNeeds['sealed'],
      realms: { states: async () => [] } as unknown as DoctorNeeds['realms'],
      facts: { count: async () => 0 } as unknown as DoctorNeeds['facts'],
      now: () => new Date(),
      pendingMigrations: async () => [],
      upstreams: { states: async () => [] } as unknown as DoctorNeeds['upstreams'],
      assertionIssuers: { problems: async () => [] },
      ...needs,
    }
    const failed = await doctor
      .run(healthy, { args: [], options: { json: true } }, { line: (line) => lines.push(line) })
      .then(
        () => undefined,
        (error: Error) => error.message,
      )
    const findings = JSON.parse(lines.join('\n')) as Finding[]
    const of = (check: string) => findings.find((finding) => finding.check === check)
    return { failed, findings, of }
  }

  beforeAll(async () => {
    database = await freshDatabase('postgres')
    dataDir = mkdtempSync(join(tmpdir(), 'genkan-doctor-'))
  })
  afterAll(async () => {
    await database.close()
    rmSync(dataDir, { recursive: true, force: true })
  })

  it('finds nothing wrong with a newcomer on a laptop', async () => {
    const { failed, findings, of } = await examine()
    expect(failed).toBeUndefined()
    expect(findings.map(({ check }) => check)).toEqual([
      'issuer',
      'proxies',
      'data folder',
      'database',
      'migrations',
      'clock',
      'signing keys',
      'sealed data',
      'redis',
      'mail',
      'text messages',
      'captcha',
      'upstreams',
      'assertion issuers',
      'passwords',
      'realms',
      'look-alikes',
    ])
    expect(of('passwords')?.text).toMatch(/m=7168 t=1 p=1 takes \d+ ms/)
    expect(of('clock')?.state).toBe('ok')
  })

  it('says who sends text messages where, and what stopped them', async () => {
    const on = (sms: object, more: Partial<DoctorNeeds> = {}) => {
      const config = loadConfig({ DATA_DIR: dataDir })
      return examine({ config: { ...config, sms: { ...config.sms, ...sms } as typeof config.sms }, ...more })
    }
    const provider = { url: 'https://texts.example/send', headers: {}, bodyTemplate: {}, timeoutSeconds: 10 }
    expect((await on({})).of('text messages')).toMatchObject({ state: 'warn', text: expect.stringContaining('/sms') })
    expect((await on({ provider, countries: [] })).of('text messages')?.state).toBe('fail')
    expect((await on({ provider, countries: 'any' })).of('text messages')?.state).toBe('warn')
    expect((await on({ provider, countries: ['FI', 'SE'] })).of('text messages')).toEqual({
      ...{ check: 'text messages', state: 'ok', text: 'sent by texts.example to FI, SE' },
    })
    const facts = { count: async (type: string) => (type === 'sms.stopped' ? 3 : 0) } as never
    expect((await on({ provider, countries: ['FI'] }, { facts })).of('text messages')).toMatchObject({
      state: 'warn',
      text: expect.stringContaining('stopped 3 times'),
    })
    const without = { ...loadConfig({ DATA_DIR: dataDir }), sms: undefined }
    expect((await examine({ config: without })).of('text messages')?.state).toBe('ok')
  })

  it('asks the vendor of the CAPTCHA whether it takes the secret', async () => {
    const vendor = await startCaptchaVendor()
    try {
      const file = join(dataDir, 'captcha.yaml')
      const on = (settings: object) => {
        writeFileSync(file, JSON.stringify({ captcha: { ...vendor.settings, ...settings } }))
        const config = loadConfig({ DATA_DIR: dataDir, GENKAN_CONFIG: file })
        const logger = { warn: () => {} } as never
        return examine({ config, captcha: captchaOf({ config, logger, clock: { now: () => new Date() } }) })
      }
      expect((await examine()).of('captcha')).toMatchObject({ state: 'ok', text: expect.stringContaining('our own') })
      const { host } = new URL(vendor.origin)
      expect((await on({})).of('captcha')).toMatchObject({
        ...{ state: 'ok', text: `custom at ${host} answers and takes the secret` },
      })
      expect(vendor.questions).toEqual([{ secret: VENDOR_SECRET, response: 'no-token' }])
      const wrong = (await on({ secret: 'another' })).of('captcha')
      expect(wrong).toMatchObject({ state: 'fail', text: expect.stringContaining('does not take captcha.secret') })
      for (const mood of ['error', 'garbage'] as const) {
        vendor.mood = mood
        const { state, text } = (await on({})).of('captcha') ?? {}
        expect([state, text]).toEqual(['fail', expect.stringContaining(`custom cannot be asked at ${host}`)])
        expect(text).not.toContain(VENDOR_SECRET)
      }
    } finally {
      await vendor.close()
    }
  })

  it('goes on after a failed check and counts what failed', async () => {
    const away = { ...database, ping: async () => Promise.reject(new Error('connect ECONNREFUSED')) }
    const keys = { current: async () => Promise.reject(new Error('signing key k1 cannot be opened')) }
    const { failed, of } = await examine({ database: away, keys: keys as never })
    // The clock is that of the database, too.
    expect(failed).toContain('3 of 17')
    expect(of('database')).toMatchObject({ state: 'fail', text: 'connect ECONNREFUSED' })
    expect(of('signing keys')).toMatchObject({ state: 'fail', text: expect.stringContaining('k1') })
    expect(of('passwords')?.state).not.toBe('fail')
  })

  it('counts what keeps an older key in use', async () => {
    const sealed = { stale: async () => ({ personal: 7, secrets: 2 }) } as unknown as DoctorNeeds['sealed']
    const text = '2 values are under an older secret key, 7 under an older data key: genkan keys reseal'
    expect((await examine({ sealed })).of('sealed data')).toMatchObject({ state: 'warn', text })
    expect((await examine({ pendingMigrations: async () => ['one'] })).of('sealed data')?.state).toBe('warn')
  })

  it('sees a clock that is wrong', async () => {
    const ping = async () => new Date(Date.now() - 60_000)
    const { of } = await examine({ database: { ...database, ping } })
    expect(of('clock')?.state).toBe('fail')
  })

  it('sees a PostgreSQL that is too old', async () => {
    const raw = async () => ({ rows: [{ version: 140_009 }] })
    const stores = { DATABASE_URL: 'postgres://localhost/x', GENKAN_SECRET_KEYS: Buffer.alloc(32).toString('base64') }
    const { of } = await examine({ database: { ...database, db: { raw } as never } }, stores)
    expect(of('database')).toMatchObject({ state: 'fail', text: expect.stringContaining('14') })
  })

  it('sees a Redis that drops sessions', async () => {
    const redis = (policy: string | undefined, appendsOnly: boolean) => async () => ({
      masters: 1,
      policy,
      appendsOnly,
    })
    const evicting = (await examine({ redis: redis('allkeys-lru', true) })).of('redis')
    expect(evicting).toMatchObject({ state: 'fail', text: expect.stringContaining('allkeys-lru') })
    expect((await examine({ redis: redis(undefined, false) })).of('redis')?.state).toBe('warn')
    expect((await examine({ redis: redis(undefined, true) })).of('redis')?.state).toBe('ok')
  })

  it('sees a key that others can read', async () => {
    const { of } = await examine()
    expect(of('data folder')?.state).toBe('ok')
    writeFileSync(join(dataDir, 'secret.key'), Buffer.alloc(32, 1).toString('base64'))
    chmodSync(join(dataDir, 'secret.key'), 0o644)
    expect((await examine()).of('data folder')).toMatchObject({
      state: 'fail',
      text: expect.stringContaining('chmod 600'),
    })
    chmodSync(join(dataDir, 'secret.key'), 0o600)
  })

  it('tells of look-alike addresses that were refused, and asks nothing of a database that is not migrated', async () => {
    const asked: unknown[] = []
    const count = async (...filter: unknown[]) => asked.push(filter) + 6
    const needs = { facts: { count } as unknown as DoctorNeeds['facts'], now: () => new Date('2026-12-08T00:00:00Z') }
    const { of } = await examine(needs)
    expect(of('look-alikes')).toMatchObject({ state: 'warn', text: expect.stringContaining('refused 7 times') })
    expect(asked).toEqual([['identifier.refused', new Date('2026-12-01T00:00:00Z')]])
    expect((await examine({ ...needs, pendingMigrations: async () => ['one'] })).of('look-alikes')?.state).toBe('warn')
    expect(asked).toHaveLength(1)
  })

  it('names domains that are not proven, fail, lead nowhere or have no break-glass account', async () => {
    const record = { name: '_genkan.a.example', value: 'genkan-domain=t' }
    const whole = {
      domain: 'a.example',
      upstream: 'acme',
      policy: 'route',
      breakGlass: [],
      upstreamExists: true,
      record,
    }
    const of = async (realm: object) => {
      const realms = {
        states: async () => [{ ...whole, state: 'proven', ...realm }],
      } as unknown as DoctorNeeds['realms']
      return (await examine({ realms })).of('realms')
    }
    expect(await of({})).toMatchObject({ state: 'ok', text: '1 proven' })
    expect((await of({ state: 'unproven' }))?.text).toContain('publish _genkan.a.example TXT "genkan-domain=t"')
    expect((await of({ state: 'failing' }))?.text).toContain('the record of a.example is gone')
    expect((await of({ upstreamExists: false }))?.text).toContain('leads to acme, which is not there')
    expect(await of({ policy: 'enforce' })).toMatchObject({
      state: 'warn',
      text: expect.stringContaining('break-glass'),
    })
    expect((await of({ policy: 'enforce', breakGlass: ['A'] }))?.state).toBe('ok')
  })

  it('sees a mail server that does not answer', async () => {
    const { of } = await examine({}, { SMTP_URL: `smtp://127.0.0.1:${await freePort()}` })
    expect(of('mail')?.state).toBe('fail')
  })

  it.each(['http://127.0.0.1:3000', 'http://[::1]:3000', 'https://192.0.2.7'])(
    'says of %s that browsers make no passkeys for an address',
    async (issuer) => {
      const found = (await examine({}, { GENKAN_ISSUER: issuer })).of('issuer')
      expect(found).toMatchObject({ state: 'warn', text: expect.stringContaining('passkeys') })
      expect((await examine({}, { GENKAN_ISSUER: 'https://id.example.com' })).of('issuer')?.state).toBe('ok')
    },
  )

  it('warns of an https issuer without trusted proxies', async () => {
    expect((await examine({}, { GENKAN_ISSUER: 'https://id.example.com' })).of('proxies')?.state).toBe('warn')
  })
})
