/** Acts in somebody else's name from another site (A55): refused, and nothing has changed. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Answer, Browser, Page } from '../support/browser.ts'
import { formsOf } from '../support/html.ts'
import { PASSWORD } from '../support/journeys.ts'
import { type Member, startTarget, type Target } from '../support/target.ts'

const EVIL = 'https://evil.example'

let target: Target
let victim: Member
/** What the victim's browser sends with every request of an attacker, were cookies not SameSite. */
let cookies: string
/** A token that is good in the attacker's own browser. */
let attackersToken: string

beforeAll(async () => {
  target = await startTarget()
  victim = await target.signUp('victim@shop.example')
  await victim.browser.get(`${target.issuer}/account`)
  attackersToken = tokenOf(await target.open(target.person()))
})
afterAll(() => target?.close())

function tokenOf({ forms }: { readonly forms: Page['forms'] }): string {
  return forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value ?? ''
}

interface Act {
  readonly path: string
  readonly values: { readonly [field: string]: string }
  /** The victim's own token, to show that the act is legal otherwise. */
  readonly token: string
  /** The field that carries it. */
  readonly field?: string
}

/** Every act a person may do, as it stands in this moment. Derived from the pages' own forms. */
async function acts(): Promise<Act[]> {
  const { browser } = victim
  const found: Act[] = []
  for (const path of [
    '',
    '/profile',
    '/password',
    '/email',
    '/sessions',
    '/sessions/others',
    '/clients',
    '/language',
    '/delete',
  ]) {
    const page = await browser.get(`${target.issuer}/account${path}`)
    for (const { action, method, fields } of page.forms) {
      if (method !== 'post') continue
      const values = Object.fromEntries(
        fields.filter(({ name }) => name !== '' && name !== 'csrf').map(({ name, value }) => [name, value]),
      )
      found.push({
        path: action || new URL(page.url).pathname,
        values: { ...values, ...FILLED[action || path] },
        token: tokenOf(page),
      })
    }
  }
  // Routes whose forms are there only in some states.
  const token = found[0]?.token ?? ''
  const more = [
    '/account/email/code',
    '/account/sessions/some-session/end',
    '/account/clients/web/revoke',
    '/account/sign-out',
  ]
  found.push(...more.map((path) => ({ path, values: { code: '000000', action: 'confirm' }, token })))
  return found
}

const FILLED: { readonly [path: string]: { readonly [field: string]: string } } = {
  '/account/profile': { name: 'Mallory' },
  '/account/password': { current: PASSWORD, password: 'nine quiet geese 33' },
  '/account/email': { email: 'mallory@evil.example' },
  '/account/language': { locale: 'fi' },
  '/account/delete': { confirmation: 'victim@shop.example' },
}

/** All that an act could have changed. */
async function state(): Promise<string> {
  const rows = await Promise.all([
    target.sql('select * from accounts order by id'),
    target.sql('select * from passwords order by account_id'),
    target.sql('select uid, account_id, ended_at from sessions order by uid'),
    target.sql('select * from consents order by id'),
    target.sql('select count(*) from outbox'),
  ])
  return createHash('sha256').update(JSON.stringify(rows)).digest('hex')
}

type Forged = {
  readonly headers: { readonly [name: string]: string }
  readonly body?: string
  readonly method?: string
}

/** The same act as another site can send it. */
function forgeries({ values, token, field = 'csrf' }: Act): { readonly [how: string]: Forged } {
  const form = (token?: string) =>
    new URLSearchParams({ ...(token === undefined ? {} : { [field]: token }), ...values }).toString()
  const boundary = '----x'
  const multipart = Object.entries({ ...values, [field]: token })
    .map(([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
    .join('')
  const type = { 'content-type': 'application/x-www-form-urlencoded' }
  const cross = { origin: EVIL, referer: `${EVIL}/`, 'sec-fetch-site': 'cross-site' }
  const json = JSON.stringify({ ...values, [field]: token })
  return {
    'form of another site': { headers: { ...type, ...cross }, body: form() },
    'form of another site with a stolen token': { headers: { ...type, ...cross }, body: form(token) },
    'form of a sibling host': {
      headers: { ...type, origin: 'https://sibling.example', 'sec-fetch-site': 'same-site' },
      body: form(token),
    },
    'form of a sandbox': { headers: { ...type, origin: 'null', 'sec-fetch-site': 'cross-site' }, body: form(token) },
    'old browser, no token': { headers: type, body: form() },
    'old browser, empty token': { headers: type, body: form('') },
    "old browser, the attacker's token": { headers: type, body: form(attackersToken) },
    'text/plain': { headers: { ...cross, 'content-type': 'text/plain' }, body: form(token) },
    'text/plain without Origin': { headers: { 'content-type': 'text/plain' }, body: form(token) },
    multipart: {
      headers: { ...cross, 'content-type': `multipart/form-data; boundary=${boundary}` },
      body: `${multipart}--${boundary}--`,
    },
    'multipart without Origin': {
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
      body: `${multipart}--${boundary}--`,
    },
    'JSON without Origin': { headers: { 'content-type': 'application/json' }, body: json },
    'no content type': { headers: {}, body: form(token) },
    PUT: { headers: { ...type, ...cross }, body: form(token), method: 'PUT' },
    DELETE: { headers: { ...cross }, body: '', method: 'DELETE' },
    'X-HTTP-Method-Override': { headers: { 'x-http-method-override': 'POST' }, method: 'GET' },
  }
}

function sendForged(browser: Browser, url: string, { headers, body, method = 'POST' }: Forged): Promise<Answer> {
  // The browser of the test would leave cookies out, as real ones do; here they are sent all the same. What a forgery does
  // not say is sent empty, as good as absent: only the anti-forgery token may stand in its way then.
  const none = {
    origin: '',
    referer: '',
    'sec-fetch-site': '',
    'sec-fetch-mode': '',
    'sec-fetch-dest': '',
    'sec-fetch-user': '',
  }
  return browser.send(url, {
    method,
    headers: { ...none, cookie: cookies, ...headers },
    ...(body === undefined ? {} : { body }),
  })
}

/** A browser without cookies of its own, which sends the victim's, and none of the headers that this test does not set. */
function carrier(): Browser {
  return target.person()
}

function cookiesFor(path: string): string {
  return victim.browser.jar.header(new URL(path, target.issuer), { crossSite: false, topLevelGet: true }) ?? ''
}

const REFUSED = [400, 403, 404, 405, 415, 501]

describe('A55: account pages', () => {
  it('every act of every page is refused from elsewhere, and nothing has changed', async () => {
    const all = await acts()
    expect(new Set(all.map(({ path }) => path)).size).toBeGreaterThanOrEqual(10)
    cookies = cookiesFor('/account')
    expect(cookies).toContain('genkan_account')
    const before = await state()
    for (const act of all) {
      for (const [how, forged] of Object.entries(forgeries(act))) {
        const { status } = await sendForged(carrier(), new URL(act.path, target.issuer).href, forged)
        const shown = forged.method === 'GET' ? [...REFUSED, 200, 302, 303] : REFUSED
        expect([act.path, how, status, shown.includes(status)]).toEqual([act.path, how, status, true])
      }
    }
    expect(await state()).toBe(before)
  })

  it('GET and HEAD change nothing, with every field in the query', async () => {
    const all = await acts()
    const before = await state()
    for (const { path, values, token } of all) {
      for (const method of ['GET', 'HEAD']) {
        const url = `${new URL(path, target.issuer).href}?${new URLSearchParams({ csrf: token, ...values })}`
        expect((await victim.browser.send(url, { method })).status).toBeLessThan(500)
      }
    }
    expect(await state()).toBe(before)
  })

  it('twin: the same form from our own page acts', async () => {
    const page = await victim.browser.get(`${target.issuer}/account/profile`)
    const done = await victim.browser.submit(page, { name: 'Vic Tim' }, { form: '/account/profile' })
    expect(done.status).toBe(200)
    expect((await target.personal(victim.sub))?.profile.name).toBe('Vic Tim')
  })
})

describe('A55: an old browser', () => {
  it('twin: the victim without Origin and Sec-Fetch-Site is served, token and cookie suffice', async () => {
    const page = await victim.browser.get(`${target.issuer}/account/profile`)
    cookies = cookiesFor('/account')
    const { status } = await sendForged(carrier(), `${target.issuer}/account/profile`, {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ csrf: tokenOf(page), ...profileOf(page), name: 'Old Browser' }).toString(),
    })
    expect(status).toBe(303)
  })

  function profileOf(page: Page): { [field: string]: string } {
    const form = page.forms.find(({ action }) => action.endsWith('/account/profile'))
    return Object.fromEntries(
      (form?.fields ?? []).filter(({ name }) => name !== '' && name !== 'csrf').map(({ name, value }) => [name, value]),
    )
  }
})

describe('A55: the conversation and the logout', () => {
  it('no step, switch or abort is taken from elsewhere', async () => {
    const browser = target.person()
    const page = await browser.submit(
      await target.open(browser),
      { identifier: 'victim@shop.example' },
      { form: '/identifier' },
    )
    const { pathname } = new URL(page.url)
    const token = tokenOf(page)
    const steps: readonly (readonly [string, { [field: string]: string }])[] = [
      ['password', { password: PASSWORD }],
      ['switch', { to: 'recover' }],
      ['switch', { to: 'create' }],
      ['abort', {}],
      ['identifier', { identifier: 'mallory@evil.example' }],
    ]
    cookies = browser.jar.header(new URL(page.url), { crossSite: false, topLevelGet: true }) ?? ''
    const before = await state()
    for (const [step, values] of steps) {
      for (const [how, forged] of Object.entries(forgeries({ path: step, values, token }))) {
        if (forged.method === 'GET') continue
        const { status, headers } = await sendForged(carrier(), `${target.issuer}${pathname}/${step}`, forged)
        expect([step, how, REFUSED.includes(status), headers.location]).toEqual([step, how, true, undefined])
      }
    }
    expect(await state()).toBe(before)
    // The conversation stands where it stood, and goes on for its owner.
    const still = await browser.get(page.url)
    expect(still.forms.some(({ action }) => action.endsWith('/password'))).toBe(true)
    const end = await browser.submit(still, { password: PASSWORD }, { form: '/password' })
    expect(end.params.has('code')).toBe(true)
  })

  it('a consent is given by its own page only', async () => {
    const { browser } = await target.signUp('consents@shop.example')
    const url = new URL(`${target.issuer}/auth`)
    url.search = new URLSearchParams({
      ...{
        client_id: 'other',
        response_type: 'code',
        redirect_uri: 'https://other.test.example/callback',
        scope: 'openid email',
      },
      ...{ code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256' },
    }).toString()
    const page = await browser.get(url.href)
    const action = page.forms.find((form) => form.action.endsWith('/consent'))?.action ?? ''
    expect(action).not.toBe('')
    cookies = browser.jar.header(new URL(page.url), { crossSite: false, topLevelGet: true }) ?? ''
    const before = await state()
    for (const [how, forged] of Object.entries(
      forgeries({ path: action, values: { action: 'allow' }, token: tokenOf(page) }),
    )) {
      if (forged.method === 'GET') continue
      const { status } = await sendForged(carrier(), new URL(action, target.issuer).href, forged)
      expect([how, REFUSED.includes(status)]).toEqual([how, true])
    }
    expect(await state()).toBe(before)
    expect(await target.sql('select 1 from consents where client_id = $1', ['other'])).toEqual([])
  })

  it('a sign-out needs the button of our page', async () => {
    const { browser, sub } = await target.signUp('stays@shop.example')
    const page = await browser.get(`${target.issuer}/session/end`)
    const form = page.forms.find(({ action }) => action.endsWith('/session/end/confirm'))
    expect(form).toBeDefined()
    const secret = form?.fields.find(({ name }) => name === 'xsrf')?.value ?? ''
    cookies = browser.jar.header(new URL(page.url), { crossSite: false, topLevelGet: true }) ?? ''
    const other = await target.signUp('signs-out@shop.example')
    const foreign = await other.browser.get(`${target.issuer}/session/end`)
    const foreignSecret =
      formsOf(foreign.html)
        .flatMap(({ fields }) => fields)
        .find(({ name }) => name === 'xsrf')?.value ?? ''
    const attempts: { [field: string]: string }[] = [
      { logout: 'yes' },
      { logout: 'yes', xsrf: '' },
      { logout: 'yes', xsrf: foreignSecret },
    ]
    for (const values of attempts) {
      const { status } = await sendForged(carrier(), `${target.issuer}/session/end/confirm`, {
        headers: { 'content-type': 'application/x-www-form-urlencoded', origin: EVIL, 'sec-fetch-site': 'cross-site' },
        body: new URLSearchParams(values).toString(),
      })
      expect([400, 403]).toContain(status)
    }
    for (const method of ['GET', 'HEAD']) {
      await browser.send(`${target.issuer}/session/end/confirm?logout=yes&xsrf=${secret}`, { method })
      await browser.send(`${target.issuer}/session/end?logout=yes&xsrf=${secret}`, { method })
    }
    expect(await target.sql('select 1 from sessions where account_id = $1 and ended_at is null', [sub])).toHaveLength(1)
    const again = await browser.get(`${target.issuer}/session/end`)
    await browser.submit(again, {}, { form: '/session/end/confirm', button: 'logout=yes' })
    expect(await target.sql('select 1 from sessions where account_id = $1 and ended_at is null', [sub])).toHaveLength(0)
  })
})
