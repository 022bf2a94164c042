/** `genkan keys reseal` beside two instances at work: one knows the old data key only, and both go on signing people in. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Database, openDatabase } from '../../src/platform/postgres.ts'
import { SETTINGS } from '../support/journeys.ts'
import { type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { newPerson, type Person } from '../support/people.ts'
import { accountColumns, openedRows } from '../support/personal_columns.ts'
import { type Pair, realStores, startPair } from '../support/server.ts'
import { runCommand } from '../support/server_process.ts'
import { freshDatabaseUrl } from '../support/services.ts'

const [OLD, NEW] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')]
/** So many more, that resealing takes a while. */
const OTHERS = 3000
/** As people do: on two cores, signing in without a pause would only make resealing slower. */
const PAUSE_MS = 250

describe.each(['with Redis', 'without Redis'])('%s', (kind) => {
  let pair: Pair
  let mailbox: SmtpMailbox
  let database: Database
  let people: Person[]

  beforeAll(async () => {
    mailbox = await startMailbox()
    const stores = kind === 'with Redis' ? await realStores() : { databaseUrl: await freshDatabaseUrl() }
    const env = { SMTP_URL: mailbox.url, GENKAN_SECRET_KEYS: OLD }
    pair = await startPair({ settings: SETTINGS, stores, env })
    database = await openDatabase({ databaseUrl: stores.databaseUrl })
    people = []
    for (const name of ['ann', 'bob', 'cat']) people.push(await newPerson(pair.issuer, mailbox, `${name}@example.com`))
    await insertOthers()
  }, 120_000)
  afterAll(async () => {
    await database?.close()
    await pair?.close()
    await mailbox?.stop()
  })

  async function insertOthers(): Promise<void> {
    const sql = async <Row extends object>(statement: string) =>
      (await database.db.raw<{ rows: Row[] }>(statement)).rows
    const box = await openedRows(sql, OLD).box()
    const now = new Date()
    const rows = Array.from({ length: OTHERS }, (_, i) => {
      const id = `other${i}`
      const times = { email_verified_at: now, created_at: now, updated_at: now }
      return { id, ...accountColumns(id, `${id}@example.com`, {}, box), state: 'active', ...times }
    })
    await database.db.batchInsert('accounts', rows, 1000)
  }
  const genkan = (keys: string, ...command: string[]) =>
    runCommand(command, { ...pair.servers[0].env, GENKAN_SECRET_KEYS: keys })
  const restart = (keys: string) =>
    Promise.all(pair.servers.map((server) => server.restart({ GENKAN_SECRET_KEYS: keys })))
  const dataKeys = async () =>
    (await database.db('data_keys').where({ purpose: 'personal' }).orderBy('created_at')).map(({ id }) => id as string)
  const keysInUse = async () => {
    const { rows } = await database.db.raw(
      `select distinct split_part(sealed, '.', 2) as id from (
         select sealed_personal as sealed from accounts union all select sealed_user_agent from sessions
         union all select sealed_ip from outbox where sealed_ip is not null) cells`,
    )
    return (rows as { id: string }[]).map(({ id }) => id)
  }

  it('nobody is kept out while rows change their keys, and afterwards the old secret key can go', async () => {
    await restart(`${NEW},${OLD}`)
    const [before] = await dataKeys()
    let isDone = false
    const signingIn = people.map(async (person) => {
      let times = 0
      while (!isDone || times < 2) {
        const { browser } = await person.elsewhere()
        const page = await browser.get(`${pair.issuer}/account/sessions`)
        expect([page.status, new URL(page.url).pathname]).toEqual([200, '/account/sessions'])
        times++
        await sleep(PAUSE_MS)
      }
      return times
    })
    const resealing = genkan(`${NEW},${OLD}`, 'keys', 'reseal', '--json').finally(() => {
      isDone = true
    })
    const [{ code, stdout, stderr }, ...times] = await Promise.all([resealing, ...signingIn])
    expect([code, stderr]).toEqual([0, ''])
    const report = JSON.parse(stdout) as { personal: number; forged: number }
    // The servers' own job may have done a part of it meanwhile; nothing of what was there is left under the old key.
    expect(report.personal).toBeGreaterThan(0)
    const { rows } = await database.db.raw(
      "select count(*)::int as moved from accounts where id like 'other%' and split_part(sealed_personal, '.', 2) <> ?",
      [before ?? ''],
    )
    expect(rows).toEqual([{ moved: OTHERS }])
    expect(report.forged).toBe(0)
    expect(Math.min(...times)).toBeGreaterThan(1)

    // What was sealed under the old key meanwhile is found by another run.
    expect(await genkan(`${NEW},${OLD}`, 'keys', 'reseal')).toMatchObject({ code: 0 })
    const [old, young] = await dataKeys()
    expect([old, (await keysInUse()).join()]).toEqual([before, young])
    expect(await database.db('accounts').count().first()).toEqual({ count: String(OTHERS + people.length) })
    await restart(NEW)
    for (const person of people) await person.elsewhere()
    const doctor = await genkan(NEW, 'doctor', '--json')
    expect(JSON.parse(doctor.stdout)).toContainEqual({
      ...{ check: 'sealed data', state: 'ok', text: 'everything is under the newest keys' },
    })
    expect(await genkan(NEW, 'audit', 'verify')).toMatchObject({ code: 0 })
    const listed = await genkan(NEW, 'audit', 'list', '--type', 'session.started', '--origins', '--json')
    expect(JSON.parse(listed.stdout)[0]).toMatchObject({ ip: '127.0.0.1', userAgent: expect.any(String) })
  }, 180_000)

  it('a server without the key of its data keys does not start, and says which', async () => {
    const { code, stdout, stderr } = await genkan(OLD, 'migrate')
    expect(code).toBe(1)
    expect(`${stdout}${stderr}`).toMatch(/data key [\w-]{8} \(\w+\) cannot be opened: .*its key [\w-]{8} is not among/)
  })
})
