import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import { upstreamRepository } from '../../../src/features/upstreams/repository.ts'
import {
  createUpstreamsService,
  type UpstreamDeclaration,
  type UpstreamsService,
} from '../../../src/features/upstreams/service.ts'
import { createLocalInvalidation } from '../../../src/platform/invalidation.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import type { Upstream } from '../../../src/platform/upstream.ts'
import { testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const SECRET = 'secret-of-ours-at-the-provider'
const google = { kind: 'google', client_id: 'ours', client_secret: SECRET, trusted_domains: ['Gmail.com'] }
const driver = {
  inspect: async () => ({ issuer: 'https://acme.example', found: { token: 'yes' }, problems: [] }),
} as unknown as Upstream

describe.each(['embedded', 'postgres'] as const)('upstream providers on %s', (kind) => {
  let database: Database
  let service: UpstreamsService
  let facts: Fact[]
  let made: string[]

  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    await database.db('upstreams').delete()
    ;[facts, made] = [[], []]
    service = createUpstreamsService({
      ...{ transaction: database.transaction, repository: upstreamRepository(database.db, testPersonal) },
      ...{ invalidation: createLocalInvalidation(), clock: { now: () => new Date() }, acrs: ['basic', 'mfa'] },
      reserved: ['photo-id'],
      outbox: { record: async (stated) => void facts.push(...stated) },
      connect: (name) => {
        made.push(name)
        return driver
      },
    })
  })
  const declare = (...declared: UpstreamDeclaration[]) =>
    database.transaction((tx) => service.syncDeclared(declared, tx))
  const types = () => facts.map(({ type }) => type)

  it('keeps settings sealed, and says in facts which changed, never what they are', async () => {
    await service.set('google', google)
    await service.set('google', { ...google, client_secret: `${SECRET}-2`, title: 'G' })
    const row = await database.db('upstreams').first()
    expect(JSON.stringify([row, facts])).not.toContain(SECRET)
    expect(facts.at(-1)).toMatchObject({ type: 'upstream.updated', data: { changed: ['client_secret', 'title'] } })
  })

  it('shows what is on, by the same driver until something changes', async () => {
    await service.set('google', google)
    const [first, again] = [await service.find('google'), await service.find('google')]
    expect([first?.title, first?.vouchesFor('gmail.com'), first?.vouchesFor('evil.example')]).toEqual([
      'Google',
      true,
      false,
    ])
    expect(again).toBe(first)
    made.length = 0
    await service.set('google', { ...google, title: 'Other' })
    expect((await service.find('google'))?.title).toBe('Other')
    expect(await service.find('../google')).toBeUndefined()
  })

  it('rules decide what is taken over; its levels are ours only where they are named', async () => {
    await service.set('google', {
      ...google,
      import: { name: 'always', picture: 'never' },
      levels: { 'urn:strong': 'mfa' },
    })
    const found = await service.find('google')
    expect(['name', 'picture', 'locale'].map((claim) => found?.rule(claim))).toEqual([
      'always',
      'never',
      'fill_if_empty',
    ])
    expect([found?.levelOf('urn:strong'), found?.levelOf('urn:weak'), found?.levelOf(undefined)]).toEqual([
      'mfa',
      undefined,
      undefined,
    ])
    expect(found?.passesAmr).toBe(true)
  })

  it('offers those that a client names, in its order, and none that is off', async () => {
    for (const name of ['a', 'b', 'c']) await service.set(name, google)
    await service.setDisabled('b', true)
    const names = async (wanted?: readonly string[]) => (await service.offered(wanted)).map(({ name }) => name)
    expect([await names(), await names(['c', 'b', 'nobody', 'a'])]).toEqual([
      ['a', 'c'],
      ['c', 'a'],
    ])
    expect(await service.title('b')).toBe('Google')
  })

  it.each([
    ['an unknown kind', { ...google, kind: 'gogle' }, 'kind'],
    ['a misspelt setting', { ...google, client_sekret: 'x' }, 'client_sekret'],
    ['a level that is not there', { ...google, levels: { x: 'gold' } }, 'levels.x: there is no level gold'],
    ['a claim that is none to take over', { ...google, import: { email: 'always' } }, 'import'],
    [
      'no secret for a method that has one',
      { kind: 'oidc', issuer: 'https://a.example', client_id: 'x' },
      'client_secret: is needed',
    ],
    [
      'no keys to sign with',
      { kind: 'oidc', issuer: 'https://a.example', client_id: 'x', client_authentication: 'private_key_jwt' },
      'signing_keys: is needed',
    ],
    ['SAML without a provider', { kind: 'saml' }, 'metadata: is needed'],
  ])('refuses %s', async (_, settings, problem) => {
    await expect(async () => service.set('acme', settings)).rejects.toThrow(problem)
    expect(await service.states()).toEqual([])
  })

  it('refuses a name that cannot be in an address', async () => {
    await expect(async () => service.set('../x', google)).rejects.toThrow('name:')
  })

  it('refuses the name of whoever else verifies persons, by command, in the file, and when it was there before', async () => {
    await expect(async () => service.set('photo-id', google)).rejects.toThrow('name: is that of a proofing')
    await expect(declare({ name: 'photo-id', ...google })).rejects.toThrow('name: is that of a proofing')
    const row = { name: 'photo-id', settings: google as never, managed: 'command' } as const
    await database.transaction((tx) => upstreamRepository(database.db, testPersonal).insert(row, new Date(), tx))
    await expect(declare()).rejects.toThrow("proofings.photo-id: is an upstream's name")
  })

  it('declared ones: written once, changed by the file only, disabled when they leave it, back when they return', async () => {
    expect(await declare({ name: 'google', ...google })).toEqual(['google'])
    expect(await declare({ name: 'google', ...google })).toEqual([])
    await expect(service.set('google', google)).rejects.toThrow('is declared')
    expect(await declare()).toEqual(['google'])
    expect(await service.states()).toMatchObject([{ isOn: false, managed: 'file' }])
    expect(await declare({ name: 'google', ...google })).toEqual(['google'])
    expect(types()).toEqual(['upstream.created', 'upstream.disabled', 'upstream.enabled'])
  })

  it('A16: what an operator has switched off stays off through restarts', async () => {
    await declare({ name: 'google', ...google })
    expect(await service.setDisabled('google', true, 'compromised')).toBe(true)
    expect(await service.setDisabled('google', true)).toBe(false)
    await declare({ name: 'google', ...google, title: 'New' })
    expect(await service.find('google')).toBeUndefined()
    expect(facts).toContainEqual(expect.objectContaining({ type: 'upstream.disabled', actor: 'operator' }))
  })

  it('says all problems of all declarations at once', async () => {
    const broken = { name: 'one', kind: 'saml' }
    await expect(declare(broken, { ...broken, name: 'two' })).rejects.toThrow(
      /upstreams\.one\.metadata[\s\S]*upstreams\.two\.metadata/,
    )
  })

  it('is asked what it is without a person, with what becomes of its claims', async () => {
    await service.set('google', { ...google, import: { picture: 'never' } })
    expect(await service.inspect('google')).toMatchObject({
      found: { token: 'yes' },
      rules: { name: 'fill_if_empty', picture: 'never' },
    })
    expect([
      await service.inspect('nobody'),
      await service.remove('nobody'),
      await service.setDisabled('nobody', true),
    ]).toEqual([undefined, false, undefined])
  })
})
