/** Every opaque value that a person or client can hold, at every place that redeems one: only its own place takes it (A27). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { CIBA_CLIENTS, till } from '../support/approvals.ts'
import type { Answer, Browser, Page } from '../support/browser.ts'
import { assertionClaims, createKey, seconds } from '../support/client_keys.ts'
import { DEVICE_CLIENTS, device, typeCode } from '../support/devices.ts'
import { ACCESS_TOKEN, ID_JAG, ID_TOKEN, REFRESH_TOKEN, TOKEN_EXCHANGE } from '../support/exchange_room.ts'
import { API, authorization, choose, PASSWORD, SECRET, SETTINGS } from '../support/journeys.ts'
import { codeFrom } from '../support/mailbox.ts'
import { initialToken, POLICIES, registered, registrar, WEB_CLIENT } from '../support/registrations.ts'
import { sample, sampleTitle } from '../support/sample.ts'
import { CALLBACK, type Member, OWN, startTarget, type Target } from '../support/target.ts'
import { ENGINE_MODELS, installedModels, makingFiles, OWN_MAKERS, registeredKinds } from '../support/token_registry.ts'

const EXCHANGING = {
  grant_types: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE],
  token_exchange: [{ resource: API, scopes: ['orders:read'] }],
  identity_assertions: [
    { audience: 'https://chat.elsewhere.example', subject_token_types: ['id_token', 'refresh_token'] },
  ],
}
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
/** A server of a client has no origin; the browser of these tests would say `null`. */
const CLIENT = { ...FORM, origin: '', accept: 'application/json' }
const basic = (client: string, secret: string) =>
  `Basic ${Buffer.from(`${client}:${encodeURIComponent(secret)}`).toString('base64')}`

/** A client with a key of its own, which signs assertions and requests by it. */
const key = createKey('key')
const KEYED = {
  ...{ client_id: 'keyed', token_endpoint_auth_method: 'private_key_jwt', first_party: true },
  ...{ jwks: { keys: [key.jwk] }, redirect_uris: [`${OWN}/keyed`], scope: 'openid offline_access' },
}
const LONG = () => seconds() + 600

/** The client of the matrix may also exchange what it holds; there is a device, and clients may register. */
const settings = {
  ...SETTINGS,
  client_registration: { requests_per_address: 10_000, policies: POLICIES },
  clients: [
    ...SETTINGS.clients.map((client) =>
      client.client_id === 'own' ? { ...client, ...EXCHANGING, userinfo_signed_response_alg: 'ES256' } : client,
    ),
    ...DEVICE_CLIENTS,
    ...CIBA_CLIENTS,
    KEYED,
  ],
}

let target: Target
let member: Member
let values: { readonly [kind: string]: string }
let places: { readonly [place: string]: { readonly takes: readonly string[]; try(value: string): Promise<boolean> } }

beforeAll(async () => {
  target = await startTarget({ settings })
  member = await target.signUp('holder@shop.example')
  const held = await collect()
  values = held.values
  places = redeemers(held)
})
afterAll(() => target?.close())

interface Held {
  readonly registeredId: string
  readonly values: { readonly [kind: string]: string }
  readonly verifier: string
  readonly verifying: { readonly browser: Browser; readonly page: Page }
  readonly recovering: { readonly browser: Browser; readonly page: Page }
  readonly coding: { readonly browser: Browser; readonly page: Page }
  readonly open: { readonly browser: Browser; readonly page: Page }
  readonly profile: Page
}

const fieldOf = ({ forms }: Page, field: string) =>
  forms.flatMap(({ fields }) => fields).find(({ name }) => name === field)?.value ?? ''
const cookieOf = (browser: Browser, name: string) =>
  browser.jar.all().find((cookie) => cookie.name === name)?.value ?? ''

/** One of each kind, all alive at the same time. */
async function collect(): Promise<Held> {
  const { browser } = member
  const profile = await browser.get(`${target.issuer}/account/profile`)
  const change = await browser.get(`${target.issuer}/account/email`)
  await browser.submit(change, { email: 'holder-moves@shop.example' }, { form: '/account/email' })
  const changing = codeFrom(await target.mailbox.to('holder-moves@shop.example'))

  const verifying = { browser: target.person(), page: undefined as unknown as Page }
  const create = await target.open(verifying.browser, { prompt: 'create' })
  verifying.page = await verifying.browser.submit(
    create,
    { email: 'holder-new@shop.example', password: PASSWORD },
    { form: '/register' },
  )
  const verify = codeFrom(await target.mailbox.to('holder-new@shop.example'))

  const recovering = { browser: target.person(), page: undefined as unknown as Page }
  const start = await target.open(recovering.browser, { login_hint: member.email })
  recovering.page = await recovering.browser.submit(
    await choose(recovering.browser, start, 'recover'),
    { identifier: member.email },
    { form: '/recover' },
  )
  const recover = codeFrom(await target.mailbox.to(member.email, { count: 2 }))

  const coding = { browser: target.person(), page: undefined as unknown as Page }
  const asked = await target.open(coding.browser, { login_hint: member.email })
  coding.page = await choose(coding.browser, asked, 'email_code')
  const signIn = codeFrom(await target.mailbox.to(member.email, { count: 3 }))

  const first = await tokens('openid offline_access')
  const again = await authorization(target.client, CALLBACK, { prompt: 'none', scope: 'openid' })
  const code = (await browser.get(again.url)).params.get('code') ?? ''
  const open = { browser: target.person(), page: undefined as unknown as Page }
  open.page = await target.open(open.browser)
  const leaving = target.person()
  await leaving.send(`${target.issuer}/account`)
  const machine = await token('machine', { grant_type: 'client_credentials', scope: 'orders:read', resource: API })
  const logout = await browser.get(`${target.issuer}/session/end`)
  const { deviceCode, userCode } = await device(target.issuer, 'tv').ask()
  const initial = await initialToken(target.server, 'web')
  const registeredClient = registered(await registrar(target.issuer).register(initial, WEB_CLIENT))
  const posted = await browser.send(`${target.issuer}/auth`, {
    ...{ method: 'POST', headers: FORM },
    body: new URLSearchParams({ client_id: 'own', state: 'x'.repeat(9000) }).toString(),
  })
  const found: { [kind: string]: string } = {
    ...{ device_code: deviceCode, user_code: userCode },
    auth_req_id: await till(target.issuer).ask({ login_hint: member.email }),
    ...{ initial_access_token: initial, registration_access_token: registeredClient.token },
    posted_request_uri: new URL(posted.headers.location ?? '', target.issuer).searchParams.get('request_uri') ?? '',
    state: again.checks.expectedState,
    nonce: again.checks.expectedNonce,
    verifier: again.checks.pkceCodeVerifier,
    uid: new URL(open.page.url).pathname.split('/')[2] ?? '',
    csrf: fieldOf(profile, 'csrf'),
    csrf_cookie: cookieOf(browser, 'genkan_csrf'),
    xsrf: fieldOf(logout, 'xsrf'),
    code,
    refresh_token: first.refresh_token,
    access_token: first.access_token,
    id_token: first.id_token,
    jwt_access_token: String(machine.access_token),
    mail_code_verify: verify,
    mail_code_recover: recover,
    mail_code_change: changing,
    mail_code_sign_in: signIn,
    session: cookieOf(browser, 'genkan_session'),
    ticket: cookieOf(browser, 'genkan_account'),
    pending: cookieOf(leaving, 'genkan_account_pending'),
    sub: member.sub,
    client_secret: SECRET,
    id_jag: String((await exchanged(first.id_token, ID_TOKEN, ID_JAG)).access_token),
    ...signedKinds(),
    jarm_response:
      (
        await browser.get((await authorization(target.client, CALLBACK, { prompt: 'none', response_mode: 'jwt' })).url)
      ).params.get('response') ?? '',
    signed_userinfo: (
      await target.person().send(`${target.issuer}/me`, { headers: { authorization: `Bearer ${first.access_token}` } })
    ).body,
  }
  const discovery = JSON.parse((await browser.send(`${target.issuer}/.well-known/openid-configuration`)).body) as {
    [name: string]: string
  }
  const par = discovery.pushed_authorization_request_endpoint
  if (par !== undefined) {
    const request = new URL((await authorization(target.client, CALLBACK)).url).searchParams
    const answer = await browser.send(par, {
      method: 'POST',
      headers: { ...CLIENT, authorization: basic('own', SECRET) },
      body: request.toString(),
    })
    found.request_uri = (JSON.parse(answer.body) as { request_uri: string }).request_uri
  }
  const registeredId = registeredClient.id
  return {
    registeredId,
    values: found,
    verifier: again.checks.pkceCodeVerifier,
    verifying,
    recovering,
    coding,
    open,
    profile,
  }
}

/** What the client with the key signs by it. Each says all that another of them would have to say, but its type. */
function signedKinds(): { readonly [kind: string]: string } {
  const claims = { ...assertionClaims(target.issuer, 'keyed'), exp: LONG() }
  const request = {
    ...{ client_id: 'keyed', response_type: 'code', redirect_uri: `${OWN}/keyed`, scope: 'openid' },
    ...{ code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256' },
  }
  return {
    client_assertion: key.sign({ ...request, ...claims, jti: 'a' }, { typ: 'client-authentication+jwt' }),
    request_object: key.sign({ ...request, ...claims, jti: 'b' }, { typ: 'oauth-authz-req+jwt' }),
  }
}

async function tokens(scope: string): Promise<{ access_token: string; refresh_token: string; id_token: string }> {
  const request = await authorization(target.client, CALLBACK, { scope, prompt: 'consent' })
  let page = await member.browser.get(request.url)
  const consent = page.forms.find(({ action }) => action.endsWith('/consent'))
  if (consent !== undefined) page = await member.browser.submit(page, {}, { form: '/consent', button: 'allow' })
  const code = page.params.get('code') ?? ''
  const answer = await token('own', {
    grant_type: 'authorization_code',
    code,
    redirect_uri: CALLBACK,
    code_verifier: request.checks.pkceCodeVerifier,
  })
  return answer as never
}

async function token(client: string, body: { [name: string]: string }): Promise<{ [name: string]: unknown }> {
  return JSON.parse((await at('/token', body, client)).body) as { [name: string]: unknown }
}

/** As `own` exchanges it: for an access token, or for word to another server. */
function exchanged(value: string, type: string, requested: string): Promise<{ [name: string]: unknown }> {
  return token('own', {
    ...{ grant_type: TOKEN_EXCHANGE, subject_token: value, subject_token_type: type, requested_token_type: requested },
    ...(requested === ACCESS_TOKEN ? { resource: API } : { audience: 'https://chat.elsewhere.example' }),
  })
}

function at(path: string, body: { [name: string]: string }, client = 'own'): Promise<Answer> {
  const headers = { ...CLIENT, authorization: basic(client, SECRET) }
  return target
    .person()
    .send(`${target.issuer}${path}`, { method: 'POST', headers, body: new URLSearchParams(body).toString() })
}

/** Only what fits into a cookie is sent as one. */
const fits = (value: string) => /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/.test(value)

function withCookie(path: string, cookie: string): Promise<Answer> {
  return target.person().send(`${target.issuer}${path}`, { headers: { cookie } })
}

/** Where values are redeemed: which kinds are good there, and whether a given value was taken. */
function redeemers({ registeredId, verifier, verifying, recovering, coding, open, profile }: Held): typeof places {
  const own = { ...FORM }
  const submit = async (
    { browser, page }: { browser: Browser; page: Page },
    path: string,
    fields: { [name: string]: string },
  ) =>
    browser.send(new URL(path, page.url).href, {
      method: 'POST',
      from: page.url,
      headers: own,
      body: new URLSearchParams(fields).toString(),
    })
  const onPage = (held: { browser: Browser; page: Page }, step: string) => async (code: string) => {
    const { status, headers } = await submit(held, `${new URL(held.page.url).pathname}/${step}`, {
      csrf: fieldOf(held.page, 'csrf'),
      code,
    })
    return status === 303 && headers.location !== new URL(held.page.url).pathname ? true : status === 303
  }
  const authorize = new URL(`${target.issuer}/auth`)
  authorize.search = new URLSearchParams({
    ...{ client_id: 'own', response_type: 'code', redirect_uri: CALLBACK, scope: 'openid', prompt: 'none' },
    ...{ code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256' },
  }).toString()
  const silent = `${authorize.pathname}${authorize.search}`
  const member0 = { browser: member.browser, page: profile }
  return {
    'code at the token endpoint': {
      takes: ['code'],
      try: async (code) =>
        (
          await at('/token', {
            grant_type: 'authorization_code',
            code,
            redirect_uri: CALLBACK,
            code_verifier: verifier,
          })
        ).status === 200,
    },
    introspection: {
      takes: ['access_token', 'refresh_token'],
      try: async (value) => (await at('/token/introspection', { token: value })).body.includes('"active":true'),
    },
    'refresh token at the token endpoint': {
      takes: ['refresh_token'],
      try: async (value) => (await at('/token', { grant_type: 'refresh_token', refresh_token: value })).status === 200,
    },
    userinfo: {
      takes: ['access_token'],
      try: async (value) =>
        (
          await target
            .person()
            .send(`${target.issuer}/me`, { headers: { authorization: `Bearer ${value.replace(/[^\x20-\x7e]/g, '')}` } })
        ).status === 200,
    },
    'session cookie': {
      takes: ['session'],
      try: async (value) =>
        fits(value) && /[?&]code=/.test((await withCookie(silent, `genkan_session=${value}`)).headers.location ?? ''),
    },
    'ticket of the account pages': {
      takes: ['ticket'],
      try: async (value) => fits(value) && (await withCookie('/account', `genkan_account=${value}`)).status === 200,
    },
    'pending cookie of the account pages': {
      takes: [],
      try: async (value) =>
        fits(value) &&
        /genkan_account=[^;]/.test(
          String(
            (await withCookie(`/account/callback?state=${value}&code=${value}`, `genkan_account_pending=${value}`))
              .headers['set-cookie'],
          ),
        ),
    },
    'interaction cookie': {
      takes: ['uid'],
      try: async (value) =>
        fits(value) &&
        (await withCookie(`/interaction/${encodeURIComponent(value)}`, `genkan_interaction=${value}`)).body.includes(
          '/identifier"',
        ),
    },
    // Resuming what nobody has answered asks again: the same request under a new id, and the old one is gone.
    'resume cookie': {
      takes: ['uid'],
      try: async (value) => {
        const { headers } = await withCookie(
          `/auth/${encodeURIComponent(value)}`,
          fits(value) ? `genkan_resume=${value}` : 'a=b',
        )
        return /^(\/interaction\/|https:\/\/own\.test\.example\/callback\?code=)/.test(headers.location ?? '')
      },
    },
    'code of a new address': { takes: ['mail_code_verify'], try: onPage(verifying, 'verify_email') },
    'code of a recovery': { takes: ['mail_code_recover'], try: onPage(recovering, 'recover_code') },
    'code that signs in': { takes: ['mail_code_sign_in'], try: onPage(coding, 'email_code') },
    'code of a change of address': {
      takes: ['mail_code_change'],
      try: async (code) =>
        (await submit(member0, '/account/email/code', { csrf: fieldOf(profile, 'csrf'), code })).status === 303,
    },
    'anti-forgery token of a form': {
      takes: ['csrf'],
      try: async (csrf) => (await submit(member0, '/account/language', { csrf, locale: 'en' })).status === 303,
    },
    'anti-forgery token of another browser': {
      takes: [],
      try: async (csrf) =>
        (await submit(open, `${new URL(open.page.url).pathname}/identifier`, { csrf, identifier: 'a@b.example' }))
          .status === 303,
    },
    'client secret': {
      takes: ['client_secret'],
      try: async (secret) => {
        const headers = { ...CLIENT, authorization: basic('machine', secret) }
        const body = new URLSearchParams({
          grant_type: 'client_credentials',
          scope: 'orders:read',
          resource: API,
        }).toString()
        return (await target.person().send(`${target.issuer}/token`, { method: 'POST', headers, body })).status === 200
      },
    },
    'client assertion': {
      takes: ['client_assertion'],
      try: async (assertion) => {
        const body = new URLSearchParams({
          ...{ token: 'unknown', client_id: 'keyed', client_assertion: assertion },
          client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        }).toString()
        const request = { method: 'POST', headers: CLIENT, body }
        return (await target.person().send(`${target.issuer}/token/introspection`, request)).status === 200
      },
    },
    'request object': {
      takes: ['request_object'],
      try: async (request) => {
        const query = new URLSearchParams({ client_id: 'keyed', response_type: 'code', scope: 'openid', request })
        const { headers } = await target.person().send(`${target.issuer}/auth?${query}`)
        return /^\/interaction\//.test(headers.location ?? '')
      },
    },
    // Signed userinfo says the same of the same person to the same client.
    'ID token as a hint': {
      takes: ['id_token', 'signed_userinfo'],
      try: async (hint) => {
        const { status } = await target
          .person()
          .send(`${target.issuer}/session/end?${new URLSearchParams({ id_token_hint: hint })}`)
        return status === 200
      },
    },
    'access token that is exchanged': {
      takes: [],
      try: async (value) => 'access_token' in (await exchanged(value, ACCESS_TOKEN, ACCESS_TOKEN)),
    },
    'ID token that is exchanged': {
      takes: ['id_token'],
      try: async (value) => 'access_token' in (await exchanged(value, ID_TOKEN, ID_JAG)),
    },
    'refresh token that is exchanged': {
      takes: ['refresh_token'],
      try: async (value) => 'access_token' in (await exchanged(value, REFRESH_TOKEN, ID_JAG)),
    },
    'device code at the token endpoint': {
      takes: [],
      try: async (value) => (await device(target.issuer, 'tv').poll(value)).status === 200,
    },
    // Nobody has answered it; what its own client hears of it is not what it hears of others' values.
    'request through the back channel': {
      takes: ['auth_req_id'],
      try: async (value) => {
        const { status, body } = await till(target.issuer).poll(value)
        return status === 200 || ['authorization_pending', 'slow_down'].includes(String(body.error))
      },
    },
    'page for codes of devices': {
      takes: ['user_code'],
      try: async (value) => {
        const page = await typeCode(target.person(), `${target.issuer}/device`, value)
        return page.status === 200 && page.text.includes('Connect a device to')
      },
    },
    registration: {
      takes: ['initial_access_token'],
      try: async (value) => (await registrar(target.issuer).register(header(value), WEB_CLIENT)).status === 201,
    },
    'management of a registered client': {
      takes: ['registration_access_token'],
      try: async (value) => (await registrar(target.issuer).read(registeredId, header(value))).status === 200,
    },
    'request URI': {
      takes: ['request_uri'],
      try: async (value) => {
        const query = new URLSearchParams({ client_id: 'own', request_uri: value })
        return /^\/interaction\//.test(
          (await target.person().send(`${target.issuer}/auth?${query}`)).headers.location ?? '',
        )
      },
    },
    'token of a sign-out': {
      takes: ['xsrf'],
      try: async (xsrf) => {
        const { status, headers } = await submit(member0, '/session/end/confirm', { xsrf, logout: 'yes' })
        return status === 303 || (status === 200 && headers.location === undefined)
      },
    },
  }
}

/** What can stand in a header. */
const header = (value: string) => value.replace(/[^\x21-\x7e]/g, '') || 'nothing'

describe('A27: the registry of kinds', () => {
  it('names every model of the engine and every file of ours that makes something for somebody to hold', () => {
    expect(Object.keys(ENGINE_MODELS).sort()).toEqual(installedModels())
    expect(Object.keys(OWN_MAKERS).sort()).toEqual(makingFiles())
  })

  it('is held by the matrix whole', () => {
    expect(registeredKinds().filter((kind) => !values[kind])).toEqual([])
  })
})

describe(sampleTitle('A27: purposes'), () => {
  /** How many six-digit codes of other purposes were tried at each place. */
  const guesses = new Map<string, number>()

  it('holds one of each kind, and they all differ', () => {
    const all = Object.entries(values).filter(([kind]) => !['jwt_access_token'].includes(kind))
    expect(all.filter(([, value]) => value === '')).toEqual([])
    expect(new Set(all.map(([, value]) => value)).size).toBe(all.length)
    expect(all.length).toBeGreaterThanOrEqual(18)
  })

  it('no value is taken at another place than its own', async () => {
    const cells = Object.keys(places).flatMap((place) => Object.keys(values).map((kind) => ({ place, kind })))
    const foreign = cells.filter(({ place, kind }) => !places[place]?.takes.includes(kind))
    expect(foreign.length).toBeGreaterThan(300)
    const taken: object[] = []
    for (const { place, kind } of sample(foreign)) {
      const value = values[kind] ?? ''
      if (/^\d{6}$/.test(value)) guesses.set(place, (guesses.get(place) ?? 0) + 1)
      if ((await places[place]?.try(value)) !== false) taken.push({ place, kind })
    }
    expect(taken).toEqual([])
  }, 120_000)

  it('twin: afterwards each is still good at its own place', async () => {
    // A code lives for a minute, which the matrix may outlast.
    const again = await authorization(target.client, CALLBACK, { prompt: 'none', scope: 'openid' })
    const code = (await member.browser.get(again.url)).params.get('code') ?? ''
    const redeemed = await at('/token', {
      ...{
        grant_type: 'authorization_code',
        code,
        redirect_uri: CALLBACK,
        code_verifier: again.checks.pkceCodeVerifier,
      },
    })
    expect(redeemed.status).toBe(200)
    const refused: object[] = []
    for (const [place, { takes, try: redeem }] of Object.entries(places)) {
      for (const kind of takes) {
        if (kind === 'code' || values[kind] === undefined) continue
        // The codes of other mails were guesses here, and three guesses use a code up (A36).
        const isUsedUp = kind.startsWith('mail_code') && (guesses.get(place) ?? 0) >= 3
        if ((await redeem(values[kind])) === isUsedUp) refused.push({ place, kind })
      }
    }
    expect(refused).toEqual([])
  })
})
