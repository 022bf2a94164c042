/** R25 (e): secrets, certificates and keys of clients are warned about a month, a week and a day before, each once. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Job } from '../../../src/feature.ts'
import { createClientExpiries } from '../../../src/features/client_expiries/index.ts'
import { clientRepository } from '../../../src/features/clients/repository.ts'
import { createOutbox } from '../../../src/platform/outbox.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { API, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { testPersonal } from '../../support/personal_columns.ts'
import { selfSigned } from '../../support/self_signed.ts'
import { type Pair, startPair } from '../../support/server.ts'
import { freshDatabase } from '../../support/services.ts'

const DAY_MS = 86_400_000

describe.each(['embedded', 'postgres'] as const)('on %s', (kind) => {
  let database: Database
  let now = new Date('2026-11-22T10:00:00Z')
  const inDays = (days: number) => new Date(now.getTime() + days * DAY_MS)
  let instances: readonly Job[]

  beforeAll(async () => {
    database = await freshDatabase(kind)
    const secretBox = createSecretBox([Buffer.alloc(32, 1)])
    const outbox = createOutbox({ personal: testPersonal, secretBox, clock: { now: () => now } })
    const clients = clientRepository(database.db)
    const build = () => createClientExpiries({ transaction: database.transaction, outbox, clients, locale: 'en' })
    instances = [build(), build(), build()].flatMap(({ jobs = [] }) => jobs)
    const insert = (id: string, more: object) =>
      database.db('clients').insert({
        ...{ id, managed: 'command', created_at: now, updated_at: now },
        metadata: JSON.stringify({ client_id: id, client_name: id, ...more }),
      })
    await insert('ends', { contacts: ['ops@example.com', 'dev@example.com'] })
    await insert('lasts', { contacts: ['ops@example.com'] })
    await insert('keyed', { jwks: { keys: [{ kty: 'EC', kid: 'k1', exp: inDays(20).getTime() / 1000 }] } })
    await insert('off', {})
    await database.db('clients').where({ id: 'off' }).update({ disabled_at: now })
    const secret = (client_id: string, days: number | null) => ({
      ...{ id: `${client_id}-${days}`, client_id, hash: 'x'.repeat(43), managed: 'command', created_at: now },
      expires_at: days === null ? null : inDays(days),
    })
    await database
      .db('client_secrets')
      .insert([secret('ends', 40), secret('ends', null), secret('ends', -1), secret('lasts', null), secret('off', 5)])
  })
  afterAll(() => database?.close())

  /** Runs the job of all instances at once. */
  const runAll = () => Promise.all(instances.map(({ run }) => run(now)))
  const stated = async () => {
    const rows: { client_id: string; data: { credential: string; days: number } }[] = await database
      .db('outbox')
      .select('client_id', 'data')
      .where({ type: 'client.expiry_neared' })
      .orderBy('id')
    return rows.map(({ client_id, data }) => [client_id, data.credential, data.days])
  }
  const mails = async () => (await database.db('outbox').where({ type: 'mail.requested' })).length

  it('each threshold is one fact and a mail to each contact, however many instances look', async () => {
    await runAll()
    expect(await stated()).toEqual([['keyed', 'k1', 20]])
    expect(await mails()).toBe(0)
    const expected: (string | number)[][] = [['keyed', 'k1', 20]]
    for (const [days, facts] of [
      [9.9, []],
      [0.2, [['ends', 'ends-40', 30]]],
      [1, []],
      [2, [['keyed', 'k1', 7]]],
      [6.5, [['keyed', 'k1', 1]]],
      [1, []],
      [12.9, [['ends', 'ends-40', 7]]],
      [6, [['ends', 'ends-40', 1]]],
      [2, []],
    ] as const) {
      now = inDays(days)
      await runAll()
      await runAll()
      expected.push(...facts.map((fact) => [...fact]))
      expect([days, await stated()]).toEqual([days, expected])
    }
    expect(await mails()).toBe(6)
    now = inDays(90)
    await runAll()
    expect(await database.db('client_expiries')).toEqual([])
  })
})

describe('two instances behind one door', () => {
  const { jwk, x509 } = selfSigned('partner', 20)
  let pair: Pair
  beforeAll(async () => {
    const partner = {
      ...{ client_id: 'partner', client_name: 'Partner', contacts: ['ops@partner.example'], default_locale: 'fi' },
      ...{ token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [jwk] } },
      ...{ grant_types: ['client_credentials'], scope: 'orders:read', resources: [API] },
    }
    pair = await startPair({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, partner] } })
  })
  afterAll(() => pair?.close())

  it('state one fact and send one mail, in the language of the client; the commands show the end', async () => {
    const [server] = pair.servers
    const list = async () =>
      JSON.parse((await server.run('audit', 'list', '--type', 'client.expiry_neared', '--json')).stdout)
    for (let tries = 0; (await list()).length === 0 && tries < 200; tries++) await sleep(100)
    const boxes = pair.servers.map(({ dataDir }) => mailFolder(dataDir))
    // The first runs of all jobs of both are over.
    await sleep(6000)
    const mails = (await Promise.all(boxes.map((box) => box.all()))).flat().map((mail) => JSON.stringify(mail))
    expect(mails.filter((mail) => mail.includes('ops@partner.example'))).toHaveLength(1)
    expect(mails.join()).toContain('Sovelluksen Partner varmenne vanhenee 20 päivän kuluttua')
    const facts = await list()
    expect(facts).toHaveLength(1)
    expect(facts[0]).toMatchObject({ clientId: 'partner', actor: 'system', data: { kind: 'certificate', days: 20 } })
    const shown = await server.run('clients', 'show', 'partner', '--json')
    expect(JSON.parse(shown.stdout).keys).toEqual([
      {
        id: facts[0].data.credential,
        ...{ kind: 'certificate', expires_at: new Date(x509.validTo).toISOString() },
      },
    ])
    const made = await server.run(
      'clients',
      'create',
      'later',
      '--grant-type',
      'client_credentials',
      '--scope',
      'openid',
      '--json',
    )
    expect(made.code).toBe(0)
    const refused = await server.run('clients', 'rotate-secret', 'later', '--overlap', '2d', '--expires-in', '1d')
    expect(refused.code).toBe(1)
    await server.run('clients', 'rotate-secret', 'later', '--expires-in', '90d')
    const later = JSON.parse((await server.run('clients', 'show', 'later', '--json')).stdout)
    const ends = later.secrets.map(({ expires_at }: { expires_at: string }) =>
      Math.ceil((Date.parse(expires_at) - Date.now()) / DAY_MS),
    )
    expect(ends.sort()).toEqual([-0, 90])
    const text = await server.run('clients', 'list')
    expect(text.stdout).toMatch(/CLIENT +KEY +KIND +EXPIRES\npartner +\S+ +certificate +20/)
  }, 60_000)
})
