/** Secrets stay secret: in the log, whose events stay single lines (A106), and in the stores (A110). */

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Redis } from 'ioredis'
import * as oidc from 'openid-client'
import type { Browser, Page } from '../support/browser.ts'
import { API, authorization, choose, PASSWORD, SECRET, signIn } from '../support/journeys.ts'
import { codeFrom } from '../support/mailbox.ts'
import { MARK } from '../support/observer.ts'
import { until } from '../support/processes.ts'
import { rawRequest, sendRaw } from '../support/raw_http.ts'
import { CALLBACK, startTarget, type Target } from '../support/target.ts'

/** Planted where secrets are typed; long and odd enough to be found anywhere. */
const PLANTED = {
  password: 'canary-password-7f3a9c quiet heron',
  newPassword: 'canary-changed-51be02 grey stones',
  recovered: 'canary-recovered-c0ffee tall reeds',
  wrong: 'canary-wrong-password-99aa41',
  mistyped: 'canary-typed-into-the-wrong-field-8812',
  code: 'canary-authorization-code-0001',
  verifier: `canary-verifier-${'v'.repeat(40)}`,
  refresh: 'canary-refresh-token-0002',
  access: 'canary-access-token-0003',
  clientSecret: 'canary-client-secret-0004',
  assertion: 'eyJhbGciOiJFUzI1NiJ9.Y2FuYXJ5LWFzc2VydGlvbi0wMDA1.canaryassertionsignature',
  hint: 'eyJhbGciOiJFUzI1NiJ9.Y2FuYXJ5LWhpbnQtMDAwNg.canaryhintsignature',
  cookie: 'canary-cookie-0007',
  state: 'canary-state-0008',
  email: 'canary.person@canary-mailbox.example',
  name: 'Canary Underwood-Featherstone',
  phone: '+358401234567',
  secondEmail: 'canary.second@canary-mailbox.example',
  thirdEmail: 'canary.third@canary-mailbox.example',
}
/** Data of the person. */
const PERSONAL: readonly string[] = ['email', 'mistyped', 'name', 'phone', 'secondEmail', 'thirdEmail']
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

let target: Target
/** What the product itself gave out on the way. */
const given: { [what: string]: string } = {}
/** Addresses of pages on which a conversation stood. */
const visited: string[] = []

beforeAll(async () => {
  target = await startTarget({ env: { GENKAN_LOG_LEVEL: 'trace' } })
  await live()
}, 120_000)
afterAll(() => target?.close())

/** A whole life with the planted secrets, with every mistake that people and clients make. */
async function live(): Promise<void> {
  const { issuer } = target
  const member = await target.signUp(PLANTED.email, PLANTED.password)
  const { browser } = member
  given.verify_code = codeFrom(await target.mailbox.to(PLANTED.email))
  remember('own', member.tokens)
  const offline = await authorization(target.client, CALLBACK, { scope: 'openid offline_access', prompt: 'consent' })
  let page = await browser.get(offline.url)
  if (page.forms.some(({ action }) => action.endsWith('/consent')))
    page = await browser.submit(page, {}, { form: '/consent', button: 'allow' })
  remember('offline', await oidc.authorizationCodeGrant(target.client, new URL(page.url), offline.checks))
  given.used_code = page.params.get('code') ?? ''
  const unused = await authorization(target.client, CALLBACK, { scope: 'openid', prompt: 'none' })
  given.unused_code = (await browser.get(unused.url)).params.get('code') ?? ''
  given.unused_verifier = unused.checks.pkceCodeVerifier

  const stranger = target.person()
  const start = await target.open(stranger, { state: PLANTED.state })
  visited.push(start.url)
  const asked = await stranger.submit(start, { identifier: PLANTED.email }, { form: '/identifier' })
  await stranger.submit(asked, { password: PLANTED.wrong }, { form: '/password' })
  visited.push((await target.open(target.person(), { login_hint: PLANTED.mistyped })).url)
  const typo = target.person()
  await typo.submit(await target.open(typo), { identifier: PLANTED.mistyped }, { form: '/identifier' })

  const change = await browser.get(`${issuer}/account/password`)
  await browser.submit(change, { current: PLANTED.wrong, password: PLANTED.newPassword }, { form: '/account/password' })
  const again = await browser.get(`${issuer}/account/password`)
  await browser.submit(
    again,
    { current: PLANTED.password, password: PLANTED.newPassword },
    { form: '/account/password' },
  )
  await changePerson()
  await recover()
  await pushed()
  await clients()
  cookies(browser, 'member')
  cookies(stranger, 'stranger')
  await stir()
  await target.settled()
  await rememberConversations()
}

function remember(
  prefix: string,
  tokens: { access_token: string; refresh_token?: string | undefined; id_token?: string | undefined },
): void {
  given[`${prefix}_access_token`] = tokens.access_token
  if (tokens.refresh_token !== undefined) given[`${prefix}_refresh_token`] = tokens.refresh_token
  if (tokens.id_token !== undefined) given[`${prefix}_id_token`] = tokens.id_token
}

/** Ids of conversations under way and of those that ended, which their mails name. */
async function rememberConversations(): Promise<void> {
  const mails = JSON.stringify(await target.mailbox.all())
  const ids = [...`${visited.join(' ')} ${mails}`.matchAll(/\/interaction\/([\w-]{20,})/g)].map(([, id = '']) => id)
  for (const id of new Set(ids)) given[`conversation_${id}`] = id
  expect(new Set(ids).size).toBeGreaterThanOrEqual(5)
}

function cookies(browser: Browser, prefix: string): void {
  for (const { name, value } of browser.jar.all()) given[`${prefix}_${name}`] = value
}

/** Another member says who they are, and proves another address. */
async function changePerson(): Promise<void> {
  const { issuer } = target
  const { browser } = await target.signUp(PLANTED.secondEmail)
  const profile = await browser.get(`${issuer}/account/profile`)
  const about = { given_name: PLANTED.name, phone_number: PLANTED.phone }
  expect((await browser.submit(profile, about, { form: '/account/profile' })).status).toBe(200)
  const language = await browser.get(`${issuer}/account/language`)
  await browser.submit(language, { locale: 'fi' }, { form: '/account/language' })
  const change = await browser.get(`${issuer}/account/email`)
  const sent = await browser.submit(change, { email: PLANTED.thirdEmail }, { form: '/account/email' })
  given.change_code = codeFrom(await target.mailbox.to(PLANTED.thirdEmail))
  await browser.submit(sent, { code: given.change_code }, { form: '/account/email/code' })
  cookies(browser, 'second')
}

/** A conversation that began with a pushed request: its record names the request that anybody could begin with again. */
async function pushed(): Promise<void> {
  const browser = target.person()
  const url = await oidc.buildAuthorizationUrlWithPAR(target.client, {
    ...{ redirect_uri: CALLBACK, scope: 'openid', state: PLANTED.state, login_hint: PLANTED.mistyped },
    code_challenge: await oidc.calculatePKCECodeChallenge(PLANTED.verifier),
    code_challenge_method: 'S256',
  })
  given.pushed_request = url.searchParams.get('request_uri')?.split(':').at(-1) ?? ''
  const page = await browser.get(url.href)
  visited.push(page.url)
  cookies(browser, 'pushed')
}

async function recover(): Promise<void> {
  const browser = target.person()
  const start = await target.open(browser, { login_hint: PLANTED.email })
  const page = await browser.submit(
    await choose(browser, start, 'recover'),
    { identifier: PLANTED.email },
    { form: '/recover' },
  )
  await target.settled()
  given.recover_code = codeFrom(await target.mailbox.to(PLANTED.email, { count: 3 }))
  const form = await browser.submit(page, { code: given.recover_code }, { form: '/recover_code' })
  await browser.submit(form, { password: PLANTED.recovered }, { form: '/new_password' })
  // One more, which nobody uses: its code lies in the stores.
  const waiting = target.person()
  const other = await target.open(waiting, { login_hint: PLANTED.email })
  await waiting.submit(await choose(waiting, other, 'recover'), { identifier: PLANTED.email }, { form: '/recover' })
  await target.settled()
  given.waiting_code = codeFrom(await target.mailbox.to(PLANTED.email, { count: 5 }))
}

/** Everything a client can send wrong, with secrets in it, also where they do not belong. */
async function clients(): Promise<void> {
  const bodies: { [name: string]: string }[] = [
    { grant_type: 'authorization_code', code: PLANTED.code, code_verifier: PLANTED.verifier, redirect_uri: CALLBACK },
    { grant_type: 'refresh_token', refresh_token: PLANTED.refresh },
    { token: PLANTED.access },
    { grant_type: 'client_credentials', client_id: 'machine', client_secret: PLANTED.clientSecret },
    {
      ...{ grant_type: 'client_credentials', client_id: 'machine', client_assertion: PLANTED.assertion },
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    },
    { password: PLANTED.password, grant_type: 'password', username: PLANTED.email },
  ]
  const basic = `Basic ${Buffer.from(`own:${PLANTED.clientSecret}`).toString('base64')}`
  for (const body of bodies) {
    for (const path of ['/token', '/token/introspection', '/token/revocation', '/auth', '/me', '/session/end']) {
      const values = new URLSearchParams(body).toString()
      for (const authorization of [undefined, basic, `Bearer ${PLANTED.access}`, `DPoP ${PLANTED.access}`]) {
        const headers = {
          ...FORM,
          origin: '',
          cookie: `genkan_session=${PLANTED.cookie}; other=${PLANTED.cookie}`,
          ...(authorization && { authorization }),
        }
        await target.person().send(`${target.issuer}${path}`, { method: 'POST', headers, body: values })
        await target.person().send(`${target.issuer}${path}?${values}&id_token_hint=${PLANTED.hint}`, { headers })
      }
    }
  }
  const machine = await target.person().send(`${target.issuer}/token`, {
    method: 'POST',
    headers: { ...FORM, origin: '', authorization: `Basic ${Buffer.from(`machine:${SECRET}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'orders:read', resource: API }).toString(),
  })
  given.machine_access_token = (JSON.parse(machine.body) as { access_token: string }).access_token
}

/** Failures of the stores: drivers like to tell the statement and its values. */
async function stir(): Promise<void> {
  const broken: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['passwords', () => enter(PLANTED.email, PLANTED.recovered)],
    ['outbox', () => enter(PLANTED.email, PLANTED.wrong)],
    ['accounts', () => registers(PLANTED.email, PLANTED.password)],
    ['sessions', () => enter(PLANTED.email, PLANTED.recovered)],
  ]
  for (const [table, act] of broken) {
    await target.sql(`alter table ${table} rename to ${table}_away`)
    try {
      await act()
    } finally {
      await target.sql(`alter table ${table}_away rename to ${table}`)
    }
  }
}

async function enter(email: string, password: string): Promise<Page | undefined> {
  const browser = target.person()
  return signIn(browser, await target.open(browser), email, password).catch(() => undefined)
}

async function registers(email: string, password: string): Promise<void> {
  const browser = target.person()
  const start = await target.open(browser, { prompt: 'create' })
  await browser.submit(start, { email, password }, { form: '/register' }).catch(() => undefined)
}

const log = () => target.server.logs().filter((line) => !line.startsWith(MARK))

/** A secret and the forms in which it might be written: as it is, in a URL, in base64. */
function forms(secret: string): string[] {
  const encoded = [encodeURIComponent(secret), new URLSearchParams({ x: secret }).toString().slice(2)]
  return [
    ...new Set([
      secret,
      ...encoded,
      Buffer.from(secret).toString('base64').replace(/=+$/, ''),
      Buffer.from(secret).toString('hex'),
    ]),
  ]
}

describe('A106: the log', () => {
  it('holds no secret that was planted or given out, not even at its most talkative or when the stores fail', () => {
    const text = log().join('\n')
    // It did say something about these failures.
    expect(log().filter((line) => line.includes('"level":"error"')).length).toBeGreaterThanOrEqual(3)
    const found = Object.entries({ ...PLANTED, ...given, SECRET, PASSWORD })
      .filter(([, secret]) => secret.length >= 6)
      .filter(([, secret]) =>
        /^\d{6}$/.test(secret)
          ? new RegExp(`(?<!\\d)${secret}(?!\\d)`).test(text)
          : forms(secret).some((form) => text.includes(form)),
      )
      .map(([what]) => what)
    expect(found).toEqual([])
    expect(text).not.toMatch(/\$argon2id\$|-----BEGIN|insert into|select \*/i)
  })

  it('one event is one line, whatever is sent', async () => {
    const breakers = [
      '\r\n{"level":"fatal","msg":"forged"}',
      '%0d%0a{"level":"fatal","msg":"forged"}',
      '\u001b[31mred\u001b[0m',
      '\u2028{"forged":1}',
      '"}\n{"msg":"forged"}',
      '\u0085forged',
      '\u202eforged',
    ]
    const before = log().length
    for (const breaker of breakers) {
      const browser = target.person({ userAgent: breaker.replace(/[^\x20-\x7e]/g, '') })
      const typed = new URLSearchParams({
        client_id: breaker,
        state: breaker,
        login_hint: breaker,
        id_token_hint: breaker,
        claims: breaker,
      })
      await browser.send(`${target.issuer}/auth?${typed}`)
      await browser.send(`${target.issuer}/${encodeURIComponent(breaker)}`)
      const page = await target.open(browser)
      const csrf = page.forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value ?? ''
      await browser.post(`${page.url}/identifier`, { csrf, identifier: `${breaker}@shop.example` })
      await browser.post(`${page.url}/switch`, { csrf, to: breaker })
      const body = new URLSearchParams({ grant_type: breaker, client_id: breaker, client_secret: breaker }).toString()
      await browser.send(`${target.issuer}/token`, { method: 'POST', headers: { ...FORM, origin: '' }, body })
    }
    // A failure of the product while such text is about, so that there is an event to break.
    await target.sql('alter table passwords rename to passwords_away')
    try {
      const { port } = target.server
      const browser = target.person({ userAgent: 'x\u001b[31m"}{'.replace('\u001b', '') })
      const page = await browser.submit(
        await target.open(browser),
        { identifier: 'forged@shop.example' },
        { form: '/identifier' },
      )
      await browser.submit(page, { password: 'x\r\n{"forged":1}' }, { form: '/password' }).catch(() => undefined)
      await sendRaw(
        port,
        Buffer.from(
          rawRequest('GET /forged%0d%0a%1b[31m', ['Host: localhost', 'User-Agent: \x1b[31mforged\x85']),
          'latin1',
        ),
      )
    } finally {
      await target.sql('alter table passwords_away rename to passwords')
    }
    // What a process writes is read a moment later.
    for (let tries = 0; tries < 100 && log().length <= before; tries++) await sleep(50)
    const lines = log()
    expect(lines.length).toBeGreaterThan(before)
    for (const line of lines) {
      const event = JSON.parse(line) as { level?: string; msg?: string }
      expect([line, event.level === 'fatal' || event.msg === 'forged']).toEqual([line, false])
      // Nothing that a terminal obeys or that a viewer takes for the end of a line.
      expect([line, /[\p{Cc}\u2028\u2029\u202a-\u202e]/u.test(line)]).toEqual([line, false])
    }
  })

  it('neither do metrics, mails to others, and error pages', async () => {
    const metrics = await (await fetch(`${target.server.managementOrigin}/metrics`)).text()
    for (const secret of [...Object.values(PLANTED), ...Object.values(given)].filter(({ length }) => length > 6))
      expect(metrics).not.toContain(secret)
    expect(metrics).not.toContain('shop.example')
    const mails = JSON.stringify(await target.mailbox.all())
    for (const secret of [PLANTED.password, PLANTED.newPassword, PLANTED.recovered, PLANTED.wrong])
      expect(mails).not.toContain(secret)
  })
})

describe('A110: a copy of the stores', () => {
  async function dump(): Promise<{ sql: string; redis: string }> {
    const tables = await target.sql<{ name: string }>(
      `select table_name as name from information_schema.tables where table_schema = 'public'`,
    )
    const rows: string[] = []
    for (const { name } of tables) {
      const all = await target.sql<{ row: object }>(`select to_jsonb(t) as row from "${name}" t`)
      rows.push(...all.map(({ row }) => JSON.stringify(row)))
    }
    const redis = new Redis(target.stores.redisUrl)
    try {
      const keys = await redis.keys('*')
      const values = await Promise.all(
        keys.map(async (key) => `${key} ${(await redis.get(key).catch(() => '')) ?? ''}`),
      )
      return { sql: rows.join('\n'), redis: values.join('\n') }
    } finally {
      redis.disconnect()
    }
  }

  it('holds no password, token, code, cookie, ticket or secret, no plain hash of a code, and nothing of who people are', async () => {
    const { sql, redis } = await dump()
    expect(sql).toContain('argon2id')
    expect(redis).toContain('oidc:')
    const text = `${sql}\n${redis}`
    const all = Object.entries({ ...PLANTED, ...given, SECRET })
    expect(all.map(([what]) => what)).toEqual(expect.arrayContaining(['pushed_genkan_interaction', 'pushed_request']))
    const found = all.filter(([what, secret]) => {
      if (!/^\d{6}$/.test(secret)) return forms(secret).some((form) => form.length >= 8 && text.includes(form))
      const plain = new RegExp(`(?<!\\d)${secret}(?!\\d)`).test(text)
      const hashes = ['hex', 'base64', 'base64url'].map((as) =>
        createHash('sha256')
          .update(secret)
          .digest(as as 'hex'),
      )
      return (plain || hashes.some((hash) => text.includes(hash))) && what !== ''
    })
    expect(found.map(([what]) => what)).toEqual([])
    expect(text).not.toMatch(/"d":"[\w-]{40,}"|-----BEGIN/)
  })

  it('facts say of people only what nobody can read back', async () => {
    const rows = await target.sql<{ type: string; data: { changes?: { [field: string]: object } }; row: string }>(
      'select type, data, to_jsonb(o)::text as row from outbox o order by occurred_at, id',
    )
    const text = rows.map(({ row }) => row.toLowerCase()).join('\n')
    for (const what of PERSONAL) {
      const value = PLANTED[what as keyof typeof PLANTED]
      const hashes = (['hex', 'base64', 'base64url'] as const).map((as) =>
        createHash('sha256').update(value).digest(as),
      )
      for (const form of [...forms(value), ...value.split(/[@ ]/), ...hashes]) {
        // The domain that all of them share is in no row either.
        if (form.length > 5) expect([what, text.includes(form.toLowerCase())]).toEqual([what, false])
      }
    }
    const changes = (type: string) => rows.filter((row) => row.type === type).map(({ data }) => data.changes)
    const hash = expect.stringMatching(/^[\w-]{43}$/)
    expect(changes('account.updated')).toEqual([
      { given_name: { newHash: hash }, phone_number: { newHash: hash } },
      { locale: { old: 'en', new: 'fi' } },
    ])
    expect(changes('account.email_changed')).toEqual([{ email: { oldHash: hash, newHash: hash } }])
    // Equal values are recognised: the address that was left is the one that was registered.
    const [change] = changes('account.email_changed') as { email: { oldHash: string } }[]
    expect(changes('account.registered')).toContainEqual(
      expect.objectContaining({ email: { newHash: change?.email.oldHash } }),
    )
  })

  it('the id of a conversation leads nobody but its own browser into it', async () => {
    const owner = target.person()
    const page = await owner.submit(
      await target.open(owner),
      { identifier: 'twin-zero@shop.example' },
      { form: '/identifier' },
    )
    const { pathname } = new URL(page.url)
    const uid = pathname.split('/')[2] ?? ''
    const cookie = `genkan_interaction=${uid}; genkan_resume=${uid}`
    const thief = await target.person().send(page.url, { headers: { cookie } })
    expect([thief.status, thief.body.includes('twin-zero')]).toEqual([400, false])
    expect((await owner.get(page.url)).text).toContain('twin-zero')
    const resumed = await target.person().send(`${target.issuer}/auth/${uid}`, { headers: { cookie } })
    expect(resumed.headers.location ?? '').not.toMatch(/[?&]code=/)
  })

  it('equal secrets look different', async () => {
    await target.signUp('twin-one@shop.example', PASSWORD)
    await target.signUp('twin-two@shop.example', PASSWORD)
    const rows = await target.sql<{ hash: string }>('select hash from passwords')
    expect(new Set(rows.map(({ hash }) => hash)).size).toBe(rows.length)
    const sealed = await target.sql<{ sealed: string }>('select sealed from outbox where sealed is not null')
    expect(new Set(sealed.map((row) => row.sealed)).size).toBe(sealed.length)
    const mails = () => target.sql<{ sealed: string | null }>(`select sealed from outbox where type = 'mail.requested'`)
    expect((await mails()).length).toBeGreaterThan(3)
    // A mail arrives a moment before it is written down that it did.
    await until(async () => (await mails()).every(({ sealed: left }) => left === null), 20_000)
  })

  it('redeems nothing: no string of it is taken as a token, code, cookie or ticket', async () => {
    const { sql, redis } = await dump()
    const words = new Set(`${sql}\n${redis}`.match(/[\w-]{20,}(?:\.[\w-]+)*/g) ?? [])
    expect(words.size).toBeGreaterThan(50)
    const headers = { ...FORM, origin: '', authorization: `Basic ${Buffer.from(`own:${SECRET}`).toString('base64')}` }
    const taken: string[] = []
    for (const word of words) {
      const answers = await Promise.all([
        target
          .person()
          .send(`${target.issuer}/token/introspection`, { method: 'POST', headers, body: `token=${word}` }),
        target.person().send(`${target.issuer}/token`, {
          method: 'POST',
          headers,
          body: `grant_type=refresh_token&refresh_token=${word}`,
        }),
        target.person().send(`${target.issuer}/me`, { headers: { authorization: `Bearer ${word}` } }),
        target
          .person()
          .send(`${target.issuer}/account`, { headers: { cookie: `genkan_account=${word}; genkan_session=${word}` } }),
      ])
      const [introspected, refreshed, info, account] = answers
      if (
        introspected?.body.includes('"active":true') ||
        refreshed?.status === 200 ||
        info?.status === 200 ||
        account?.status === 200
      )
        taken.push(word)
    }
    expect(taken).toEqual([])
    // The twin: the real ones are alive all the while.
    const live = await target.person().send(`${target.issuer}/token/introspection`, {
      method: 'POST',
      headers,
      body: `token=${(await target.signUp('alive@shop.example')).tokens.access_token}`,
    })
    expect(live.body).toContain('"active":true')
  }, 120_000)
})
