import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createClients } from '../../../src/features/clients/index.ts'
import { createLocalInvalidation } from '../../../src/platform/invalidation.ts'
import { createOutbox } from '../../../src/platform/outbox.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const ISSUER = 'https://id.example.com'
const SECRET = 'a-declared-secret-of-32-characters'
const declared = {
  client_id: 'declared',
  redirect_uris: ['https://app.example.com/callback'],
  cors_origins: ['https://app.example.com'],
  client_secret: SECRET,
}

describe.each(['embedded', 'postgres'] as const)('clients on %s', (kind) => {
  let database: Database
  let now = new Date('2026-11-22T10:00:00Z')
  const clock = { now: () => now }
  const build = (scopes = ['openid', 'profile', 'email', 'offline_access'], accountPages = true) =>
    createClients({
      database,
      outbox: createOutbox({ personal: testPersonal, secretBox: createSecretBox([Buffer.alloc(32, 1)]), clock }),
      invalidation: createLocalInvalidation(),
      clock,
      listsAll: async () => true,
      brandExists: async (id) => id === 'acme',
      mac: (value) => `mac of ${value}`,
      issuer: ISSUER,
      accountPages,
      scopes,
      locales: ['en', 'fi'],
      acrs: ['urn:genkan:acr:basic', 'urn:genkan:acr:mfa'],
      abilities: { legacy: false, mtls: false, trustedCa: false, approvals: true },
      resources: [{ identifier: 'https://api.example.com', scopes: ['orders:read'] }],
    })
  const facts = async () => {
    const rows = (await database.db('outbox').select('type', 'client_id', 'actor', 'data').orderBy('id')) as {
      type: string
      client_id: string
    }[]
    return rows
      .filter(({ client_id }) => client_id !== 'genkan-account')
      .map(({ type, client_id }) => `${type} ${client_id}`)
  }
  const sync = (
    declarations: Parameters<ReturnType<typeof build>['service']['syncDeclared']>[0],
    service = build().service,
  ) => database.transaction((tx) => service.syncDeclared(declarations, tx))

  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    now = new Date('2026-11-22T10:00:00Z')
    await database.db('client_secrets').delete()
    await database.db('clients').delete()
    await database.db('outbox').delete()
  })

  it('shows a secret once, keeps only its hash, and states the fact', async () => {
    const { service } = build()
    const { secret } = await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    expect(secret).toMatch(/^[\w-]{43}$/)
    expect(await service.secretMatches('web', secret ?? '')).toBe(true)
    const dump = JSON.stringify([
      await database.db('clients'),
      await database.db('client_secrets'),
      await database.db('outbox'),
    ])
    expect(dump).not.toContain(secret)
    expect(await facts()).toEqual(['client.created web'])
  })

  it('gives a public client no secret', async () => {
    const { service } = build()
    const made = await service.create({
      client_id: 'spa',
      redirect_uris: ['https://a.example/'],
      token_endpoint_auth_method: 'none',
    })
    expect(made.secret).toBeUndefined()
    expect(await service.secretMatches('spa', '')).toBe(false)
  })

  it('names only brands that are there, at every write', async () => {
    const { service } = build()
    const web = { client_id: 'web', redirect_uris: ['https://a.example/'] }
    await expect(service.create({ ...web, brand: 'acne' })).rejects.toThrow('brand: "acne" is not a brand')
    await service.create({ ...web, brand: 'acme' })
    await expect(service.update('web', { brand: 'gone' })).rejects.toThrow('"gone" is not a brand')
    expect((await service.find('web'))?.metadata.brand).toBe('acme')
    await expect(sync([{ ...declared, brand: 'gone' } as never])).rejects.toThrow('clients.declared.brand: "gone"')
    await sync([{ ...declared, brand: 'acme' } as never])
    expect((await service.find('declared'))?.metadata.brand).toBe('acme')
  })

  it('writes nothing when the metadata is refused, and nothing without its fact', async () => {
    const { service } = build()
    await expect(service.create({ client_id: 'web', redirect_uris: ['http://a.example/'] })).rejects.toThrow(
      /redirect_uris/,
    )
    const broken = createClients({
      database,
      outbox: { record: async () => Promise.reject(new Error('outbox away')) },
      invalidation: createLocalInvalidation(),
      clock,
      listsAll: async () => true,
      brandExists: async () => false,
      mac: (value) => value,
      issuer: ISSUER,
      accountPages: true,
      scopes: ['openid', 'profile', 'email'],
      locales: ['en', 'fi'],
      acrs: ['urn:genkan:acr:basic', 'urn:genkan:acr:mfa'],
      abilities: { legacy: false, mtls: false, trustedCa: false, approvals: true },
      resources: [],
    }).service
    await expect(broken.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })).rejects.toThrow(
      'outbox away',
    )
    expect(await service.list()).toEqual([])
  })

  it.each([
    ['an id that is taken', 'web'],
    ['the id of the account pages', 'genkan-account'],
  ])('refuses to create %s', async (_, clientId) => {
    const { service } = build()
    await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    await expect(service.create({ client_id: clientId, redirect_uris: ['https://a.example/'] })).rejects.toMatchObject({
      code: 'client_exists',
    })
  })

  it('lets two secrets overlap until the old one ends', async () => {
    const { service } = build()
    const { secret: first = '' } = await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    const second = (await service.rotateSecret('web', 3600)) ?? ''
    expect(await service.secretMatches('web', first)).toBe(true)
    expect(await service.secretMatches('web', second)).toBe(true)
    now = new Date(now.getTime() + 3_600_000)
    expect(await service.secretMatches('web', first)).toBe(false)
    expect(await service.secretMatches('web', second)).toBe(true)
    const third = (await service.rotateSecret('web', 0)) ?? ''
    expect(await service.secretMatches('web', second)).toBe(false)
    expect(await service.secretMatches('web', third)).toBe(true)
    expect(await facts()).toContain('client.secret_rotated web')
  })

  it('never lengthens the life of a secret that is about to end', async () => {
    const { service } = build()
    const { secret: first = '' } = await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    await service.rotateSecret('web', 60)
    await service.rotateSecret('web', 86_400)
    now = new Date(now.getTime() + 61_000)
    expect(await service.secretMatches('web', first)).toBe(false)
  })

  it('bounds the number of live secrets', async () => {
    const { service } = build()
    await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    for (let i = 0; i < 4; i++) await service.rotateSecret('web', 3600)
    await expect(service.rotateSecret('web', 3600)).rejects.toMatchObject({ code: 'too_many_secrets' })
  })

  it('refuses wrong, blank, truncated and foreign secrets, and unknown clients', async () => {
    const { service } = build()
    const { secret = '' } = await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    const { secret: foreign = '' } = await service.create({ client_id: 'other', redirect_uris: ['https://a.example/'] })
    for (const id of ['', 'a\u0000', 'a'.repeat(60_000), '../web', ' web']) {
      expect(await service.find(id)).toBeUndefined()
      expect(await service.secretMatches(id, secret)).toBe(false)
    }
    for (const wrong of ['', ' ', secret.slice(0, -1), `${secret}x`, secret.toLowerCase(), foreign]) {
      expect(await service.secretMatches('web', wrong)).toBe(false)
    }
    expect(await service.secretMatches('nobody', secret)).toBe(false)
  })

  it('forgets ended secrets two weeks later', async () => {
    const { service, jobs } = build()
    await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    await service.rotateSecret('web', 60)
    const purge = jobs?.find(({ name }) => name === 'clients.purge_secrets')
    await purge?.run(new Date(now.getTime() + 3_600_000))
    expect(await database.db('client_secrets')).toHaveLength(2)
    await purge?.run(new Date(now.getTime() + 15 * 86_400_000))
    expect(await database.db('client_secrets')).toHaveLength(1)
  })

  it('notes the last use of each secret in memory, and writes the latest of all instances', async () => {
    const [one, other] = [build(), build()]
    const flush = ({ jobs }: typeof one) => jobs?.find(({ name }) => name === 'clients.secret_uses')?.run(now)
    const uses = async () => (await one.service.show('web'))?.secrets.map(({ lastUsedAt }) => lastUsedAt)
    const { secret: first = '' } = await one.service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    now = new Date(now.getTime() + 1000)
    const second = (await one.service.rotateSecret('web', 3600)) ?? ''
    await one.service.secretMatches('web', first)
    await one.service.secretMatches('web', `${second}x`)
    expect(await uses()).toEqual([undefined, undefined])
    await flush(one)
    const early = now
    expect(await uses()).toEqual([early, undefined])
    await other.service.secretMatches('web', first)
    now = new Date(now.getTime() + 5000)
    await one.service.secretMatches('web', first)
    await one.service.secretMatches('web', second)
    await flush(one)
    await flush(other)
    expect(await uses()).toEqual([now, now])
  })

  it('keeps the object of a client that was only used', async () => {
    const { service, jobs } = build()
    const { secret = '' } = await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    const before = await service.find('web')
    await service.secretMatches('web', secret)
    await jobs?.find(({ name }) => name === 'clients.secret_uses')?.run(now)
    await service.announce(['web'])
    expect((await service.show('web'))?.secrets[0]?.lastUsedAt).toEqual(now)
    expect(await service.find('web')).toBe(before)
  })

  it('finds no disabled client, and finds it again when enabled', async () => {
    const { service } = build()
    const { secret = '' } = await service.create({
      client_id: 'web',
      redirect_uris: ['https://a.example/'],
      cors_origins: ['https://a.example'],
    })
    expect(await service.find('web')).toBeDefined()
    expect([...(await service.origins())]).toEqual(['https://a.example'])
    expect(await service.disable('web')).toBe(true)
    expect(await service.disable('web')).toBe(false)
    expect(await service.find('web')).toBeUndefined()
    expect(await service.secretMatches('web', secret)).toBe(false)
    expect((await service.origins()).size).toBe(0)
    expect((await service.show('web'))?.disabledAt).toEqual(now)
    expect(await service.enable('web')).toBe(true)
    expect(await service.secretMatches('web', secret)).toBe(true)
    expect(await facts()).toEqual(expect.arrayContaining(['client.disabled web', 'client.enabled web']))
  })

  it('answers undefined for clients that are not there', async () => {
    const { service } = build()
    expect(await service.find('nobody')).toBeUndefined()
    expect(await service.disable('nobody')).toBeUndefined()
    expect(await service.rotateSecret('nobody', 0)).toBeUndefined()
    expect(await service.update('nobody', {})).toBeUndefined()
  })

  it('updates metadata under the same rules, and takes members back to their default', async () => {
    const { service } = build()
    await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'], client_name: 'Before' })
    await expect(service.update('web', { redirect_uris: ['http://a.example/'] })).rejects.toThrow(/redirect_uris/)
    await service.update('web', { redirect_uris: ['https://b.example/'], client_name: null })
    expect((await service.find('web'))?.metadata).toMatchObject({
      redirect_uris: ['https://b.example/'],
      client_name: 'web',
    })
    const rows = (await database.db('outbox').where({ type: 'client.updated' })) as { data: unknown }[]
    const changes = {
      client_name: { old: 'Before', new: 'web' },
      redirect_uris: { old: ['https://a.example/'], new: ['https://b.example/'] },
    }
    expect(rows.map(({ data }) => data)).toEqual([{ changes }])
  })

  const saying = async (type: string) =>
    ((await database.db('outbox').where({ type, client_id: 'web' }).orderBy('id')) as { data: object }[]).map(
      ({ data }) => data,
    )

  it('states metadata in clear, but people’s addresses as hashes', async () => {
    const { service } = build()
    await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'], contacts: ['ada@a.example'] })
    await service.update('web', { contacts: ['bob@a.example'], refresh_idle_seconds: 3600, scope: 'openid' })
    expect(await saying('client.created')).toMatchObject([
      {
        changes: {
          contacts: { newHash: 'mac of ["contacts",["ada@a.example"]]' },
          redirect_uris: { new: ['https://a.example/'] },
        },
      },
    ])
    expect(await saying('client.updated')).toEqual([
      {
        changes: {
          contacts: {
            oldHash: 'mac of ["contacts",["ada@a.example"]]',
            newHash: 'mac of ["contacts",["bob@a.example"]]',
          },
          refresh_idle_seconds: { new: 3600 },
          scope: { old: 'openid profile email', new: 'openid' },
        },
      },
    ])
  })

  it('states nothing when an update changes nothing', async () => {
    const { service } = build()
    await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    now = new Date(now.getTime() + 1000)
    expect(await service.update('web', { client_name: 'web' })).toBe(true)
    expect(await saying('client.updated')).toEqual([])
    expect((await service.show('web'))?.updatedAt).toEqual(new Date(now.getTime() - 1000))
  })

  it('states by whom and why a client was switched off and on', async () => {
    const { service } = build()
    await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    await service.disable('web', 'contract ended')
    await service.enable('web')
    expect([...(await saying('client.disabled')), ...(await saying('client.enabled'))]).toEqual([
      { changes: { disabled: { old: false, new: true } }, reason: 'contract ended' },
      { changes: { disabled: { old: true, new: false } } },
    ])
  })

  it('states which secrets live before and after a rotation, never a secret or its hash', async () => {
    const { service } = build()
    const { secret = '' } = await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    const ids = async () => (await service.show('web'))?.secrets.map(({ id }) => id) ?? []
    const [first] = await ids()
    now = new Date(now.getTime() + 1000)
    await service.rotateSecret('web', 60)
    const [, second] = await ids()
    now = new Date(now.getTime() + 1000)
    const last = await service.rotateSecret('web', 0)
    const [, , third] = await ids()
    expect(await saying('client.secret_rotated')).toEqual([
      { overlapSeconds: 60, changes: { secrets: { old: [first], new: [first, second] } } },
      { overlapSeconds: 0, changes: { secrets: { old: [first, second], new: [third] } } },
    ])
    const told = JSON.stringify(await database.db('outbox'))
    for (const hidden of [secret, last ?? '', ...((await service.show('web'))?.secrets ?? []).map(({ hash }) => hash)])
      expect(told).not.toContain(hidden)
  })

  it('keeps the object of an unchanged client, frozen', async () => {
    const { service } = build()
    await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    await service.create({ client_id: 'other', redirect_uris: ['https://a.example/'] })
    const before = await service.find('web')
    await service.announce(['web'])
    expect(await service.find('web')).toBe(before)
    expect(Object.isFrozen(before?.metadata.redirect_uris)).toBe(true)
    await service.update('web', { client_name: 'Other' })
    expect(await service.find('web')).not.toBe(before)
  })

  it('drops a scope and a resource server that left the configuration instead of breaking the client', async () => {
    const { service } = build(['openid', 'profile', 'email', 'custom'])
    const metadata = { client_id: 'web', redirect_uris: ['https://a.example/'], scope: 'openid custom' }
    await service.create(metadata)
    await service.create({ ...metadata, client_id: 'only', scope: 'custom' })
    const later = build(['openid', 'profile', 'email']).service
    expect((await later.find('web'))?.metadata.scope).toBe('openid')
    expect((await later.find('only'))?.metadata.scope).toBe('openid')
  })

  it('declares clients of the file, and those of the provider itself', async () => {
    const { service } = build()
    const changed = await sync([declared], service)
    expect(changed.sort()).toEqual(['declared', 'genkan-account'])
    expect(await service.secretMatches('declared', SECRET)).toBe(true)
    expect((await service.find('genkan-account'))?.metadata).toMatchObject({
      redirect_uris: [`${ISSUER}/account/callback`],
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code'],
      require_pkce: true,
      first_party: true,
    })
  })

  it('disables the client of account pages that are switched off, and keeps its id from others', async () => {
    await sync([])
    const { service } = build(undefined, false)
    expect(await sync([], service)).toEqual(['genkan-account'])
    expect(await service.find('genkan-account')).toBeUndefined()
    const taken = service.create({ client_id: 'genkan-account', redirect_uris: ['https://a.example/'] })
    await expect(taken).rejects.toMatchObject({ code: 'client_managed_by_file' })
    await sync([])
    expect(await build().service.find('genkan-account')).toBeDefined()
  })

  it('writes nothing when the file has not changed', async () => {
    await sync([declared])
    const before = [await database.db('clients').orderBy('id'), await database.db('outbox').count()]
    now = new Date(now.getTime() + 1000)
    expect(await sync([declared])).toEqual([])
    expect([await database.db('clients').orderBy('id'), await database.db('outbox').count()]).toEqual(before)
  })

  it('takes over what changed in the file, exchanging secrets', async () => {
    const { service } = build()
    await sync([declared], service)
    const both = [SECRET, 'another-declared-secret-of-32-chars']
    await sync([{ ...declared, client_secret: both } as never], service)
    await service.announce(['declared'])
    for (const secret of both) expect(await service.secretMatches('declared', secret)).toBe(true)
    await sync([{ ...declared, client_name: 'New', client_secret: both[1] } as never], service)
    await service.announce(['declared'])
    expect(await service.secretMatches('declared', SECRET)).toBe(false)
    expect((await service.find('declared'))?.metadata.client_name).toBe('New')
    expect(await facts()).toEqual(expect.arrayContaining(['client.updated declared', 'client.secret_rotated declared']))
    const rows: { type: string; data: { changes: { [member: string]: { old?: object; new?: object } } } }[] =
      await database.db('outbox').where({ client_id: 'declared' }).orderBy('id')
    const of = (wanted: string) => rows.filter(({ type }) => type === wanted).map(({ data }) => data.changes)
    expect(of('client.updated')).toEqual([{ client_name: { old: expect.any(String), new: 'New' } }])
    const rotations = of('client.secret_rotated').map(({ secrets }) => secrets)
    expect(rotations.map((secrets) => [secrets?.old, secrets?.new])).toEqual([
      [[expect.any(String)], [expect.any(String), expect.any(String)]],
      [[expect.any(String), expect.any(String)], [expect.any(String)]],
    ])
    // Made in one moment: their order is by chance.
    const sorted = (ids: unknown) => [...(ids as string[])].sort()
    expect(sorted(rotations[0]?.new)).toEqual(sorted(rotations[1]?.old))
  })

  it('disables what left the file, and enables what came back', async () => {
    const { service } = build()
    await sync([declared], service)
    await sync([], service)
    expect((await service.show('declared'))?.disabledAt).toEqual(now)
    expect(await sync([], service)).toEqual([])
    await sync([declared], service)
    expect((await service.show('declared'))?.disabledAt).toBeUndefined()
    expect((await facts()).sort()).toEqual([
      'client.created declared',
      'client.disabled declared',
      'client.enabled declared',
    ])
  })

  it('refuses commands on clients of the file, and the file on clients of commands', async () => {
    const { service } = build()
    await sync([declared], service)
    for (const attempt of [
      () => service.disable('declared'),
      () => service.rotateSecret('declared', 0),
      () => service.update('declared', { first_party: true }),
      () => service.disable('genkan-account'),
    ]) {
      await expect(attempt()).rejects.toMatchObject({ code: 'client_managed_by_file' })
    }
    await service.create({ client_id: 'web', redirect_uris: ['https://a.example/'] })
    await expect(sync([declared, { ...declared, client_id: 'web' }], service)).rejects.toMatchObject({
      code: 'client_exists',
    })
  })

  it('changes nothing at all when one declaration is wrong, and names every problem', async () => {
    await expect(
      sync([declared, { client_id: 'bad', redirect_uris: ['http://a.example/'], scop: 'x' } as never]),
    ).rejects.toThrow(/clients\.bad\.scop: .*\nclients\.bad|clients\.bad/)
    expect(await database.db('clients')).toEqual([])
  })

  it('ends with one set when three instances declare at once', async () => {
    await Promise.all([1, 2, 3].map(() => sync([declared])))
    expect(await database.db('clients')).toHaveLength(2)
    expect((await facts()).filter((fact) => fact === 'client.created declared')).toHaveLength(1)
  })

  describe('an agent', () => {
    const agent = { owner: 'Billing', purpose: 'pays invoices', expires_at: '2027-01-01T00:00:00Z' }
    const machine = { client_id: 'bot', client_secret: SECRET, grant_types: ['client_credentials'], scope: 'openid' }
    const at = (time: string) => {
      now = new Date(time)
    }

    it('is there until its time is over, and again when it is given more (R27)', async () => {
      const feature = build()
      await sync([{ ...machine, agent }], feature.service)
      at('2026-12-31T23:59:59Z')
      expect(await feature.service.find('bot')).toBeDefined()
      expect(await feature.service.secretMatches('bot', SECRET)).toBe(true)
      at('2027-01-01T00:00:00Z')
      expect(await feature.service.find('bot')).toBeUndefined()
      expect(await feature.service.secretMatches('bot', SECRET)).toBe(false)
      await feature.service.announce(
        await sync([{ ...machine, agent: { ...agent, expires_at: '2027-02-01T00:00:00Z' } }], feature.service),
      )
      expect(await feature.service.find('bot')).toBeDefined()
    })

    it('that uses nothing for as many days as it has lapses; a use or a change keeps it (R27)', async () => {
      const feature = build()
      const idle = { ...machine, agent: { ...agent, idle_days: 10 } }
      await sync([idle, { ...machine, client_id: 'patient', agent }], feature.service)
      const flush = () => feature.jobs?.find(({ name }) => name === 'clients.agent_uses')?.run(now)
      at('2026-12-01T00:00:00Z')
      expect(await feature.service.find('bot')).toBeDefined()
      await feature.used('bot')
      await feature.used('patient')
      await flush()
      // Also for an instance that has had it in its cache all the time.
      at('2026-12-10T23:00:00Z')
      expect(await feature.service.find('bot')).toBeDefined()
      expect(await build().service.find('bot')).toBeDefined()
      at('2026-12-11T00:00:01Z')
      for (const service of [feature.service, build().service]) {
        expect(await service.find('bot')).toBeUndefined()
        expect(await service.find('patient')).toBeDefined()
      }
      await sync([idle], feature.service)
      expect(await build().service.find('bot')).toBeUndefined()
      await sync([{ ...idle, client_name: 'Bot' }], feature.service)
      expect(await build().service.find('bot')).toBeDefined()
    })
  })
})
