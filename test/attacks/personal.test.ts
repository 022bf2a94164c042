/** A copy of the database tells nobody who its people are, and a cell that somebody exchanged is refused. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Database, openDatabase } from '../../src/platform/postgres.ts'
import { type Browser, createBrowser } from '../support/browser.ts'
import { PASSWORD, register, SETTINGS, signIn } from '../support/journeys.ts'
import { codeFrom, type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { authorizationRequest } from '../support/people.ts'
import { type Server, startServer } from '../support/server.ts'
import { freshDatabaseUrl } from '../support/services.ts'

/** Long and odd enough to be found anywhere. */
const PLANTED = {
  email: 'quillfeather@canary-mailbox.example',
  next: 'ottersley@canary-mailbox.example',
  unproven: 'pellworth@canary-mailbox.example',
  name: 'Quillon Featherstonehaugh',
  nickname: 'Quillywhistle',
  phone: '+358401239876',
  ip: '198.51.100.177',
  userAgent: 'CanaryBrowser/77.12 (Windows NT 10.0; rv:77.12) Firefox/777.12',
}

const KINDS = ['embedded', 'postgres'] as const

describe.each(KINDS)('a dump of %s', (kind) => {
  let mailbox: SmtpMailbox
  let server: Server
  let tables: Map<string, string>

  const person = () =>
    createBrowser({
      stopAt: ['https://'],
      headers: { 'x-forwarded-for': PLANTED.ip, 'user-agent': PLANTED.userAgent },
    })
  const open = (browser: Browser, parameters = {}) =>
    browser.get(authorizationRequest(server.issuer, 'own', parameters).url)

  beforeAll(async () => {
    mailbox = await startMailbox()
    server = await startServer({
      settings: SETTINGS,
      stores: kind === 'embedded' ? 'embedded' : { databaseUrl: await freshDatabaseUrl() },
      env: { SMTP_URL: mailbox.url, TRUSTED_PROXIES: '127.0.0.1' },
    })
    await live()
    await server.stop()
    const database = await openDatabase(
      kind === 'embedded' ? { dataDir: server.dataDir } : { databaseUrl: server.env.DATABASE_URL },
    )
    tables = await dump(database).finally(database.close)
  }, 120_000)
  afterAll(async () => {
    await server?.close()
    await mailbox?.stop()
  })

  /** Registers, says who they are, signs in elsewhere, changes the address; others stop in the middle. */
  async function live(): Promise<void> {
    const { issuer } = server
    const browser = person()
    const end = await register(browser, await open(browser, { prompt: 'create' }), mailbox, PLANTED.email)
    expect(end.params.has('code')).toBe(true)
    const profile = await browser.get(`${issuer}/account/profile`)
    const about = { name: PLANTED.name, nickname: PLANTED.nickname, phone_number: PLANTED.phone }
    expect((await browser.submit(profile, about, { form: '/account/profile' })).status).toBe(200)
    const other = person()
    await signIn(other, await open(other), PLANTED.email, 'not the password 12')
    expect((await signIn(other, await open(other), PLANTED.email)).params.has('code')).toBe(true)
    const change = await browser.get(`${issuer}/account/email`)
    const sent = await browser.submit(change, { email: PLANTED.next }, { form: '/account/email' })
    const code = codeFrom(await mailbox.to(PLANTED.next))
    expect((await browser.submit(sent, { code }, { form: '/account/email/code' })).status).toBe(200)
    // The notice with the way back went to the earlier address.
    await mailbox.to(PLANTED.email, { count: 2 })
    const waiting = await browser.get(`${issuer}/account/email`)
    await browser.submit(waiting, { email: PLANTED.unproven }, { form: '/account/email' })
    const begun = person()
    await begun.submit(await open(begun), { identifier: PLANTED.next }, { form: '/identifier' })
    const registering = person()
    const start = await open(registering, { prompt: 'create', login_hint: PLANTED.unproven })
    await registering.submit(start, { email: PLANTED.unproven, password: PASSWORD }, { form: '/register' })
  }

  it('has rows of all that', () => {
    for (const table of [
      'accounts',
      'sessions',
      'notice_links',
      'devices',
      'outbox',
      'ledger',
      'key_values',
      'oidc_state',
    ])
      expect([table, (tables.get(table)?.length ?? 0) > 10]).toEqual([table, true])
    expect(tables.get('sessions')).toMatch(/"sealed_ip": ?"v1\./)
    expect(tables.get('notice_links')).toMatch(/"sealed_email": ?"v1\./)
  })

  it('counts limits of networks by their addresses, for a day at the most, and keeps no other record of them', () => {
    const lines = (tables.get('key_values') ?? '').split('\n').filter((line) => line.includes(PLANTED.ip))
    expect(lines.length).toBeGreaterThan(0)
    for (const line of lines) expect(line).toMatch(/^\{"key": ?"\{\w+\}:[^"]*", ?"value": ?"\d+"/)
    tables.set(
      'key_values',
      (tables.get('key_values') ?? '')
        .split('\n')
        .filter((line) => !lines.includes(line))
        .join('\n'),
    )
  })

  it.each(Object.entries(PLANTED))('tells no %s', (_, value) => {
    const found = [...tables].filter(([, rows]) => forms(value).some((form) => rows.includes(form)))
    expect(found.map(([table]) => table)).toEqual([])
  })
})

/** Each table's rows as text. */
async function dump({ db }: Database): Promise<Map<string, string>> {
  const { rows } = await db.raw(
    `select table_name as name from information_schema.tables where table_schema = 'public'`,
  )
  const tables = new Map<string, string>()
  for (const { name } of rows as { name: string }[]) {
    const all = await db.raw(`select to_jsonb(t)::text as row from "${name}" t`)
    tables.set(name, (all.rows as { row: string }[]).map(({ row }) => row.toLowerCase()).join('\n'))
  }
  return tables
}

/** A value as it is, as JSON within JSON, in a URL, and as base64 at any offset. */
function forms(value: string): string[] {
  const encoded = [0, 1, 2].map((pad) =>
    Buffer.from(' '.repeat(pad) + value)
      .toString('base64url')
      .slice(pad === 0 ? 0 : 4, -3),
  )
  const all = [value, encodeURIComponent(value), ...encoded, Buffer.from(value).toString('hex')]
  return all.map((form) => form.toLowerCase())
}
