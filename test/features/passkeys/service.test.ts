import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { passkeyRepository } from '../../../src/features/passkeys/repository.ts'
import type { Passkey } from '../../../src/features/passkeys/types.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { createFactorRooms } from '../../support/factor_rooms.ts'
import { type SoftAuthenticator, softAuthenticator } from '../../support/passkey.ts'
import { testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')
const HERE = { origin: 'https://id.example', rpId: 'id.example' }
const change = { page: { locale: 'en' }, sessionUid: 's1' }
const from = { ip: '192.0.2.1', clientId: 'web' }
const failed = { ok: false, code: 'passkey_failed' }

describe.each(['embedded', 'postgres'] as const)('passkeys on %s', (kind) => {
  let database: Database
  let rooms: ReturnType<typeof createFactorRooms>
  let accountId: string

  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    rooms = createFactorRooms(database, START)
    accountId = await rooms.account()
  })

  const session = { id: 's1' }
  const options = async (id = accountId) => rooms.passkeys.creationOptions(session, await rooms.view(id), 'Genkan')
  async function add(key: SoftAuthenticator, id = accountId) {
    return rooms.passkeys.register(key.create(await options(id)), session, await rooms.view(id), change)
  }
  async function owned(settings = {}, id = accountId): Promise<SoftAuthenticator> {
    const key = softAuthenticator(HERE, settings)
    expect(await add(key, id)).toEqual({ ok: true })
    return key
  }
  const show = async (key: SoftAuthenticator, holder = { id: 'c1' }) =>
    rooms.passkeys.show(key.get(await rooms.passkeys.requestOptions(holder)), holder, from)
  const reasons = () => rooms.facts.filter(({ type }) => type === 'passkey.rejected').map(({ data }) => data?.reason)
  const list = () => rooms.passkeys.list(accountId)
  const remove = async (id: string) => rooms.passkeys.remove(await rooms.view(accountId), id, change)

  it('asks authenticators for what it takes: verified people, discoverable keys, no address as handle', async () => {
    await owned()
    const asked = await options()
    expect(Buffer.from(asked.challenge, 'base64url')).toHaveLength(32)
    expect(Buffer.from(asked.user.id, 'base64url').toString()).toBe(accountId)
    expect(asked.authenticatorSelection).toMatchObject({ residentKey: 'required', userVerification: 'required' })
    expect(asked.excludeCredentials).toHaveLength(1)
    const anybody = await rooms.passkeys.requestOptions({ id: 'c1' })
    expect(anybody).toMatchObject({ rpId: 'id.example', userVerification: 'required', allowCredentials: [] })
    const own = await rooms.passkeys.requestOptions({ id: 'c1', accountId })
    expect(own.allowCredentials).toHaveLength(1)
  })

  it('keeps what was made, notes the factor, ends other sessions and tells the owner', async () => {
    const key = await owned({ synced: true })
    const [passkey] = await list()
    expect(passkey).toMatchObject({ credentialId: key.credentialId, publicKey: key.publicKey, backupEligible: true })
    expect(passkey).toMatchObject({ backedUp: true, transports: ['internal'], usedAt: undefined, counter: 0 })
    expect((await rooms.view(accountId)).factors).toEqual(['passkey'])
    expect(rooms.facts.map(({ type }) => type)).toEqual(['factor.added', 'mail.requested'])
    expect(rooms.ended).toEqual([{ accountId, reason: 'factor_changed', exceptUid: 's1' }])
  })

  it('knows the owner by the passkey alone, and notes its use', async () => {
    const key = await owned({ synced: true })
    rooms.world.time += 5000
    expect(await show(key)).toMatchObject({ ok: true, account: { accountId } })
    expect((await list())[0]?.usedAt).toEqual(new Date(START + 5000))
    expect(reasons()).toEqual([])
  })

  it('takes an answer of a related origin, and of no other', async () => {
    const key = await owned()
    const options = () => rooms.passkeys.requestOptions({ id: 'c1' })
    const at = (origin: string) => ({
      before: (ceremony: { clientData: object }) => Object.assign(ceremony.clientData, { origin }),
    })
    const related = key.get(await options(), at('https://brand.example'))
    expect(await rooms.passkeys.show(related, { id: 'c1' }, from)).toMatchObject({ ok: true })
    const strange = key.get(await options(), at('https://brand.example.evil.example'))
    expect(await rooms.passkeys.show(strange, { id: 'c1' }, from)).toEqual(failed)
  })

  it('takes a challenge once, there and for that only, and not after five minutes', async () => {
    const key = await owned()
    const asked = await rooms.passkeys.requestOptions({ id: 'c1' })
    expect(await rooms.passkeys.show(key.get(asked), { id: 'c2' }, from)).toEqual(failed)
    expect(await rooms.passkeys.show(key.get(asked), { id: 'c1' }, from)).toEqual(failed)
    const late = await rooms.passkeys.requestOptions({ id: 'c1' })
    rooms.world.time += 300_000
    expect(await rooms.passkeys.show(key.get(late), { id: 'c1' }, from)).toEqual(failed)
    expect(await rooms.passkeys.show(key.get(await options()), session, from)).toEqual(failed)
    const forCreation = await rooms.passkeys.requestOptions(session)
    const other = softAuthenticator(HERE)
    const made = other.create({ ...(await options()), challenge: forCreation.challenge })
    expect(await rooms.passkeys.register(made, session, await rooms.view(accountId), change)).toMatchObject({
      ok: false,
    })
    expect(reasons()).toEqual(['challenge', 'challenge', 'challenge', 'challenge'])
  })

  it('of 20 answers to one challenge at once one is right', async () => {
    const key = await owned()
    const answer = key.get(await rooms.passkeys.requestOptions({ id: 'c1' }))
    const all = await Promise.all(Array.from({ length: 20 }, () => rooms.passkeys.show(answer, { id: 'c1' }, from)))
    expect(all.filter(({ ok }) => ok)).toHaveLength(1)
  })

  it('refuses a counter that does not rise, and says so in the ledger', async () => {
    const key = await owned({ counts: true })
    expect(await show(key)).toMatchObject({ ok: true })
    key.uses -= 1
    expect(await show(key)).toEqual(failed)
    key.uses = 0
    expect(await show(key)).toEqual(failed)
    expect(reasons()).toEqual(['counter', 'counter'])
    key.uses = 10
    expect(await show(key)).toMatchObject({ ok: true })
    expect((await list())[0]?.counter).toBe(11)
  })

  it('answers unknown credentials alike, and names them so that browsers forget them', async () => {
    const stranger = softAuthenticator(HERE)
    stranger.create(await options())
    expect(await show(stranger)).toEqual({ ...failed, unknown: stranger.credentialId })
    const key = await owned()
    rooms.world.active = false
    expect(await show(key)).toEqual(failed)
    expect(reasons()).toEqual(['unknown', 'account'])
  })

  it("as a second factor takes the account's own passkey only", async () => {
    const key = await owned()
    const other = await rooms.account()
    const others = await owned({}, other)
    expect(await show(others, { id: 'c1', accountId } as { id: string })).toEqual(failed)
    expect(await show(key, { id: 'c1', accountId } as { id: string })).toMatchObject({ ok: true })
    expect(reasons()).toEqual(['owner'])
  })

  it('gives a credential to one account only, whoever else claims it', async () => {
    const key = await owned()
    const other = await rooms.account()
    expect(await add(key, other)).toEqual({ ok: false, code: 'passkey_known' })
    expect(await rooms.passkeys.list(other)).toEqual([])
    expect((await rooms.view(other)).factors).toEqual([])
  })

  it('counts failures by network and then looks at nothing of it', async () => {
    const key = await owned()
    for (let i = 0; i < 100; i++) await rooms.passkeys.show('{}', { id: 'c1' }, from)
    expect(await show(key)).toMatchObject({ ok: false, code: 'too_many_requests' })
    const elsewhere = { ...from, ip: '192.0.2.2' }
    const answer = key.get(await rooms.passkeys.requestOptions({ id: 'c1' }))
    expect(await rooms.passkeys.show(answer, { id: 'c1' }, elsewhere)).toMatchObject({ ok: true })
  })

  it("renames and removes the account's own only (A49)", async () => {
    await owned()
    const [mine] = await list()
    const other = await rooms.account()
    expect(await rooms.passkeys.rename(other, mine?.id ?? '', 'Stolen')).toBe(false)
    expect(await rooms.passkeys.remove(await rooms.view(other), mine?.id ?? '', change)).toBe('absent')
    expect(await rooms.passkeys.rename(accountId, mine?.id ?? '', 'My phone')).toBe(true)
    expect((await list()).map(({ name }) => name)).toEqual(['My phone'])
    expect(await remove(mine?.id ?? '')).toBe('removed')
    expect(await remove(mine?.id ?? '')).toBe('absent')
    expect((await rooms.view(accountId)).factors).toEqual([])
  })

  it('removes all but the last where the account must have a second factor (R15f)', async () => {
    await owned()
    await owned()
    rooms.world.required = true
    const [first, second] = await list()
    const both = await Promise.all([remove(first?.id ?? ''), remove(second?.id ?? '')])
    expect(both.sort()).toEqual(['last_factor', 'removed'])
    expect((await rooms.view(accountId)).factors).toEqual(['passkey'])
  })

  it('does not remove the last way in: without a password, where codes by mail sign nobody in', async () => {
    await owned()
    rooms.world.emailCodes = false
    const [only] = await list()
    expect(await remove(only?.id ?? '')).toBe('passkey_last_way_in')
    rooms.world.password = true
    expect(await remove(only?.id ?? '')).toBe('removed')
  })

  it('keeps rows of 32-bit counters, and finds them by credential', async () => {
    const repository = passkeyRepository(database.db, testPersonal)
    const [id, counter] = [`p-${accountId}`, 2 ** 32 - 1]
    const passkey: Passkey = {
      ...{ id, accountId, credentialId: `c-${accountId}`, publicKey: 'k', counter, transports: ['usb', 'nfc'] },
      ...{
        aaguid: '',
        backupEligible: false,
        backedUp: false,
        name: '',
        createdAt: new Date(START),
        usedAt: undefined,
      },
    }
    await database.transaction((tx) => repository.insert(passkey, tx))
    expect(await repository.findByCredential(passkey.credentialId)).toEqual(passkey)
    expect(await repository.use(id, { counter, backedUp: false }, new Date(START))).toBe(false)
    await database.db('accounts').where({ id: accountId }).delete()
    expect(await repository.findByCredential(passkey.credentialId)).toBeUndefined()
  })
})
