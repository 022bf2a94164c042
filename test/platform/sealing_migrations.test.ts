/** Rows of before personal data was sealed: each is sealed by the migrations, and the ledger's chain holds on. */
import { readdirSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { Knex } from 'knex'
import { accountRepository } from '../../src/features/accounts/repository.ts'
import { noticeRepository } from '../../src/features/notices/repository.ts'
import { passkeyRepository } from '../../src/features/passkeys/repository.ts'
import { sessionRepository } from '../../src/features/sessions/repository.ts'
import { createLocalInvalidation } from '../../src/platform/invalidation.ts'
import { createLedger, entryHash } from '../../src/platform/ledger.ts'
import { createLedgerAudit } from '../../src/platform/ledger_audit.ts'
import { migrate } from '../../src/platform/migrate.ts'
import { canonical, contentHash, OUTBOX_MAC } from '../../src/platform/outbox.ts'
import { listFacts } from '../../src/platform/outbox_list.ts'
import { createPersonalData } from '../../src/platform/personal_columns.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { freshDatabase } from '../support/services.ts'

const MIGRATIONS = fileURLToPath(new URL('../../migrations/', import.meta.url))
const FIRST_SEALING = '202611260310'
const NOW = new Date('2026-11-01T12:00:00.000Z')
const PEOPLE = 1003
const secretBox = createSecretBox([Buffer.alloc(32, 3)])

describe.each(['embedded', 'postgres'] as const)('on %s', (kind) => {
  let database: Database

  beforeEach(async () => {
    database = await freshDatabase(kind)
    for (const statement of ['drop schema public cascade', 'create schema public']) await database.db.raw(statement)
    await migrateUntil(database.db, FIRST_SEALING)
  })
  afterEach(() => database.close())

  const personalOf = () =>
    createPersonalData({ database, secretBox, invalidation: createLocalInvalidation(), clock: { now: () => NOW } })
  const migrateAll = async () => {
    const personal = personalOf()
    const sealing = async (tx: Knex.Transaction) => {
      await personal.ensure(tx)
      return personal
    }
    return { personal, ...(await migrate(database, { sealing })) }
  }

  it('people, sign-ins, links, passkeys and facts are sealed, and read as before', async () => {
    await insertPeople(database.db)
    const seq = await insertFacts(database.db)
    const { personal, applied } = await migrateAll()
    expect(applied[0]).toContain(FIRST_SEALING)

    const accounts = accountRepository(database.db, personal)
    for (const n of [1, 500, PEOPLE]) {
      const found = await accounts.findByEmail(`person${n}@example.com`)
      expect(found).toMatchObject({ id: `a${n}`, profile: { name: `Person ${n}` }, emailVerifiedAt: NOW })
    }
    const sessions = sessionRepository(database.db, personal)
    expect(await sessions.find('s1')).toMatchObject({ ip: '192.0.2.1', userAgent: 'Browser one' })
    expect(await sessions.find('s2')).toMatchObject({ ip: undefined, userAgent: undefined })
    const passkeys = passkeyRepository(database.db, personal)
    expect((await passkeys.list('a1')).map(({ name }) => name)).toEqual(["Person's phone"])
    const link = await database.transaction((tx) =>
      noticeRepository(database.db, personal).consume('hash', 'restore_email', NOW, tx),
    )
    expect(link).toMatchObject({ accountId: 'a1', email: 'earlier@example.com' })

    await createLedger({ database, personal, secretBox, clock: { now: () => NOW }, subscriptions: [] }).seal()
    const report = await createLedgerAudit({ database, personal, secretBox }).verify()
    expect(report).toMatchObject({ ok: true, checked: seq + 1, problems: [] })
    const [fact] = await listFacts(database, personal, { type: 'password.verified', limit: 1, origins: true })
    expect(fact).toMatchObject({ ip: '192.0.2.9', userAgent: 'Browser nine' })

    const tables = ['accounts', 'sessions', 'notice_links', 'passkeys', 'outbox', 'ledger']
    const rows = await Promise.all(tables.map((table) => database.db(table)))
    for (const plain of ['example.com', 'Person', '192.0.2', 'Browser'])
      expect(JSON.stringify(rows)).not.toContain(plain)
    // One address, one proof: as before.
    const [again] = await database.db('accounts').where({ id: 'a1' })
    await expect(database.db('accounts').insert({ ...again, id: 'twin' })).rejects.toThrow('accounts_email_proven')
  })

  it('an empty database needs no key; one with rows and none is left as it was', async () => {
    await insertPeople(database.db)
    await expect(migrate(database)).rejects.toThrow('rows to seal')
    expect(await database.db.schema.hasColumn('accounts', 'email')).toBe(true)
    expect(await database.db.schema.hasTable('data_keys')).toBe(false)
    await database.db('accounts').delete()
    expect((await migrate(database)).applied).not.toEqual([])
  })
})

/** As an older version left it. */
async function migrateUntil(db: Knex, minute: string): Promise<void> {
  await db.raw('create table migrations (name text primary key, applied_at timestamptz not null)')
  for (const file of readdirSync(MIGRATIONS).sort()) {
    if (file.slice(0, 12) >= minute) return
    const { up } = (await import(pathToFileURL(`${MIGRATIONS}${file}`).href)) as { up(db: Knex): Promise<void> }
    await up(db)
    await db('migrations').insert({ name: file.replace(/\.ts$/, ''), applied_at: NOW })
  }
}

async function insertPeople(db: Knex): Promise<void> {
  const times = { created_at: NOW, updated_at: NOW }
  const people = Array.from({ length: PEOPLE }, (_, i) => ({
    ...{ id: `a${i + 1}`, email: `person${i + 1}@example.com`, email_verified_at: NOW, state: 'active', ...times },
    profile: JSON.stringify({ name: `Person ${i + 1}` }),
  }))
  await db.batchInsert('accounts', people, 500)
  const session = { account_id: 'a1', proofs: '[]', amr: '[]', created_at: NOW, authenticated_at: NOW, seen_at: NOW }
  await db('sessions').insert([
    { uid: 's1', ...session, ip: '192.0.2.1', user_agent: 'Browser one' },
    { uid: 's2', ...session },
  ])
  const expires = new Date(NOW.getTime() + 60_000)
  const link = { account_id: 'a1', purpose: 'restore_email', created_at: NOW, expires_at: expires }
  await db('notice_links').insert({ token_hash: 'hash', email: 'earlier@example.com', ...link })
  await db('passkeys').insert({
    ...{ id: 'p1', account_id: 'a1', credential_id: 'c', public_key: 'k', counter: 0, transports: '[]', aaguid: '' },
    ...{ backup_eligible: true, backed_up: true, name: "Person's phone", created_at: NOW },
  })
}

/** One fact that is sealed in the ledger and one that waits. Returns the number of the sealed one. */
async function insertFacts(db: Knex): Promise<number> {
  const fact = (id: string, type: string) => {
    const content = {
      ...{ id, type, account_id: 'a1', client_id: null, actor: 'a1', data: {}, request_id: 'r', ip_hash: 'h' },
      ...{ user_agent: 'Browser nine', occurred_at: NOW, salt: 's' },
    }
    return { ...content, mac: secretBox.mac(canonical(content), OUTBOX_MAC) }
  }
  const sealed = fact('f1', 'password.verified')
  await db('outbox').insert([{ ...sealed, ip: '192.0.2.9', seq: 1 }, fact('f2', 'session.started')])
  const content = contentHash(sealed)
  const entry = { seq: 1, sealedAt: NOW, id: 'f1', type: sealed.type, occurredAt: NOW, contentHash: content }
  const hash = entryHash('', entry)
  await db('ledger').insert({ seq: 1, outbox_id: 'f1', hash, content_hash: content, sealed_at: NOW })
  const mac = secretBox.mac(JSON.stringify([1, hash, NOW.getTime()]), 'ledger-anchor')
  await db('ledger_anchors').insert({ seq: 1, hash, mac, anchored_at: NOW })
  return 1
}
