/** OpenID Connect Back-Channel Logout 1.0: who is told, by which token, and until it is heard. PROTOCOL.md E 38. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createRemoteJWKSet, type JWTPayload, jwtVerify } from 'jose'
import { choose, SECRET, SETTINGS } from '../../support/journeys.ts'
import { codeFrom, type Mailbox, mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests, payloadOf } from '../../support/token_requests.ts'

interface Heard {
  readonly path: string
  readonly token: string
  readonly type: string
}

const heard: Heard[] = []
/** What the receiver answers to the next requests, before 200. */
const answers: { status: number; headers?: { [name: string]: string }; after?: number }[] = []
const receiver = createServer((request, response) => {
  let body = ''
  request.on('data', (part: Buffer) => {
    body += part.toString()
  })
  request.on('end', async () => {
    const { status, headers = {}, after = 0 } = answers.shift() ?? { status: 200 }
    heard.push({
      path: request.url ?? '',
      type: request.headers['content-type'] ?? '',
      token: new URLSearchParams(body).get('logout_token') ?? '',
    })
    await sleep(after)
    response.writeHead(status, headers).end()
  })
})

let server: Server
let mailbox: Mailbox
let client: ClientRequests
let ann: Person

beforeAll(async () => {
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const { port } = receiver.address() as AddressInfo
  const listening = (id: string, more: object = {}) => ({
    client_id: id,
    client_secret: SECRET,
    first_party: true,
    redirect_uris: [redirectUri(id)],
    scope: 'openid offline_access',
    backchannel_logout_uri: `http://127.0.0.1:${port}/${id}`,
    ...more,
  })
  const clients = [
    listening('rp-a'),
    listening('rp-b', { id_token_signed_response_alg: 'RS256' }),
    listening('rp-never'),
  ]
  const sessionless = listening('rp-sub', { backchannel_logout_session_required: false })
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...clients, sessionless] } })
  mailbox = mailFolder(server.dataDir)
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailbox, 'ann@example.com')
})
afterAll(async () => {
  await server.close()
  await new Promise((resolve) => receiver.close(resolve))
})
beforeEach(() => {
  heard.length = 0
  answers.length = 0
})

/** Waits until so many logout tokens were posted. */
async function tokensHeard(count: number, milliseconds = 20_000): Promise<readonly Heard[]> {
  const until = Date.now() + milliseconds
  while (heard.length < count) {
    if (Date.now() > until) throw new Error(`${heard.length} of ${count} logout tokens: ${JSON.stringify(heard)}`)
    await sleep(50)
  }
  return heard
}

async function verified({ token, path }: Heard): Promise<JWTPayload> {
  const keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`))
  const audience = path.slice(1)
  const algorithms = [audience === 'rp-b' ? 'RS256' : 'ES256']
  const { payload } = await jwtVerify(token, keys, { issuer: server.issuer, audience, typ: 'logout+jwt', algorithms })
  return payload
}

async function signOut(person: Person) {
  const page = await person.browser.get(`${server.issuer}/session/end`)
  return person.browser.submit(page, {}, { button: 'yes' })
}

describe('oidcc-backchannel-rp-initiated-logout', () => {
  it('each client of the session hears once, by a token that says what it must and no more', async () => {
    const person = await ann.elsewhere()
    const a = payloadOf((await person.tokens('rp-a')).id)
    await person.tokens('rp-a')
    const b = payloadOf((await person.tokens('rp-b')).id)
    expect(a.sid).toBeTruthy()
    expect(a.sid).not.toBe(b.sid)
    const now = Math.floor(Date.now() / 1000)
    await signOut(person)
    await tokensHeard(2)
    await sleep(1500)
    expect(heard.map(({ path }) => path).sort()).toEqual(['/rp-a', '/rp-b'])
    for (const each of heard) {
      expect(each.type).toMatch(/^application\/x-www-form-urlencoded/)
      const claims = await verified(each)
      expect(claims).toMatchObject({
        sub: a.sub,
        sid: each.path === '/rp-a' ? a.sid : b.sid,
        jti: expect.stringMatching(/./),
        events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
      })
      expect(claims.iat).toBeGreaterThanOrEqual(now - 1)
      expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBeGreaterThan(0)
      expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBeLessThanOrEqual(120)
      expect(claims).not.toHaveProperty('nonce')
      expect(Object.keys(claims).sort()).toEqual(['aud', 'events', 'exp', 'iat', 'iss', 'jti', 'sid', 'sub'])
    }
    const [first, second] = await Promise.all(heard.map(verified))
    expect(first?.jti).not.toBe(second?.jti)
  })

  it('only that session: another browser of the same person stays, and nobody is told of it', async () => {
    const [here, there] = [await ann.elsewhere(), await ann.elsewhere()]
    const sid = payloadOf((await here.tokens('rp-a')).id).sid
    const { access } = await there.tokens('rp-a')
    await signOut(here)
    const [told] = await tokensHeard(1)
    expect(told === undefined ? undefined : (await verified(told)).sid).toBe(sid)
    await sleep(1000)
    expect(heard).toHaveLength(1)
    expect((await client.userinfo(access)).status).toBe(200)
    expect(await there.signedIn()).toBe(true)
  })

  it('is no id_token_hint, though signed by the same key for the same client (A27)', async () => {
    const person = await ann.elsewhere()
    const { id } = await person.tokens('rp-a')
    await signOut(person)
    const [told] = await tokensHeard(1)
    const hinted = (hint: string) => ann.authorize('rp-a', { prompt: 'none', id_token_hint: hint })
    expect((await hinted(told?.token ?? '')).params.get('error')).toBe('invalid_request')
    expect((await hinted(id)).params.has('code')).toBe(true)
  })

  it('a client that did not ask for sid gets sub alone', async () => {
    const person = await ann.elsewhere()
    await person.tokens('rp-sub')
    await signOut(person)
    const [told] = await tokensHeard(1)
    const claims = told === undefined ? {} : await verified(told)
    expect(claims.sub).toBeTruthy()
    expect(claims).not.toHaveProperty('sid')
  })

  it('"Stay signed in", a forged confirmation and prompt=none tell nobody', async () => {
    const person = await ann.elsewhere()
    await person.tokens('rp-a')
    await person.browser.get(`${server.issuer}/session/end`)
    await person.browser.post(`${server.issuer}/session/end/confirm`, { xsrf: 'x', logout: 'yes' })
    expect(await person.signedIn()).toBe(true)
    await sleep(1500)
    expect(heard).toEqual([])
  })

  it('metadata announces it (oidcc-backchannel-logout-discovery-endpoint-verification)', async () => {
    const metadata = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()
    expect(metadata).toMatchObject({ backchannel_logout_supported: true, backchannel_logout_session_supported: true })
  })
})

describe('delivery', () => {
  it('is tried again when the client answers 500, with a token that is still good', async () => {
    const person = await ann.elsewhere()
    const sid = payloadOf((await person.tokens('rp-a')).id).sid
    answers.push({ status: 500 })
    await signOut(person)
    await tokensHeard(2, 30_000)
    const claims = await Promise.all(heard.map(verified))
    expect(claims.map((each) => each.sid)).toEqual([sid, sid])
    await sleep(1500)
    expect(heard).toHaveLength(2)
  })

  it('follows no redirect, and counts it as a failure (server-side request forgery)', async () => {
    const person = await ann.elsewhere()
    await person.tokens('rp-a')
    answers.push({ status: 307, headers: { location: '/elsewhere' } })
    await signOut(person)
    await tokensHeard(2, 30_000)
    expect(heard.map(({ path }) => path)).toEqual(['/rp-a', '/rp-a'])
  })

  it('nobody waits for a slow client', async () => {
    const person = await ann.elsewhere()
    await person.tokens('rp-a')
    // Within the time a client has to answer, or it would be told again while later tests listen.
    answers.push({ status: 200, after: 2000 })
    const start = Date.now()
    expect((await signOut(person)).text).toContain('You are signed out')
    expect(Date.now() - start).toBeLessThan(1800)
    await tokensHeard(1)
    await sleep(2000)
    expect(heard).toHaveLength(1)
  })
})

describe('every way in which sessions end', () => {
  /** A person with an own account, so that ending everything leaves the others alone. */
  let count = 0
  const somebody = async () => {
    const email = `person${++count}@example.com`
    const person = await newPerson(server.issuer, mailbox, email)
    return { email, person, sid: payloadOf((await person.tokens('rp-a')).id).sid }
  }
  const sidsHeard = async (number: number) =>
    Promise.all((await tokensHeard(number)).map(async (each) => (await verified(each)).sid))

  it('signing out of the account pages', async () => {
    const { person, sid } = await somebody()
    const account = await person.browser.get(`${server.issuer}/account`)
    await person.browser.submit(account, {}, { form: '/account/sign-out' })
    expect(await sidsHeard(1)).toEqual([sid])
    expect(await person.signedIn()).toBe(false)
  })

  it('ending all other sessions: they hear, the one that asked does not', async () => {
    const { person } = await somebody()
    const other = await person.elsewhere()
    const { id, access } = await other.tokens('rp-a')
    const page = await person.browser.get(`${server.issuer}/account/sessions/others`)
    await person.browser.submit(page, {}, { form: '/account/sessions/others' })
    expect(await sidsHeard(1)).toEqual([payloadOf(id).sid])
    await sleep(1000)
    expect(heard).toHaveLength(1)
    expect((await client.userinfo(access)).status).toBe(401)
    expect(await other.signedIn()).toBe(false)
    expect(await person.signedIn()).toBe(true)
  })

  it('a password reset by mail ends every session, and every client hears', async () => {
    const { email, person, sid } = await somebody()
    const { id, refresh } = await person.tokens('rp-b', { scope: 'openid offline_access', prompt: 'consent' })
    const browser = clientBrowser()
    const start = await browser.get(authorizationRequest(server.issuer, 'own', { login_hint: email }).url)
    const recover = await choose(browser, start, 'recover')
    const asked = recover.forms.some(({ action }) => action.endsWith('/recover'))
      ? await browser.submit(recover, { identifier: email }, { form: '/recover' })
      : recover
    const mail = await mailbox.to(email, { count: 2 })
    const proven = await browser.submit(asked, { code: codeFrom(mail) }, { form: '/recover_code' })
    await browser.submit(proven, { password: 'another harbour lantern 48' }, { form: '/new_password' })
    expect((await sidsHeard(2)).sort()).toEqual([sid, payloadOf(id).sid].sort())
    expect(await person.signedIn()).toBe(false)
    expect((await client.refresh('rp-b', refresh)).body.error).toBe('invalid_grant')
  })

  it('disabling the account by command', async () => {
    const { email, person, sid } = await somebody()
    const { code, stderr } = await server.run('accounts', 'disable', email)
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(await sidsHeard(1)).toEqual([sid])
    expect(await person.signedIn()).toBe(false)
  })

  it('another person takes the browser over', async () => {
    const { person, sid } = await somebody()
    const page = await person.browser.get(authorizationRequest(server.issuer, 'own', { prompt: 'select_account' }).url)
    const other = await person.browser.submit(page, {}, { form: '/choose_account', button: 'other' })
    const password = await person.browser.submit(other, { identifier: ann.email }, { form: '/identifier' })
    const asks = await person.browser.submit(password, { password: 'quiet harbour lantern 47' }, { form: '/password' })
    await person.browser.submit(asks, {}, { form: '/switch_account', button: 'switch' })
    expect(await sidsHeard(1)).toEqual([sid])
    expect(await person.signedIn()).toBe(true)
  })
})
