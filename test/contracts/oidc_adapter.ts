/** What every home of the engine's state must do. An implementation runs it in ten lines. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createSessionWriter, remembered, type SessionMemory } from '../../src/oidc/adapter/session_writer.ts'
import type { OidcStore, Payload } from '../../src/oidc/adapter/store.ts'

export interface StoreUnderTest {
  readonly store: OidcStore
  /** The same, as another instance of the server has it. */
  readonly elsewhere: OidcStore
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

    it('writes a session only over the revision that was read, and finds it by uid after that', async () => {
      const { store } = subject
      const read = { uid: 'uid-2', revision: 'r1' }
      await store.save('Session', 'sid-2', read, 60)
      const swaps = Array.from({ length: 30 }, (_, i) =>
        store.swapSession(i % 2 === 0 ? { id: 'sid-2' } : { uid: 'uid-2' }, 'r1', { ...read, revision: `r2-${i}` }, 60),
      )
      const written = await Promise.all(swaps)
      expect(written.filter((swap) => swap === 'written')).toHaveLength(1)
      const revision = `r2-${written.indexOf('written')}`
      expect(await store.find('Session', 'sid-2')).toEqual({ uid: 'uid-2', revision })
      expect(await store.findByUid('uid-2')).toEqual({ uid: 'uid-2', revision })
      expect(await store.swapSession({ id: 'sid-2' }, 'r', read, 60)).toBe('no')
      await store.destroySession('uid-2')
      expect(await store.swapSession({ id: 'sid-2' }, revision, read, 60)).toBe('no')
      expect(await store.swapSession({ uid: 'uid-2' }, revision, read, 60)).toBe('no')
      expect([await store.find('Session', 'sid-2'), await store.findByUid('uid-2')]).toEqual([undefined, undefined])
    })

    it('moves a session to another id once, and none that has ended', async () => {
      const { store } = subject
      const read = { uid: 'uid-3', revision: 'r1' }
      await store.save('Session', 'sid-3', read, 60)
      const moves = Array.from({ length: 20 }, (_, i) =>
        store.moveSession('sid-3', `moved-${i}`, { uid: 'uid-3', revision: `m${i}` }, 60),
      )
      const moved = await Promise.all(moves)
      expect(moved.filter(Boolean)).toEqual([read])
      const winner = moved.findIndex((old) => old !== undefined)
      expect(await store.findByUid('uid-3')).toEqual({ uid: 'uid-3', revision: `m${winner}` })
      expect(await store.find('Session', 'sid-3')).toBeUndefined()
      for (const i of moves.keys()) expect((await store.find('Session', `moved-${i}`)) !== undefined).toBe(i === winner)
      await store.destroySession('uid-3')
      expect(await store.moveSession(`moved-${winner}`, 'late', read, 60)).toBeUndefined()
      expect([await store.find('Session', 'late'), await store.findByUid('uid-3')]).toEqual([undefined, undefined])
    })

    it('leads to no session under an id that it has left', async () => {
      const { store } = subject
      await store.save('Session', 'left', { uid: 'uid-6', revision: 'r1' }, 60)
      await store.moveSession('left', 'taken', { uid: 'uid-6', revision: 'r2' }, 60)
      expect(await store.leadToSession('uid-6', 'left', 60)).toBe(false)
      expect(await store.findByUid('uid-6')).toEqual({ uid: 'uid-6', revision: 'r2' })
    })

    it('finds a session at any moment while it moves', async () => {
      const { store, elsewhere } = subject
      const [uid, moves] = ['wanderer', 60]
      await store.save('Session', 'station-0', { uid, revision: 'r0' }, 60)
      let isThere = false
      const finders = Array.from({ length: 5 }, async () => {
        const found: unknown[] = []
        while (!isThere) {
          found.push((await elsewhere.findByUid(uid))?.uid)
          await sleep(Math.random() * 4)
        }
        return found
      })
      const moved: unknown[] = []
      for (let i = 1; i <= moves; i++) {
        moved.push(await store.moveSession(`station-${i - 1}`, `station-${i}`, { uid, revision: `r${i}` }, 60))
        await sleep(Math.random() * 8)
      }
      isThere = true
      expect(moved).toEqual(moved.map((_, i) => ({ uid, revision: `r${i}` })))
      const found = (await Promise.all(finders)).flat()
      expect(found.filter((one) => one !== uid)).toHaveLength(0)
    })

    it('never moves a session out of the reach of its end', async () => {
      const { store } = subject
      for (let round = 0; round < 20; round++) {
        const uid = `ending-${round}`
        await store.save('Session', uid, { uid, revision: 'r' }, 60)
        await Promise.all([
          store.moveSession(uid, `${uid}-moved`, { uid, revision: 's' }, 60),
          store.swapSession({ id: uid }, 'r', { uid, revision: 't' }, 60),
          store.destroySession(uid),
        ])
        expect(await store.findByUid(uid)).toBeUndefined()
        expect([await store.find('Session', uid), await store.find('Session', `${uid}-moved`)]).toEqual([
          ...[undefined, undefined],
        ])
      }
    })

    it('keeps what parallel requests of one session add to it, whatever id each of them leaves it under', async () => {
      const { store } = subject
      const authorization = (grantId: string) => ({ grantId, sid: 's' })
      const write = createSessionWriter(store)
      await write('shared', { uid: 'uid-4', authorizations: { gone: authorization('g') } }, 60)
      const read = () => store.find('Session', 'shared')
      const requests = (await Promise.all(Array.from({ length: 12 }, read))).map((found, i) => {
        const session = remembered(found) as Payload & { memory: SessionMemory }
        const authorizations = session.authorizations as { [clientId: string]: object }
        authorizations[`client-${i}`] = authorization(`g${i}`)
        if (i === 3) delete authorizations.gone
        if (i % 4 === 3) session.memory.oldId = 'shared'
        return write(i % 4 === 3 ? `shared-${i}` : 'shared', session, 60)
      })
      await Promise.all(requests)
      const { authorizations } = (await store.findByUid('uid-4')) ?? {}
      const all = requests.map((_, i) => [`client-${i}`, authorization(`g${i}`)])
      expect(authorizations).toEqual(Object.fromEntries(all))
    })

    it('brings back no session that has ended while a request of it was under way', async () => {
      const { store } = subject
      const write = createSessionWriter(store)
      for (const oldId of [undefined, 'ended']) {
        await store.save('Session', 'ended', { uid: 'uid-5', authorizations: {} }, 60)
        await write('ended', remembered(await store.find('Session', 'ended')) as Payload, 60)
        const read = remembered(await store.find('Session', 'ended')) as Payload & { memory: SessionMemory }
        read.memory.oldId = oldId
        read.authorizations = { late: { grantId: 'g' } }
        await store.destroySession('uid-5')
        await write(oldId === undefined ? 'ended' : 'ended-2', read, 60)
        expect(read.memory.isElsewhere).toBe(true)
        expect(await store.findByUid('uid-5')).toBeUndefined()
        expect([await store.find('Session', 'ended'), await store.find('Session', 'ended-2')]).toEqual([
          ...[undefined, undefined],
        ])
      }
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
