/** A copy of the database tells nobody who its people are, and a cell that somebody exchanged is refused. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Database, openDatabase } from '../../src/platform/postgres.ts'
import { type Browser, createBrowser, type Page } from '../support/browser.ts'
import { choose, PASSWORD, register, SETTINGS, signIn } from '../support/journeys.ts'
import { codeFrom, type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { addPasskey, authenticatorOf, showPasskey } from '../support/passkey_people.ts'
import { authorizationRequest } from '../support/people.ts'
import { type Server, startServer } from '../support/server.ts'
import { freshDatabaseUrl } from '../support/services.ts'
import { type Member, startTarget, type Target } from '../support/target.ts'

/** Long and odd enough to be found anywhere. */
const PLANTED = {
  email: 'quillfeather@canary-mailbox.example',
  next: 'ottersley@canary-mailbox.example',
  unproven: 'pellworth@canary-mailbox.example',
  name: 'Quillon Featherstonehaugh',
  nickname: 'Quillywhistle',
  phone: '+358401239876',
  passkey: 'Quillon\u2019s turquoise key',
  ip: '198.51.100.177',
  userAgent: 'CanaryBrowser/77.12 (Windows NT 10.0; rv:77.12) Firefox/777.12',
}

const KINDS = ['embedded', 'postgres'] as const

describe.each(KINDS)('a dump of %s', (kind) => {
  let mailbox: SmtpMailbox
  let server: Server
  let tables: Map<string, string>
  /** Hits on limits: numbers, whose keys name the network. */
  let counters: string[]

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
    const records = (tables.get('key_values') ?? '').split('\n')
    const isCounter = (line: string) => /^\{"key": ?"\{\w+\}:[^"]*", ?"value": ?"\d+"/.test(line)
    counters = records.filter(isCounter)
    tables.set('key_values', records.filter((line) => !isCounter(line)).join('\n'))
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
    const key = authenticatorOf(server)
    await addPasskey(server, browser, key)
    const list = await browser.get(`${issuer}/account/passkeys`)
    const link = list.links.find(({ href }) => /\/passkeys\/[\w-]{22}$/.test(href))
    const asked = await browser.get(new URL(link?.href ?? '', list.url).href, list)
    const one = await showPasskey(browser, await choose(browser, asked, 'passkey'), key)
    const named = await browser.submit(one, { name: PLANTED.passkey }, { form: '/name' })
    expect(named.text).toContain(PLANTED.passkey)
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
    expect(tables.get('passkeys')).toMatch(/"sealed_name": ?"v1\./)
    expect(tables.get('notice_links')).toMatch(/"sealed_email": ?"v1\./)
  })

  it('counts limits of networks by their addresses, for a day at the most', () => {
    expect(counters.length).toBeGreaterThan(0)
    expect(counters.some((line) => line.includes(PLANTED.ip))).toBe(true)
    for (const value of [PLANTED.email, PLANTED.next, PLANTED.unproven])
      expect(counters.filter((line) => forms(value).some((form) => line.includes(form)))).toEqual([])
  })

  it.each(Object.entries(PLANTED))('tells no %s', (_, value) => {
    const found = [...tables].filter(([, rows]) => forms(value).some((form) => rows.includes(form)))
    expect(found.map(([table]) => table)).toEqual([])
  })
})

describe('cells that were exchanged with SQL alone', () => {
  let target: Target
  let ada: Member
  let eve: Member
  beforeAll(async () => {
    target = await startTarget()
    ada = await target.signUp('ada@cells.example')
    eve = await target.signUp('eve@cells.example')
  })
  afterAll(() => target?.close())

  /** The log says which cell; the person hears nothing of it. */
  async function refused(page: Page, reason: RegExp): Promise<void> {
    expect([page.status, /cells|sealed|\bv1\./.test(page.text)]).toEqual([500, false])
    const line = () => target.server.logs().find((each) => each.includes('"error"') && reason.test(each))
    for (let tries = 0; tries < 40 && line() === undefined; tries++) await sleep(25)
    expect(line()).toBeDefined()
  }
  const cell = async (table: string, key: string, column: string, row: string): Promise<unknown> =>
    (await target.sql<{ cell: unknown }>(`select ${column} as cell from ${table} where ${key} = $1`, [row]))[0]?.cell
  /** Puts something in the place of a cell while `work` runs. */
  async function exchanged(
    [table, key, column]: readonly [table: string, key: string, column: string],
    row: string,
    value: unknown,
    work: () => Promise<void>,
  ): Promise<void> {
    const before = await cell(table, key, column, row)
    const put = (to: unknown) => target.sql(`update ${table} set ${column} = $2 where ${key} = $1`, [row, to])
    await put(value)
    await work().finally(() => put(before))
  }
  const PERSONAL = ['accounts', 'id', 'sealed_personal'] as const
  const signsIn = async (email: string) => {
    const browser = target.person()
    return signIn(browser, await target.open(browser), email)
  }

  it("another person's address and name are not taken for one's own", async () => {
    await exchanged(PERSONAL, ada.sub, await cell(...PERSONAL, eve.sub), async () => {
      await refused(await ada.browser.get(`${target.issuer}/account`), /accounts\.sealed_personal of row .* sealed for/)
      await refused(await signsIn(ada.email), /accounts\.sealed_personal/)
      const info = await target
        .person()
        .send(`${target.issuer}/me`, { headers: { authorization: `Bearer ${ada.tokens.access_token}` } })
      expect([info.status >= 400, info.body.includes('eve@')]).toEqual([true, false])
    })
    expect((await signsIn(ada.email)).params.has('code')).toBe(true)
  })

  it('a changed one, one in clear, and one under no known key are refused', async () => {
    const sealed = String(await cell(...PERSONAL, ada.sub))
    const changed = [`${sealed.slice(0, -4)}AAAA`, '["x",{"email":"eve@cells.example","profile":{}}]']
    for (const value of [...changed, sealed.replace(/^v1\.[\w-]{8}/, 'v1.aaaaaaaa')])
      await exchanged(PERSONAL, ada.sub, value, async () =>
        refused(await signsIn(ada.email), /accounts\.sealed_personal of row .* cannot be opened/),
      )
  })

  it("a hash of eve's address on ada's account leads no code and no password there", async () => {
    const hash = await target.emailHash('mallory@cells.example')
    await exchanged(['accounts', 'id', 'email_hash'], ada.sub, hash, async () => {
      await refused(await signsIn('mallory@cells.example'), /accounts\.email_hash of row .* is not that of its address/)
      const browser = target.person()
      const start = await target.open(browser, { login_hint: 'mallory@cells.example' })
      const page = await browser.submit(
        await choose(browser, start, 'recover'),
        { identifier: 'mallory@cells.example' },
        { form: '/recover' },
      )
      await refused(page, /accounts\.email_hash/)
      await target.settled()
      expect((await target.mailbox.all()).some(({ to }) => to.includes('mallory@cells.example'))).toBe(false)
    })
  })

  it('a sign-in that claims another place is not shown', async () => {
    const [mine] = await target.sql<{ uid: string }>('select uid from sessions where account_id = $1', [ada.sub])
    const [hers] = await target.sql<{ uid: string }>('select uid from sessions where account_id = $1', [eve.sub])
    const IP = ['sessions', 'uid', 'sealed_ip'] as const
    await exchanged(IP, mine?.uid ?? '', await cell(...IP, hers?.uid ?? ''), async () => {
      const page = await ada.browser.get(`${target.issuer}/account/sessions`)
      await refused(page, /sessions\.sealed_ip of row .* sealed for/)
    })
    expect((await ada.browser.get(`${target.issuer}/account/sessions`)).status).toBe(200)
  })

  it('a fact that says another browser is named by the audit', async () => {
    const facts = await target.sql<{ id: string }>('select id from outbox where sealed_user_agent is not null limit 2')
    const [one = '', two = ''] = facts.map(({ id }) => id)
    const AGENT = ['outbox', 'id', 'sealed_user_agent'] as const
    await exchanged(AGENT, one, await cell(...AGENT, two), async () => {
      const report = await target.server.run('audit', 'verify', '--json')
      expect(report.code).toBe(1)
      expect(JSON.parse(report.stdout)).toMatchObject({ problems: [{ kind: 'fact_changed', id: one }] })
    })
    expect((await target.server.run('audit', 'verify')).code).toBe(0)
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
