/** What every home of the engine's state must do. An implementation runs it in ten lines. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { OidcStore } from '../../src/oidc/adapter/store.ts'

export interface StoreUnderTest {
  readonly store: OidcStore
  /** Moves the store's clock, or waits that long for real. */
  pass(seconds: number): Promise<void>
  /** Everything stored, as text, for the look of a thief. */
  dump(): Promise<string>
  /** How many records there are. */
  count(): Promise<number>
  close(): Promise<void>
}

const MODELS = [
  'Session',
  'AccessToken',
  'AuthorizationCode',
  'RefreshToken',
  'DeviceCode',
  'ClientCredentials',
  'Client',
  'InitialAccessToken',
  'RegistrationAccessToken',
  'Interaction',
  'ReplayDetection',
  'PushedAuthorizationRequest',
  'Grant',
  'BackchannelAuthenticationRequest',
]
const NOW = 1_800_000_000

export function describeOidcAdapter(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(`OIDC store on ${name}`, () => {
    let subject: StoreUnderTest
    beforeAll(async () => {
      subject = await create()
    })
    afterAll(() => subject.close())

    it.each(MODELS)('%s: keeps any payload, overwrites it, and forgets it', async (model) => {
      const { store } = subject
      const payload = { accountId: 'a', grantId: 'g', unknown: { nested: ['x', 1, null] }, text: 'åß漢"\\' }
      await store.save(model, 'id-1', { ...payload, jti: 'id-1' }, 60)
      expect(await store.find(model, 'id-1')).toEqual(payload)
      await store.save(model, 'id-1', { ...payload, later: true }, 60)
      expect(await store.find(model, 'id-1')).toEqual({ ...payload, later: true })
      expect(await store.find(model, 'id-2')).toBeUndefined()
      expect(await store.find(`${model}X`, 'id-1')).toBeUndefined()
      await store.destroy(model, 'id-1')
      await store.destroy(model, 'id-1')
      expect(await store.find(model, 'id-1')).toBeUndefined()
    })

    it('forgets records when their time is over, and consuming does not lengthen it', async () => {
      const { store } = subject
      await store.save('AccessToken', 'short', {}, 1)
      await store.save('AuthorizationCode', 'short', {}, 1)
      await store.save('Grant', 'forever', {}, undefined)
      expect(await store.consume('AuthorizationCode', 'short', NOW)).toBe('first')
      await subject.pass(1.2)
      expect(await store.find('AccessToken', 'short')).toBeUndefined()
      expect(await store.find('AuthorizationCode', 'short')).toBeUndefined()
      expect(await store.find('Grant', 'forever')).toEqual({})
    })

    it('finds a session by its uid, also after its id has changed', async () => {
      const { store } = subject
      await store.save('Session', 'old-id', { uid: 'uid-1', accountId: 'a' }, 60)
      expect(await store.findByUid('uid-1')).toMatchObject({ accountId: 'a' })
      await store.save('Session', 'new-id', { uid: 'uid-1', accountId: 'b' }, 120)
      await store.destroy('Session', 'old-id')
      expect(await store.findByUid('uid-1')).toMatchObject({ accountId: 'b' })
      await store.destroySession('uid-1')
      await store.destroySession('uid-1')
      expect(await store.findByUid('uid-1')).toBeUndefined()
      expect(await store.find('Session', 'new-id')).toBeUndefined()
    })

    it('finds a device code by its user code', async () => {
      const { store } = subject
      await store.save('DeviceCode', 'device', { userCode: 'ABCD-EFGH', clientId: 'c' }, 60)
      expect(await store.findByUserCode('ABCD-EFGH')).toMatchObject({ clientId: 'c' })
      expect(await store.findByUserCode('ABCD-EFGX')).toBeUndefined()
    })

    it('writes a device code by its user code, which it keeps in no clear, and makes none', async () => {
      const { store } = subject
      await store.save('DeviceCode', 'device-2', { userCode: 'BCDF-GHJK', clientId: 'c' }, 60)
      await store.saveByUserCode('BCDF-GHJK', { userCode: 'BCDF-GHJK', clientId: 'c', accountId: 'a', grantId: 'g' })
      const answered = { clientId: 'c', accountId: 'a', grantId: 'g' }
      expect(await store.find('DeviceCode', 'device-2')).toEqual(answered)
      expect(await store.findByUserCode('BCDF-GHJK')).toEqual(answered)
      await store.saveByUserCode('ZZZZ-ZZZZ', { clientId: 'c' })
      expect(await store.findByUserCode('ZZZZ-ZZZZ')).toBeUndefined()
      expect(await store.consume('DeviceCode', 'device-2', NOW)).toBe('first')
    })

    it('lets exactly one of 50 consume, and remembers when', async () => {
      const { store } = subject
      await store.save('AuthorizationCode', 'code', { grantId: 'g' }, 60)
      const answers = await Promise.all(
        Array.from({ length: 50 }, () => store.consume('AuthorizationCode', 'code', NOW)),
      )
      expect(answers.filter((answer) => answer === 'first')).toHaveLength(1)
      expect(answers.filter((answer) => answer === NOW)).toHaveLength(49)
      expect(await store.find('AuthorizationCode', 'code')).toEqual({ grantId: 'g', consumed: NOW })
      expect(await store.consume('AuthorizationCode', 'code', NOW + 5)).toBe(NOW)
      expect(await store.consume('AuthorizationCode', 'never', NOW)).toBe('missing')
    })

    it('writes once with ifAbsent: of 50 one is first, and the record is its', async () => {
      const { store } = subject
      const writes = Array.from({ length: 50 }, (_, i) => store.save('ReplayDetection', 'jti', { i }, 60, true))
      const written = await Promise.all(writes)
      expect(written.filter(Boolean)).toHaveLength(1)
      expect(await store.find('ReplayDetection', 'jti')).toEqual({ i: written.indexOf(true) })
    })

    it('lets ifAbsent write again when the old record is over', async () => {
      const { store } = subject
      expect(await store.save('ReplayDetection', 'again', { n: 1 }, 1, true)).toBe(true)
      await subject.pass(1.2)
      expect(await store.save('ReplayDetection', 'again', { n: 2 }, 60, true)).toBe(true)
      expect(await store.find('ReplayDetection', 'again')).toEqual({ n: 2 })
    })

    it('A110: a dump holds no bearer value in clear', async () => {
      const { store } = subject
      const bearer = 'bearer-S3cret-id'
      await store.save('RefreshToken', bearer, { jti: bearer, accountId: 'a' }, 60)
      await store.save('Session', bearer, { jti: bearer, uid: 'u' }, 60)
      await store.save('DeviceCode', bearer, { jti: bearer }, 60)
      const dump = await subject.dump()
      expect(dump).toContain('accountId')
      expect(dump).not.toContain(bearer)
    })

    it('does not grow over 1,000 rotations of one grant', async () => {
      const { store } = subject
      const before = await subject.count()
      for (let i = 0; i < 1000; i++) {
        await store.save('RefreshToken', `rotation-${i}`, { grantId: 'rotating' }, 60)
        if (i > 0) await store.destroy('RefreshToken', `rotation-${i - 1}`)
      }
      expect((await subject.count()) - before).toBeLessThanOrEqual(1)
    })
  })
}
