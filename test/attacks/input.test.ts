/** Odd, huge, broken and disguised input (A46, A87, A102-A105): a 4xx, and the process lives on unharmed. */
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Answer, Browser, Page } from '../support/browser.ts'
import { authorization, choose, OTHER, PASSWORD, SECRET, signIn } from '../support/journeys.ts'
import { codeFrom } from '../support/mailbox.ts'
import { dribble, rawRequest, sendRaw } from '../support/raw_http.ts'
import { generator, SEED } from '../support/sample.ts'
import { CALLBACK, type Member, OWN, startTarget, type Target } from '../support/target.ts'

const DEEP = process.env.GENKAN_TEST_DEEP === '1'
const FRESH = 'seven paper lanterns 19'

let target: Target
beforeAll(async () => {
  target = await startTarget({ process: 'own' })
})
afterAll(() => target?.close())

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

function csrfOf({ forms }: Page): string {
  return forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value ?? ''
}

const has = (page: Page, form: string) => page.forms.some(({ action }) => action.endsWith(form))

function post(
  browser: Browser,
  page: Page,
  path: string,
  body: string,
  headers: { [name: string]: string } = FORM,
): Promise<Answer> {
  return browser.send(new URL(path, page.url).href, { method: 'POST', from: page.url, body, headers })
}

async function beginRecovery(browser: Browser, email: string): Promise<Page> {
  const start = await target.open(browser, { login_hint: email, prompt: 'login' })
  return browser.submit(await choose(browser, start, 'recover'), { identifier: email }, { form: '/recover' })
}

describe('A46: a step is not passed by sending nothing', () => {
  let member: Member
  let other: Member
  beforeAll(async () => {
    member = await target.signUp('a46@shop.example')
    other = await target.signUp('a46-other@shop.example')
  })

  /** How a person comes to each step. */
  const STEPS: { readonly [step: string]: (browser: Browser) => Promise<Page> } = {
    identifier: (browser) => target.open(browser),
    password: (browser) => target.open(browser, { login_hint: 'nobody@shop.example' }),
    register: (browser) => target.open(browser, { prompt: 'create' }),
    verify_email: async (browser) => {
      const page = await target.open(browser, { prompt: 'create' })
      return browser.submit(page, { email: 'a46-new@shop.example', password: PASSWORD }, { form: '/register' })
    },
    recover: async (browser) =>
      choose(browser, await target.open(browser, { login_hint: 'nobody@shop.example' }), 'recover'),
    recover_code: (browser) => beginRecovery(browser, member.email),
    new_password: async (browser) => {
      await target.settled()
      const mails = (await target.mailbox.all()).filter(({ to }) => to.includes(member.email)).length
      const page = await beginRecovery(browser, member.email)
      const code = codeFrom(await target.mailbox.to(member.email, { count: mails + 1 }))
      return browser.submit(page, { code }, { form: '/recover_code' })
    },
    choose_account: async (browser) => {
      await signIn(browser, await target.open(browser), member.email)
      return target.open(browser, { prompt: 'select_account' })
    },
    switch_account: async (browser) => {
      await signIn(browser, await target.open(browser), member.email)
      return signIn(browser, await target.open(browser, { prompt: 'login', login_hint: other.email }), other.email)
    },
    consent: async (browser) => {
      await signIn(browser, await target.open(browser), member.email)
      const request = await authorization(target.client, `${OTHER}/callback`, {
        client_id: 'other',
        scope: 'openid email',
      })
      return browser.get(request.url)
    },
  }
  const FIELDS = ['identifier', 'email', 'password', 'code', 'action', 'to', 'shared']

  it.each(Object.keys(STEPS))('%s', async (step) => {
    const browser = target.person({ stopAt: [OWN, OTHER] })
    const page = (await STEPS[step]?.(browser)) as Page
    expect([page.url, has(page, `/${step}`)]).toEqual([page.url, true])
    const csrf = `csrf=${encodeURIComponent(csrfOf(page))}`
    const path = `${new URL(page.url).pathname}/${step}`
    const odd = FIELDS.flatMap((field) => [
      `${field}[]=x`,
      `${field}[a]=x`,
      `${field}=`,
      field,
      `${field}=null&x[${field}]=1`,
    ])
    for (const body of [
      csrf,
      `${csrf}&`,
      ...odd.map((fields) => `${csrf}&${fields}`),
      `${csrf}&__proto__[action]=allow`,
    ]) {
      const { status, headers } = await post(browser, page, path, body)
      const moved = status === 303 && headers.location !== new URL(page.url).pathname
      expect([body.slice(csrf.length), status < 500, moved]).toEqual([body.slice(csrf.length), true, false])
    }
    for (const [type, body] of [
      ['application/json', JSON.stringify({ csrf: csrfOf(page), action: 'allow', password: PASSWORD })],
      ['text/plain', `${csrf}&action=allow`],
      [
        'application/x-www-form-urlencoded',
        `${csrf}&action=allow&action=allow&code=1&code=2&password=a&password=b&identifier=a&identifier=b&email=a&email=b`,
      ],
    ] as const) {
      const { status } = await post(browser, page, path, body, { 'content-type': type })
      expect([type, [400, 415].includes(status)]).toEqual([type, true])
    }
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
      const { status, headers } = await browser.send(`${target.issuer}${path}?action=allow&code=123456&password=x`, {
        method,
        from: page.url,
      })
      expect([method, status < 500, headers.location?.startsWith('http') ?? false]).toEqual([method, true, false])
    }
    const after = await browser.get(page.url)
    expect([after.url, has(after, `/${step}`)]).toEqual([page.url, true])
  })

  it('an empty password counts as a wrong one', async () => {
    const browser = target.person()
    const page = await target.open(browser, { login_hint: other.email })
    const csrf = `csrf=${encodeURIComponent(csrfOf(page))}`
    const path = `${new URL(page.url).pathname}/password`
    const statuses: number[] = []
    for (let tries = 0; tries < 10; tries++) statuses.push((await post(browser, page, path, csrf)).status)
    // Half of the ten are looked at; then a proof of work is asked for, which none of these brings.
    expect(statuses).toEqual([...Array(5).fill(400), ...Array(5).fill(429)])
    const right = await post(browser, page, path, `${csrf}&password=${encodeURIComponent(PASSWORD)}`)
    expect(right.status).toBe(429)
  })
})

describe('A87: fields that are nobody’s to set', () => {
  const MORE = {
    ...{
      role: 'admin',
      roles: 'admin',
      is_admin: 'true',
      orgId: '1',
      sub: 'boss',
      id: 'boss',
      accountId: 'boss',
      mfa: 'false',
    },
    ...{
      email_verified: 'true',
      emailVerified: 'true',
      state: 'active',
      epoch: '0',
      created_at: '2000-01-01',
      createdAt: '0',
    },
    ...{
      updated_at: '0',
      preferred_username: 'root',
      groups: 'admin',
      amr: 'mfa',
      acr: 'high',
      profile: '{"role":"admin"}',
    },
  }

  it('are dropped by registration and by the profile', async () => {
    const email = 'a87@shop.example'
    const browser = target.person()
    const start = await target.open(browser, { prompt: 'create' })
    const values = new URLSearchParams({ csrf: csrfOf(start), email, password: PASSWORD, ...MORE })
    const sent = await post(browser, start, `${new URL(start.url).pathname}/register`, values.toString())
    expect(sent.status).toBe(303)
    const page = await browser.get(start.url)
    const end = await browser.submit(
      page,
      { code: codeFrom(await target.mailbox.to(email)) },
      { form: '/verify_email' },
    )
    expect(end.params.has('code')).toBe(true)
    const profile = await browser.get(`${target.issuer}/account/profile`)
    const form = new URLSearchParams({
      ...{
        csrf: csrfOf(profile),
        name: 'Ada',
        given_name: '',
        family_name: '',
        nickname: '',
        birthdate: '',
        zoneinfo: '',
      },
      ...{ phone_number: '', website: '', ...MORE },
    })
    expect((await post(browser, profile, '/account/profile', form.toString())).status).toBe(303)
    const [row] = await target.sql<{ id: string; state: string; epoch: number; created_at: Date }>(
      'select id, state, epoch, created_at from accounts where email_hash = $1',
      [await target.emailHash(email)],
    )
    expect(row).toMatchObject({ state: 'active', epoch: 0 })
    expect(row?.id).not.toBe('boss')
    expect(row?.created_at.getFullYear()).toBeGreaterThan(2020)
    expect(await target.personal(row?.id ?? '')).toEqual({ email, profile: { name: 'Ada' } })
  })

  it('are ignored in an authorization request and cannot be registered with a client', async () => {
    const page = await target.open(target.person(), { ...MORE, amr: 'mfa' })
    expect(has(page, '/identifier')).toBe(true)
    const { status } = await target.person().send(`${target.issuer}/reg`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ redirect_uris: ['https://evil.example/'], first_party: true }),
    })
    expect(status).toBe(404)
  })
})

describe('A102: too much of everything', () => {
  const huge = (size: number) => 'a'.repeat(size)
  const awkward = [
    huge(30_000),
    `${'a'.repeat(15_000)}!`,
    ' '.repeat(30_000),
    '\t'.repeat(20_000),
    `${'.'.repeat(15_000)}@`,
    '@'.repeat(30_000),
  ]
  const more = [
    `${'a.'.repeat(12_000)}@b`,
    `a@${'b.'.repeat(12_000)}`,
    'é'.repeat(5000),
    'e\u0301'.repeat(3000),
    '𝕬'.repeat(2500),
    '<'.repeat(10_000),
  ]

  it('64 KB in any field and 1 MB of password are refused without a hash', async () => {
    const browser = target.person()
    const page = await target.open(browser, { login_hint: 'a102@shop.example' })
    const path = new URL(page.url).pathname
    const csrf = encodeURIComponent(csrfOf(page))
    const before = await target.observe()
    for (const field of [
      'csrf',
      'identifier',
      'email',
      'password',
      'code',
      'to',
      'shared',
      'action',
      'x'.repeat(1000),
    ]) {
      for (const step of ['password', 'identifier', 'switch']) {
        const { status } = await post(browser, page, `${path}/${step}`, `csrf=${csrf}&${field}=${huge(65_536)}`)
        expect([field.slice(0, 9), step, status]).toEqual([field.slice(0, 9), step, 413])
      }
    }
    const { status } = await post(browser, page, `${path}/password`, `csrf=${csrf}&password=${huge(1_048_576)}`)
    expect(status).toBe(413)
    for (const [key, value] of Object.entries({
      grant_type: 'authorization_code',
      code: '',
      client_id: '',
      token: '',
      refresh_token: '',
    })) {
      const body = `${key}=${value}${huge(65_536)}`
      for (const url of ['/token', '/token/introspection', '/token/revocation', '/auth', '/session/end']) {
        const answer = await browser.send(`${target.issuer}${url}`, { method: 'POST', headers: FORM, body })
        expect([url, key, answer.status >= 400 && answer.status < 500]).toEqual([url, key, true])
      }
    }
    expect((await target.observe()).hashes).toBe(before.hashes)
  })

  it('64 KB of any header is refused before anything reads it', async () => {
    const { port } = target.server
    for (const header of [
      'Cookie',
      'Authorization',
      'Accept',
      'Accept-Language',
      'User-Agent',
      'Referer',
      'Origin',
      'X-Forwarded-For',
      'Host',
      'X-Any',
    ]) {
      const { status } = await sendRaw(
        port,
        rawRequest('GET /account', ['Host: localhost', `${header}: ${huge(65_536)}`]),
      )
      expect([header, status]).toEqual([header, 431])
    }
    const many = Array.from({ length: 500 }, (_, i) => `X-${i}: ${i}`)
    expect((await sendRaw(port, rawRequest('GET /livez', ['Host: localhost', ...many]))).status).toBeLessThan(500)
    expect((await sendRaw(port, rawRequest(`GET /auth?client_id=${huge(65_536)}`, ['Host: localhost']))).status).toBe(
      431,
    )
  })

  it('awkward text below the limits holds up nobody, and over 1,024 bytes no password is hashed', async () => {
    const member = await target.signUp('a102-member@shop.example')
    const profile = await member.browser.get(`${target.issuer}/account/profile`)
    const browser = target.person()
    const page = await target.open(browser, { login_hint: 'a102@shop.example' })
    const path = new URL(page.url).pathname
    for (const text of [...awkward, ...more]) {
      const held: number[] = []
      const before = await target.observe()
      for (let times = 0; times < 3; times++) {
        const typed = encodeURIComponent(text)
        const csrf = encodeURIComponent(csrfOf(page))
        const own = encodeURIComponent(csrfOf(profile))
        const answers = await Promise.all([
          post(browser, page, `${path}/password`, `csrf=${csrf}&password=${typed}`),
          post(browser, page, `${path}/identifier`, `csrf=${csrf}&identifier=${typed}`),
          post(
            member.browser,
            profile,
            '/account/profile',
            `csrf=${own}&name=${typed}&website=${typed}&phone_number=${typed}&birthdate=${typed}`,
          ),
          post(member.browser, profile, '/account/email', `csrf=${own}&email=${typed}`),
          post(member.browser, profile, '/account/delete', `csrf=${own}&confirmation=${typed}`),
          browser.send(`${target.issuer}/auth?client_id=${typed.slice(0, 9000)}&scope=${typed.slice(0, 3000)}`),
          browser.send(`${target.issuer}/account`, {
            headers: { 'accept-language': text.replace(/[^\x20-\x7e]/g, ',').slice(0, 9000) },
          }),
        ])
        for (const { status } of answers) expect(status).toBeLessThan(500)
        held.push((await target.observe()).heldMs)
      }
      expect([text.slice(0, 6), Math.min(...held) < 100 || held]).toEqual([text.slice(0, 6), true])
      expect((await target.observe()).hashes).toBe(before.hashes)
    }
  }, 120_000)

  it('long passwords are verified in full, composed or decomposed', async () => {
    const long = `${'quiet harbour lantern 47 '.repeat(4)}é${'x'.repeat(60)}`
    const { email } = await target.signUp('a102-long@shop.example', long)
    const enter = async (password: string) => {
      const browser = target.person()
      return (await signIn(browser, await target.open(browser), email, password)).params.has('code')
    }
    expect(await enter(`${long.slice(0, -1)}y`)).toBe(false)
    expect(await enter(long.slice(0, 72))).toBe(false)
    expect(await enter(long.slice(0, -1))).toBe(false)
    expect(await enter(long.normalize('NFD'))).toBe(true)
    expect(await enter(long)).toBe(true)
  })
})

/** What a fuzzer puts where a word is expected. */
const VALUES = [
  ...[
    '',
    ' ',
    'null',
    'undefined',
    'true',
    '0',
    '-1',
    '1e999',
    'NaN',
    '[]',
    '{}',
    '[""]',
    '{"$ne":null}',
    '%00',
    '%ff',
    '%C0%80',
    '%ED%A0%80',
  ],
  ...[
    '%',
    '%zz',
    '%u0041',
    '%0d%0aX-Injected:%201',
    '%E2%80%AE',
    '%F0%9F%92%A9',
    "'+or+1=1--",
    '"><script>',
    '{{7*7}}',
    '#{7*7}',
    '../../etc/passwd',
  ],
  ...[
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'a'.repeat(5000),
    '%F0%9F%92%A9'.repeat(200),
    'own',
    'openid',
    'code',
    'S256',
    'none',
  ],
  ...[
    'https://own.test.example/callback',
    'urn:x',
    'javascript:alert(1)',
    '//evil.example',
    'eyJhbGciOiJub25lIn0.e30.',
    `${'['.repeat(900)}`,
  ],
  ...[
    '{"id_token":{"__proto__":{"essential":true}}}',
    '{"__proto__":{"polluted":1}}',
    '{"userinfo":null}',
    '{"id_token":[]}',
    '1.7976931348623157e309',
  ],
]
const NAMES = [
  ...[
    'client_id',
    'client_secret',
    'client_assertion',
    'client_assertion_type',
    'redirect_uri',
    'response_type',
    'response_mode',
    'scope',
  ],
  ...[
    'state',
    'nonce',
    'prompt',
    'max_age',
    'ui_locales',
    'id_token_hint',
    'login_hint',
    'acr_values',
    'claims',
    'request',
    'request_uri',
  ],
  ...[
    'code',
    'code_verifier',
    'code_challenge',
    'code_challenge_method',
    'grant_type',
    'refresh_token',
    'token',
    'token_type_hint',
    'resource',
  ],
  ...[
    'post_logout_redirect_uri',
    'logout',
    'xsrf',
    'csrf',
    'identifier',
    'email',
    'password',
    'current',
    'action',
    'to',
    'shared',
    'locale',
  ],
  ...[
    'confirmation',
    'name',
    'others',
    'dpop_jkt',
    'display',
    'registration',
    'user_code',
    'iss',
    'error',
    '__proto__',
    'constructor',
    'x',
  ],
]
const SHAPES = [
  (name: string, value: string) => `${name}=${value}`,
  (name: string, value: string) => `${name}=${value}&${name}=${value}`,
  (name: string, value: string) => `${name}[]=${value}`,
  (name: string, value: string) => `${name}[a][b]=${value}`,
  (name: string, value: string) => `${name}[__proto__][polluted]=${value}`,
  (name: string, value: string) => `__proto__[${name}]=${value}`,
  (name: string, value: string) => `constructor[prototype][${name}]=${value}`,
  (name: string) => name,
  (name: string, value: string) => `${name}.x=${value}&${name};${value}`,
]
const PATHS = [
  ...[
    '/',
    '/account',
    '/account/profile',
    '/account/password',
    '/account/email',
    '/account/email/code',
    '/account/sessions',
    '/account/clients',
  ],
  ...[
    '/account/sessions/others',
    '/account/sessions/x/end',
    '/account/clients/x/revoke',
    '/account/language',
    '/account/delete',
    '/account/sign-out',
  ],
  ...[
    '/account/callback',
    '/interaction/x',
    '/interaction/x/password',
    '/interaction/x/switch',
    '/auth',
    '/auth/x',
    '/token',
    '/token/introspection',
  ],
  ...[
    '/token/revocation',
    '/me',
    '/jwks',
    '/session/end',
    '/session/end/confirm',
    '/session/end/success',
    '/.well-known/openid-configuration',
  ],
  ...[
    '/request',
    '/assets/x',
    '/livez',
    '/readyz',
    '/nothing',
    '//',
    '/%',
    '/%ff',
    '/%00',
    '/..%2f',
    '/.well-known/webfinger',
    '/__proto__',
    '/constructor',
  ],
]
const TYPES = [
  ...[
    'application/x-www-form-urlencoded',
    'application/x-www-form-urlencoded',
    'application/json',
    'text/plain',
    'multipart/form-data; boundary=x',
  ],
  ...[
    'application/x-www-form-urlencoded; charset=utf-16',
    'application/xml',
    'application/jwt',
    '',
    'x',
    'application/x-www-form-urlencoded;;;=',
  ],
]
const HEADERS = [
  ...[
    'Authorization: Bearer',
    'Authorization: Bearer x y',
    'Authorization: Basic %%%',
    'Authorization: Basic OjpAOg==',
    'Authorization: Basic \xff\xfe',
  ],
  ...[
    'Authorization: DPoP x',
    'Authorization: Bearer eyJhbGciOiJub25lIn0.e30.',
    'DPoP: x',
    'DPoP: a.b.c',
    'Origin: null',
    'Origin: \xff',
    'Origin: https://spa.test.example',
  ],
  ...[
    'Accept: */*;q=x',
    'Accept: text/html;q=0',
    'Accept: application/json',
    'Accept-Language: \xff;q=2,,,;',
    `Accept-Language: ${'en,'.repeat(2000)}`,
  ],
  ...[
    'Accept-Encoding: br;q=x',
    'Content-Encoding: gzip',
    'Content-Encoding: br',
    'Content-Encoding: identity, gzip',
    'If-None-Match: *',
    'Range: bytes=0-999999999999',
  ],
  ...[
    'Expect: 200-ok',
    'X-Forwarded-For: \xff',
    'X-Forwarded-For: 1,2,3,::1,[',
    'Forwarded: for="',
    'Upgrade: websocket\r\nConnection: Upgrade',
    'Cookie: =; ;;; a',
  ],
  ...[
    'Cookie: genkan_session=__proto__; genkan_interaction=%; genkan_csrf=\xff; genkan_account={}',
    'X-HTTP-Method-Override: DELETE',
    'Sec-Fetch-Site: x',
  ],
]
const METHODS = ['GET', 'GET', 'POST', 'POST', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD', 'PROPFIND', 'TRACE']

describe(`A103, A104: requests made at random (GENKAN_TEST_SEED=${SEED})`, () => {
  it(`${DEEP ? '10,000' : '1,000'} of them: never a 5xx, the process lives, Object.prototype is clean`, async () => {
    const random = generator(SEED)
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
    const client = `Authorization: Basic ${Buffer.from(`own:${SECRET}`).toString('base64')}`
    const member = await target.signUp('a103@shop.example')
    const profile = await member.browser.get(`${target.issuer}/account/profile`)
    const cookie = `Cookie: ${member.browser.jar.header(new URL(profile.url), { crossSite: false, topLevelGet: true })}`
    const token = `csrf=${encodeURIComponent(csrfOf(profile))}`
    const make = (): string => {
      const method = pick(METHODS)
      const fields = Array.from({ length: 1 + Math.floor(random() * 6) }, () => pick(SHAPES)(pick(NAMES), pick(VALUES)))
      const signedIn = random() < 0.3
      const plain =
        random() < 0.5 ? 'client_id=own&redirect_uri=https%3A%2F%2Fown.test.example%2Fcallback&response_type=code' : ''
      const text = [...(signedIn && random() < 0.8 ? [token] : []), plain, ...fields].filter(Boolean).join('&')
      const inBody = method !== 'GET' && method !== 'HEAD' && random() < 0.8
      const path = pick(PATHS) + (random() < 0.1 ? pick(['/', '//', '%2f', ';x', '/..', '.json', '%00', '?']) : '')
      const query = inBody ? '' : `?${text.slice(0, 9000)}`
      const body = inBody ? (random() < 0.1 ? JSON.stringify({ [pick(NAMES)]: pick(VALUES), a: [[[]]] }) : text) : ''
      const type = pick(TYPES)
      return rawRequest(
        `${method} ${path}${query.replace(/\s/g, '+')}`,
        [
          `Host: localhost:${target.server.port}`,
          ...(signedIn ? [cookie] : random() < 0.3 ? [client] : []),
          ...(random() < 0.5 ? [pick(HEADERS)] : []),
          ...(type === '' ? [] : [`Content-Type: ${type}`]),
          ...(random() < 0.8
            ? [`X-Forwarded-For: 198.51.${Math.floor(random() * 256)}.${Math.floor(random() * 256)}`]
            : []),
          `Content-Length: ${Buffer.byteLength(body, 'latin1')}`,
        ],
        body,
      )
    }
    const pid = target.server.pid()
    const bad: string[] = []
    const total = DEEP ? 10_000 : 1_000
    const counts = new Map<number, number>()
    for (let done = 0; done < total; done += 20) {
      const requests = Array.from({ length: 20 }, make)
      const answers = await Promise.all(
        requests.map((request) => sendRaw(target.server.port, Buffer.from(request, 'latin1'))),
      )
      answers.forEach(({ status, headers }, i) => {
        counts.set(status, (counts.get(status) ?? 0) + 1)
        const location = headers.get('location')?.[0]
        const origin = location === undefined ? target.issuer : new URL(location, target.issuer).origin
        const injected = headers.has('x-injected')
        if (status === 0 || (status >= 500 && status !== 501) || ![target.issuer, OWN].includes(origin) || injected)
          bad.push(`${status} ${location ?? ''}\n${requests[i]}`)
      })
    }
    expect(bad).toEqual([])
    // They did reach the routes: pages, redirects, protocol errors and refusals are all among the answers.
    for (const status of [200, 303, 400, 404]) expect(counts.get(status) ?? 0).toBeGreaterThan(5)
    expect(target.server.pid()).toBe(pid)
    expect((await target.observe()).polluted).toEqual([])
    expect(
      target.server.logs().filter((line) => /uncaughtException|unhandledRejection|"level":"(error|fatal)"/.test(line)),
    ).toEqual([])
    const end = await target.signUp('a103-after@shop.example')
    expect(end.sub).not.toBe('')
  }, 1_800_000)

  it('JSON of depth 10,000, gzip bombs, broken gzip and 10 MB are refused', async () => {
    const { port } = target.server
    const bomb = gzipSync(Buffer.alloc(20_000_000, 'a'))
    const deep = `${'{"a":'.repeat(2500)}1${'}'.repeat(2500)}`
    const query = new URLSearchParams({
      client_id: 'own',
      response_type: 'code',
      redirect_uri: CALLBACK,
      scope: 'openid',
      claims: deep,
    })
    const auth = await sendRaw(port, rawRequest(`GET /auth?${query}`, ['Host: localhost']))
    expect(auth.status).toBeLessThan(500)
    const arrays = `${'['.repeat(10_000)}`
    expect(
      (await sendRaw(port, rawRequest(`GET /auth?client_id=own&claims=${arrays}`, ['Host: localhost']))).status,
    ).toBeLessThan(500)
    const browser = target.person()
    const page = await target.open(browser)
    const cookie = browser.jar.header(new URL(page.url), { crossSite: false, topLevelGet: true })
    for (const path of [
      '/token',
      '/token/revocation',
      '/auth',
      '/session/end',
      `${new URL(page.url).pathname}/identifier`,
      '/account/profile',
    ]) {
      for (const [encoding, body] of [
        ['gzip', bomb],
        ['gzip', Buffer.from('no gzip at all')],
        ['gzip', bomb.subarray(0, 500)],
        ['deflate', bomb],
        ['br', Buffer.from('no brotli')],
        ['gzip, gzip', gzipSync(bomb)],
        ['identity', Buffer.alloc(10_000_000, 'a')],
      ] as const) {
        const head = rawRequest(`POST ${path}`, [
          ...[
            'Host: localhost',
            `Cookie: ${cookie}`,
            'Content-Type: application/x-www-form-urlencoded',
            `Content-Encoding: ${encoding}`,
          ],
          `Content-Length: ${body.length}`,
        ])
        const { status } = await sendRaw(port, Buffer.concat([Buffer.from(head), body]))
        // 0: refused and closed while we were still sending.
        expect([path, encoding, body.length, status === 0 || (status >= 400 && status < 500)]).toEqual([
          path,
          encoding,
          body.length,
          true,
        ])
      }
    }
    expect((await browser.get(page.url)).status).toBe(200)
  })

  it(`${DEEP ? 200 : 20} slow senders are cut off in time, and nobody waits for them`, async () => {
    const { port } = target.server
    const count = DEEP ? 200 : 20
    const heads = Array.from({ length: count / 2 }, () =>
      dribble(port, 'GET /account HTTP/1.1\r\nHost: localhost\r\n', 'X-a: b\r\n', 500),
    )
    const start =
      'POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 5000\r\n\r\n'
    const bodies = Array.from({ length: count / 2 }, () => dribble(port, start, 'a=b&', 500))
    const times: number[] = []
    for (let i = 0; i < 20; i++) {
      const began = performance.now()
      expect((await fetch(`${target.server.origin}/livez`)).status).toBe(200)
      times.push(performance.now() - began)
    }
    expect(times.sort((a, b) => a - b)[10]).toBeLessThan(250)
    const [headTimes, bodyTimes] = await Promise.all([
      Promise.all(heads.map(({ ended }) => ended)),
      Promise.all(bodies.map(({ ended }) => ended)),
    ])
    expect(Math.max(...headTimes)).toBeLessThan(14_000)
    expect(Math.max(...bodyTimes)).toBeLessThan(19_000)
    expect((await fetch(`${target.server.origin}/livez`)).status).toBe(200)
  }, 90_000)
})

it('A103: no NUL in a path reaches the database, for whoever is signed in', async () => {
  const { email } = await target.signUp('nul@shop.example')
  const browser = target.person()
  await signIn(browser, await target.open(browser), email)
  const page = await browser.get(`${target.server.issuer}/account`)
  const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
  for (const path of ['devices/%00/forget', 'clients/%00/revoke', 'agents/%00/through/%00/allow', 'sessions/%00/end']) {
    const answer = await browser.post(`${target.server.issuer}/account/${path}`, { csrf }, page.url)
    expect([path, answer.status]).toEqual([path, 404])
  }
})

describe('A105: look-alikes', () => {
  it('every spelling of one mailbox is one key; other scripts in the local part are no address', async () => {
    const { email, sub } = await target.signUp('admin.i@xn--bcher-kva.example')
    const same = [
      'ADMIN.I@bücher.example',
      'ａｄｍｉｎ.i@BÜCHER.example',
      'admin．i@bücher。example',
      'Admin.ı@bücher.example',
      'admin.i@bu\u0308cher.example',
      'ⓐⓓⓜⓘⓝ.i@bücher.example',
    ]
    for (const typed of same) {
      const browser = target.person()
      const end = await signIn(browser, await target.open(browser), typed).catch((error: Error) => error)
      const known = !(end instanceof Error) && end.params.has('code')
      // The dotless i is another letter; the ideographic full stop is a dot to IDNA only. Neither may become another account.
      const proven = await target.sql<{ id: string }>('select id from accounts where email_verified_at is not null')
      const people = await Promise.all(proven.map(({ id }) => target.personal(id)))
      const admins = people.filter((person) => person?.email.startsWith('admin'))
      expect([typed, admins.length]).toEqual([typed, 1])
      if (!/[ı。]/.test(typed)) expect([typed, known]).toEqual([typed, true])
    }
    expect((await target.personal(sub))?.email).toBe(email)
  })

  it('refuses invisible characters and foreign twins, in every form that takes an address', async () => {
    const twins = [
      'аdmin.i@shop.example',
      'admіn.i@shop.example',
      'admin\u200b.i@shop.example',
      'adm\u00adin@shop.example',
      'admin\u202e@shop.example',
    ]
    const more = [
      'admin\ufeff@shop.example',
      'adm\u0131n@shop.example',
      'ΑDMIN@shop.example',
      'admin@sh\u200dop.example',
      'admin@shop\u2024example',
      'ﬀ@shop\u0000.example',
    ]
    const member = await target.signUp('a105@shop.example')
    const own = await member.browser.get(`${target.issuer}/account/email`)
    const browser = target.person()
    const start = await target.open(browser, { prompt: 'create' })
    const path = new URL(start.url).pathname
    const before = await target.sql('select id from accounts')
    for (const typed of [...twins, ...more]) {
      const values = new URLSearchParams({ csrf: csrfOf(start), email: typed, password: FRESH })
      const registered = await post(browser, start, `${path}/register`, values.toString())
      const changed = await post(
        member.browser,
        own,
        '/account/email',
        new URLSearchParams({ csrf: csrfOf(own), email: typed }).toString(),
      )
      // U+2024 is a dot after NFKC: one canonical address then, and never a second spelling of it.
      if (typed.includes('\u2024')) continue
      expect([typed, registered.status, changed.status]).toEqual([typed, 400, 400])
    }
    expect((await target.sql('select id from accounts')).length).toBeLessThanOrEqual(before.length + 1)
  })

  it('two registrations of one mailbox in two spellings make one account', async () => {
    const [first, second] = ['Twice@BÜCHER.example', 'twice@xn--bcher-kva.example']
    const canonical = 'twice@xn--bcher-kva.example'
    const pages: { browser: Browser; page: Page }[] = []
    for (const email of [first, second]) {
      const browser = target.person()
      const start = await target.open(browser, { prompt: 'create' })
      pages.push({ browser, page: await browser.submit(start, { email, password: FRESH }, { form: '/register' }) })
      await target.mailbox.to(canonical, { count: pages.length })
    }
    const codes = (await target.mailbox.all()).filter(({ to }) => to.includes(canonical)).map(codeFrom)
    const ends = await Promise.all(
      pages.map(({ browser, page }, i) => browser.submit(page, { code: codes[i] ?? '' }, { form: '/verify_email' })),
    )
    expect(ends.filter(({ params }) => params.has('code'))).toHaveLength(1)
    const hash = await target.emailHash(canonical)
    expect(await target.sql('select 1 from accounts where email_hash = $1', [hash])).toHaveLength(1)
  })
})
