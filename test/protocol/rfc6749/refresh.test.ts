/**
 * RFC 6749 §6, RFC 9700 §4.14: refresh tokens. PROTOCOL.md E 30; attacks A54, A62, A63, A67, A68, A77, on the embedded
 * default, where time is moved by the server's clock.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { API, choose, PASSWORD, SECRET, SETTINGS, signIn } from '../../support/journeys.ts'
import { codeFrom, mailFolder } from '../../support/mailbox.ts'
import { mutations } from '../../support/mutations.ts'
import { authorizationRequest, clientBrowser, newPerson, OFFLINE, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests, payloadOf, tokensOf } from '../../support/token_requests.ts'

const DAY = 86_400

const brief = {
  client_id: 'brief',
  client_secret: SECRET,
  redirect_uris: ['https://brief.test.example/callback'],
  first_party: true,
  scope: 'openid offline_access',
  refresh_idle_seconds: 600,
  refresh_absolute_seconds: 1500,
  refresh_grace_seconds: 0,
}
const patient = {
  client_id: 'patient',
  client_secret: SECRET,
  redirect_uris: ['https://patient.test.example/callback'],
  first_party: true,
  scope: 'openid offline_access',
  refresh_grace_seconds: 60,
}
const settings = { ...SETTINGS, clients: [...SETTINGS.clients, brief, patient] }

let server: Server
let client: ClientRequests
let ann: Person
let clock = 0

beforeAll(async () => {
  server = await startServer({ settings, process: 'own' })
  client = clientRequests(server.issuer)
  ann = await person('ann@example.com')
})
afterAll(() => server.close())

const person = (email: string) => newPerson(server.issuer, mailFolder(server.dataDir), email)

async function later(seconds: number): Promise<void> {
  clock += seconds
  await server.shiftDate(clock)
}

const invalidGrant = { status: 400, body: { error: 'invalid_grant' } }

describe('rotation (A67)', () => {
  it('gives a successor each time, and the same claims', async () => {
    const first = await ann.tokens('own', OFFLINE)
    const second = tokensOf(await client.refresh('own', first.refresh))
    const third = tokensOf(await client.refresh('own', second.refresh))
    expect(new Set([first.refresh, second.refresh, third.refresh]).size).toBe(3)
    const { sub, auth_time, acr, amr } = payloadOf(first.id)
    expect(payloadOf(third.id)).toMatchObject({ sub, auth_time, acr, amr, aud: 'own', iss: server.issuer })
    expect((await client.userinfo(third.access)).body.sub).toBe(sub)
  })

  it('eight tabs at once arrive at one successor', async () => {
    const { refresh } = await ann.tokens('spa')
    const answers = await Promise.all(Array.from({ length: 8 }, () => client.refresh('spa', refresh)))
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200))
    const successors = new Set(answers.map((answer) => tokensOf(answer).refresh))
    expect(successors.size).toBe(1)
    expect((await client.refresh('spa', [...successors][0] ?? '')).status).toBe(200)
  })

  it('leads to the same successor within 15 seconds, not after', async () => {
    const { refresh } = await ann.tokens('own', OFFLINE)
    const second = tokensOf(await client.refresh('own', refresh))
    await later(11)
    expect(tokensOf(await client.refresh('own', refresh)).refresh).toBe(second.refresh)
    await later(5)
    expect(await client.refresh('own', refresh)).toMatchObject(invalidGrant)
    expect(await client.refresh('own', second.refresh)).toMatchObject(invalidGrant)
    expect((await client.userinfo(second.access)).status).toBe(401)
  })

  it('a retry after the successor was used ends the family', async () => {
    const { refresh } = await ann.tokens('own', OFFLINE)
    const second = tokensOf(await client.refresh('own', refresh))
    const third = tokensOf(await client.refresh('own', second.refresh))
    expect(await client.refresh('own', refresh)).toMatchObject(invalidGrant)
    expect(await client.refresh('own', third.refresh)).toMatchObject(invalidGrant)
    expect((await client.userinfo(third.access)).status).toBe(401)
    expect((await client.introspect('own', third.refresh)).body).toEqual({ active: false })
  })

  it('can have no grace at all', async () => {
    const { refresh } = await ann.tokens('brief', OFFLINE)
    const second = tokensOf(await client.refresh('brief', refresh))
    expect(await client.refresh('brief', refresh)).toMatchObject(invalidGrant)
    expect(await client.refresh('brief', second.refresh)).toMatchObject(invalidGrant)
  })

  it('of 50 parallel refreshes one family lives', async () => {
    const { refresh } = await ann.tokens('own', OFFLINE)
    const answers = await Promise.all(Array.from({ length: 50 }, () => client.refresh('own', refresh)))
    const successors = new Set(answers.filter(({ status }) => status === 200).map((answer) => tokensOf(answer).refresh))
    expect(successors.size).toBe(1)
    expect(answers.every(({ status }) => status === 200)).toBe(true)
  })

  it('stays refused over a crash once rotated, or leads to the same successor; a login goes on (A63)', async () => {
    const first = await ann.tokens('own', OFFLINE)
    const second = tokensOf(await client.refresh('own', first.refresh))
    const third = tokensOf(await client.refresh('own', second.refresh))
    const retried = await ann.tokens('patient', OFFLINE)
    const successor = tokensOf(await client.refresh('patient', retried.refresh))
    const browser = clientBrowser()
    const start = await browser.get(authorizationRequest(server.issuer, 'own').url)
    const asked = await browser.submit(start, { identifier: ann.email }, { form: '/identifier' })
    await server.kill()
    await server.restart()
    expect((await browser.submit(asked, { password: PASSWORD }, { form: '/password' })).params.has('code')).toBe(true)
    expect(await client.refresh('own', first.refresh)).toMatchObject(invalidGrant)
    expect(await client.refresh('own', third.refresh)).toMatchObject(invalidGrant)
    expect(tokensOf(await client.refresh('patient', retried.refresh)).refresh).toBe(successor.refresh)
    await later(61)
    expect(await client.refresh('patient', retried.refresh)).toMatchObject(invalidGrant)
    expect(await client.refresh('patient', successor.refresh)).toMatchObject(invalidGrant)
  })
})

describe('limits', () => {
  it('idle: dies when it is not used', async () => {
    const { refresh } = await ann.tokens('brief', OFFLINE)
    await later(601)
    expect(await client.refresh('brief', refresh)).toMatchObject(invalidGrant)
  })

  it('absolute: dies however much it is used', async () => {
    let { refresh } = await ann.tokens('brief', OFFLINE)
    for (const seconds of [500, 500, 450]) {
      await later(seconds)
      refresh = tokensOf(await client.refresh('brief', refresh)).refresh
    }
    await later(51)
    expect(await client.refresh('brief', refresh)).toMatchObject(invalidGrant)
  })

  it('outlives the session with offline_access', async () => {
    const dan = await person('dan@example.com')
    let { refresh } = await dan.tokens('own', OFFLINE)
    await later(10 * DAY)
    expect(await dan.signedIn()).toBe(false)
    refresh = tokensOf(await client.refresh('own', refresh)).refresh
    await later(13 * DAY)
    expect((await client.refresh('own', refresh)).status).toBe(200)
    ann = await ann.elsewhere()
  })
})

describe('binding to the session', () => {
  it('dies at sign-out without offline_access, lives on with it', async () => {
    const eve = await person('eve@example.com')
    const bound = await eve.tokens('spa')
    const offline = await eve.tokens('own', OFFLINE)
    const page = await eve.browser.get(`${server.issuer}/session/end?client_id=spa&id_token_hint=${bound.id}`)
    await eve.browser.submit(page, {}, { form: '/session/end/confirm', button: 'logout' })
    expect(await eve.signedIn()).toBe(false)
    expect(await client.refresh('spa', bound.refresh)).toMatchObject(invalidGrant)
    expect((await client.userinfo(bound.access)).status).toBe(401)
    expect((await client.introspect('own', offline.refresh)).body.active).toBe(true)
    expect((await client.refresh('own', offline.refresh)).status).toBe(200)
  })

  it('dies with an idle session', async () => {
    const fay = await person('fay@example.com')
    const { refresh } = await fay.tokens('spa')
    await later(8 * 3600 + 60)
    expect(await client.refresh('spa', refresh)).toMatchObject(invalidGrant)
    ann = await ann.elsewhere()
  })
})

describe('binding to the kind of browser', () => {
  const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
  const UPDATED = FIREFOX.replaceAll('140', '141')
  const CHROME =
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36'
  const from = (userAgent: string) => ({ 'user-agent': userAgent })

  it('the token of a browser application is refused in another one, and stays good in its own', async () => {
    const first = tokensOf(await client.redeem(await ann.code('spa'), {}, 'spa', from(FIREFOX)))
    const second = tokensOf(await client.refresh('spa', first.refresh, {}, from(UPDATED)))
    expect(await client.refresh('spa', second.refresh, {}, from(CHROME))).toMatchObject(invalidGrant)
    expect((await client.refresh('spa', second.refresh, {}, from(FIREFOX))).status).toBe(200)
    const { stdout } = await server.run('audit', 'list', '--type', 'grant.device_changed', '--json')
    expect(JSON.parse(stdout)).toMatchObject([{ clientId: 'spa', accountId: payloadOf(first.id).sub }])
  })

  it('servers are not looked at: they send no browser of anybody', async () => {
    const first = tokensOf(await client.redeem(await ann.code('own', OFFLINE), {}, 'own', from(FIREFOX)))
    expect((await client.refresh('own', first.refresh, {}, from(CHROME))).status).toBe(200)
  })
})

describe('what it does not grow to (A77)', () => {
  it.each(['openid offline_access email', 'openid profile', 'openid orders:read', 'openid admin'])(
    'scope %s is refused',
    async (scope) => {
      const { refresh } = await ann.tokens('web', OFFLINE)
      const answer = await client.refresh('web', refresh, { scope })
      expect([answer.status, answer.body.error]).toEqual([400, 'invalid_scope'])
      // The token was not used up.
      expect((await client.refresh('web', refresh)).status).toBe(200)
    },
  )

  it('a narrower scope is for one access token, not for the family', async () => {
    const { refresh } = await ann.tokens('own', { scope: 'openid email offline_access', prompt: 'consent' })
    const narrow = tokensOf(await client.refresh('own', refresh, { scope: 'openid' }))
    expect(narrow.scope).toBe('openid')
    expect((await client.userinfo(narrow.access)).body).not.toHaveProperty('email')
    const wide = tokensOf(await client.refresh('own', narrow.refresh))
    expect((await client.userinfo(wide.access)).body).toMatchObject({ email: ann.email })
  })

  it('a resource that was not agreed to', async () => {
    const { refresh } = await ann.tokens('web', OFFLINE)
    const answer = await client.refresh('web', refresh, { resource: API })
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_target'])
    const foreign = await client.refresh('web', refresh, { resource: 'https://evil.example' })
    expect([foreign.status, foreign.body.error]).toEqual([400, 'invalid_target'])
  })

  it.each(['other', 'spa'])('another client: refused for %s, and the grant is dead (A62)', async (thief) => {
    const tokens = await ann.tokens('own', OFFLINE)
    expect(await client.refresh(thief, tokens.refresh)).toMatchObject(invalidGrant)
    expect(await client.refresh('own', tokens.refresh)).toMatchObject(invalidGrant)
    expect((await client.userinfo(tokens.access)).status).toBe(401)
  })

  it('a client without its secret: refused, and nothing is lost for the owner', async () => {
    const { refresh } = await ann.tokens('own', OFFLINE)
    const fields = { grant_type: 'refresh_token', refresh_token: refresh, client_id: 'own' }
    for (const secret of [undefined, '', ' ', 'wrong']) {
      const body = new URLSearchParams({ ...fields, ...(secret === undefined ? {} : { client_secret: secret }) })
      const answer = await fetch(`${server.issuer}/token`, { method: 'POST', body })
      expect([400, 401]).toContain(answer.status)
      expect(await answer.json()).not.toHaveProperty('access_token')
    }
    expect((await client.refresh('own', refresh)).status).toBe(200)
  })
})

it('nothing else is this token: 100 mutations are refused (A68)', async () => {
  const { refresh, access, id } = await ann.tokens('own', OFFLINE)
  for (const mutation of [...mutations(refresh, 100), access, id]) {
    const answer = await client.refresh('own', mutation)
    expect([answer.status, mutation, answer.body.access_token]).toEqual([400, mutation, undefined])
  }
  expect((await client.refresh('own', refresh)).status).toBe(200)
})

describe('when the account is secured (A54)', () => {
  it('a new password with "end others" ends other sessions and all their refresh tokens, at once', async () => {
    const gil = await person('gil@example.com')
    const thief = await gil.elsewhere()
    const stolen = await thief.tokens('own', OFFLINE)
    const bound = await thief.tokens('spa')
    const code = await thief.code('own')
    const here = await gil.tokens('spa')
    const page = await accountPage(gil, '/account/password')
    const done = await gil.browser.submit(
      page,
      { current: PASSWORD, password: 'windy meadow gravel 93' },
      { form: '/account/password' },
    )
    expect(done.url).toBe(`${server.issuer}/account`)
    expect(await thief.signedIn()).toBe(false)
    expect(await client.refresh('own', stolen.refresh)).toMatchObject(invalidGrant)
    expect(await client.refresh('spa', bound.refresh)).toMatchObject(invalidGrant)
    expect((await client.userinfo(stolen.access)).status).toBe(401)
    expect(await client.redeem(code)).toMatchObject(invalidGrant)
    expect(await gil.signedIn()).toBe(true)
    expect((await client.refresh('spa', here.refresh)).status).toBe(200)
    await expect(gil.elsewhere()).rejects.toThrow('could not sign in')
  })

  it('"end others" does', async () => {
    const hal = await person('hal@example.com')
    const thief = await hal.elsewhere()
    const stolen = await thief.tokens('own', OFFLINE)
    const page = await accountPage(hal, '/account/sessions/others')
    const done = await hal.browser.submit(page, {}, { form: '/account/sessions/others' })
    expect(done.url).toBe(`${server.issuer}/account/sessions`)
    expect(await thief.signedIn()).toBe(false)
    expect(await client.refresh('own', stolen.refresh)).toMatchObject(invalidGrant)
    expect(await hal.signedIn()).toBe(true)
  })

  it('recovery ends every session and refresh token', async () => {
    const ida = await person('ida@example.com')
    const stolen = await ida.tokens('own', OFFLINE)
    const owner = clientBrowser()
    const start = await owner.get(authorizationRequest(server.issuer, 'own').url)
    const asked = await choose(
      owner,
      await owner.submit(start, { identifier: ida.email }, { form: '/identifier' }),
      'recover',
    )
    const sent = asked.forms.some(({ action }) => action.endsWith('/recover'))
      ? await owner.submit(asked, {}, { form: '/recover' })
      : asked
    const mail = await mailFolder(server.dataDir).to(ida.email, { count: 2 })
    const page = await owner.submit(sent, { code: codeFrom(mail) }, { form: '/recover_code' })
    const end = await owner.submit(page, { password: 'copper window thistle 28' }, { form: '/new_password' })
    expect(end.params.has('code')).toBe(true)
    expect(await ida.signedIn()).toBe(false)
    expect(await client.refresh('own', stolen.refresh)).toMatchObject(invalidGrant)
    expect((await client.userinfo(stolen.access)).status).toBe(401)
  })
})

/** Opens an account page and proves the password again where that is asked. */
async function accountPage({ browser, email }: Person, path: string) {
  const page = await browser.get(`${server.issuer}${path}`)
  return page.url.includes('/interaction/') ? signIn(browser, page, email) : page
}
