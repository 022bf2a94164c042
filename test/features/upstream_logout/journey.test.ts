/**
 * Logouts at an upstream provider, by the front door (OpenID Connect Back-Channel Logout 1.0 §2.4 to §2.8; attacks A18 and A69):
 * the provider is an independent one, and its logout tokens are signed with its key.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { importJWK, SignJWT } from 'jose'
import type { JWK } from 'oidc-provider'
import * as oidc from 'openid-client'
import { type Browser, createBrowser } from '../../support/browser.ts'
import { startCanary } from '../../support/canary.ts'
import type { FakeUpstream } from '../../support/fake_upstream.ts'
import { type FaultProxy, startFaultProxy } from '../../support/fault_proxy.ts'
import { forgeries } from '../../support/forged_jwts.ts'
import { allow, authorization, discover, redeem, register, SETTINGS, signIn } from '../../support/journeys.ts'
import { codeFrom, mailFolder } from '../../support/mailbox.ts'
import { stepOf } from '../../support/people.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, type Stores, startServer } from '../../support/server.ts'
import { freePort } from '../../support/services.ts'
import { startProvider, travelTo } from '../../support/upstreams.ts'

const OWN = 'https://own.test.example'
const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const TYPE = { 'content-type': 'application/x-www-form-urlencoded' }

const OFFLINE = { scope: 'openid offline_access', prompt: 'consent' }

/** Says what the clients were told. */
const told: string[] = []
const receiver = createServer((request, response) => {
  told.push(request.url ?? '')
  request.resume().on('end', () => response.writeHead(200).end())
})
beforeAll(() => new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve)))
afterAll(() => new Promise((resolve) => receiver.close(resolve)))

interface Kind {
  readonly stores: Stores | 'embedded'
  /** What PostgreSQL is reached by. */
  readonly proxy?: FaultProxy
}

const KINDS: { readonly [name: string]: () => Promise<Kind> } = {
  'the embedded default': async () => ({ stores: 'embedded' }),
  'PostgreSQL and Redis': async () => {
    const stores = await realStores()
    const proxy = await startFaultProxy(stores.databaseUrl)
    return { stores: { ...stores, databaseUrl: proxy.url }, proxy }
  },
}

describe.each(sampleKinds(Object.entries(KINDS), import.meta.url))(
  'a logout at the provider, on %s',
  (name, kindOf) => {
    let kind: Kind
    let server: Server
    let fake: FakeUpstream
    let own: oidc.Configuration
    let addresses = 0

    beforeAll(async () => {
      kind = await kindOf()
      const port = await freePort()
      const issuer = `http://localhost:${port}`
      const provider = await startProvider(issuer)
      fake = provider.fake
      const listening = { backchannel_logout_uri: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/own` }
      const plain = {
        ...{ kind: 'oauth2', issuer: fake.issuer, client_id: 'x', client_secret: 'y', subject: 'sub', claims: {} },
        authorization_endpoint: `${fake.issuer}/auth`,
        token_endpoint: `${fake.issuer}/token`,
        profile_endpoint: `${fake.issuer}/me`,
      }
      server = await startServer({
        ...{ port, stores: kind.stores, env: { TRUSTED_PROXIES: '127.0.0.1' } },
        settings: {
          ...SETTINGS,
          clients: SETTINGS.clients.map((client) =>
            client.client_id === 'own' ? { ...client, ...listening } : client,
          ),
          outbound_private_networks: ['127.0.0.0/8'],
          upstreams: [
            { name: 'acme', title: 'Acme', ...provider.connection, trusted_domains: ['acme.example'] },
            { name: 'plain', ...plain },
          ],
        },
      })
      own = await discover(issuer, 'own')
    })
    afterAll(async () => {
      await server?.close()
      await fake?.stop()
      await kind?.proxy?.stop()
    })
    beforeEach(() => fake.tell({ reset: true, automatic: 'continue' }))

    const address = () => {
      addresses += 1
      return `10.7.${addresses >> 8}.${addresses & 255}`
    }
    const newBrowser = () =>
      createBrowser({ stopAt: ['https://', fake.issuer], headers: { 'x-forwarded-for': address() } })

    /** Comes from the provider's session `sid`. */
    async function come(account: string, sid: string | undefined, browser: Browser = newBrowser(), more: object = {}) {
      const claims = { email: `${account}@acme.example`, email_verified: true, name: account }
      await fake.tell({ account, claims, idToken: sid === undefined ? { without: ['sid'] } : { claims: { sid } } })
      const request = await authorization(own, `${OWN}/callback`, { scope: 'openid', ...more })
      const page = await travelTo(fake, server.issuer).through(browser, await browser.get(request.url))
      const isNew = page.forms.some(({ action }) => action.endsWith('/upstream_account'))
      const known = isNew ? await browser.submit(page, {}, { form: '/upstream_account' }) : page
      const isAsked = known.forms.some(({ action }) => action.endsWith('/consent'))
      const end = isAsked ? await allow(browser, known) : known
      return { browser, tokens: await redeem(own, request, end) }
    }

    /** Whether its session still leads to a code without a question. */
    async function isSignedIn(browser: Browser): Promise<boolean> {
      const request = await authorization(own, `${OWN}/callback`, { prompt: 'none' })
      const end = await browser.get(request.url)
      return end.params.has('code')
    }

    const now = () => Math.floor(Date.now() / 1000)
    const claimsOf = (more: object) => ({
      ...{ iss: fake.issuer, aud: 'genkan', iat: now(), exp: now() + 120, jti: randomUUID(), events: { [EVENT]: {} } },
      ...more,
    })
    const sign = async (claims: object, key: JWK, header: object = {}) =>
      new SignJWT({ ...claims })
        .setProtectedHeader({ alg: 'RS256', kid: String(key.kid), typ: 'logout+jwt', ...header })
        .sign(await importJWK(key as never, 'RS256'))
    const logoutToken = async (more: object) => sign(claimsOf(more), (await fake.seen()).key)

    const send = (body: string, { name = 'acme', ip = address(), headers = {} } = {}) =>
      fetch(`${server.origin}/upstream/${name}/backchannel-logout`, {
        ...{ method: 'POST', body, headers: { ...TYPE, 'x-forwarded-for': ip, ...headers } },
      })
    const post = (token: string, options?: Parameters<typeof send>[1]) =>
      send(String(new URLSearchParams({ logout_token: token })), options)

    it('with sid ends that session alone, tells its clients, and keeps what was granted offline (§2.7)', async () => {
      const [first, second] = [await come('sid', 's1', newBrowser(), OFFLINE), await come('sid', 's2')]
      told.length = 0
      const answer = await post(await logoutToken({ sid: 's1', sub: 'sid' }))
      expect([answer.status, answer.headers.get('cache-control'), answer.headers.get('set-cookie')]).toEqual([
        ...[200, 'no-store', null],
      ])
      expect(await answer.text()).toBe('')
      expect([await isSignedIn(first.browser), await isSignedIn(second.browser)]).toEqual([false, true])
      const refreshed = await oidc.refreshTokenGrant(own, first.tokens.refresh_token ?? '')
      expect(refreshed.access_token).toEqual(expect.any(String))
      for (let tries = 0; told.length === 0 && tries < 100; tries++) await new Promise((done) => setTimeout(done, 100))
      expect(told).toEqual(['/own'])
    })

    it('ends what was granted for the session only', async () => {
      const { tokens } = await come('plain', 'plain-1')
      const sub = tokens.claims()?.sub ?? ''
      expect(await oidc.fetchUserInfo(own, tokens.access_token, sub)).toMatchObject({ sub })
      expect((await post(await logoutToken({ sid: 'plain-1' }))).status).toBe(200)
      await expect(oidc.fetchUserInfo(own, tokens.access_token, sub)).rejects.toMatchObject({ status: 401 })
    })

    it('with sub alone ends every session by that provider, and none of another account or of another method', async () => {
      const email = 'both@acme.example'
      const byPassword = newBrowser()
      const request = await authorization(own, `${OWN}/callback`, { prompt: 'create' })
      await register(byPassword, await byPassword.get(request.url), mailFolder(server.dataDir), email)
      const [first, second, other] = [
        await come('both', 'b1'),
        await come('both', undefined),
        await come('other', 'o1'),
      ]
      expect((await post(await logoutToken({ sub: 'both' }))).status).toBe(200)
      expect([await isSignedIn(first.browser), await isSignedIn(second.browser)]).toEqual([false, false])
      expect([await isSignedIn(byPassword), await isSignedIn(other.browser)]).toEqual([true, true])
    })

    it('ends a session in which a password was shown later, too', async () => {
      const email = 'later@acme.example'
      const atFirst = newBrowser()
      const request = await authorization(own, `${OWN}/callback`, { prompt: 'create' })
      await register(atFirst, await atFirst.get(request.url), mailFolder(server.dataDir), email)
      const { browser } = await come('later', 'l1')
      const again = await authorization(own, `${OWN}/callback`, { prompt: 'login' })
      const end = await signIn(browser, await browser.get(again.url), email)
      expect(end.params.has('code')).toBe(true)
      expect((await post(await logoutToken({ sid: 'l1' }))).status).toBe(200)
      expect(await isSignedIn(browser)).toBe(false)
    })

    it.each([['sub'], ['sid']])(
      'by %s from before a sign-in leaves that alone, however late it comes',
      async (name) => {
        const account = `late-${name}`
        const { browser } = await come(account, account)
        const old = { iat: now() - 120, [name]: account }
        expect((await post(await logoutToken(old))).status).toBe(200)
        expect(await isSignedIn(browser)).toBe(true)
        expect((await post(await logoutToken({ [name]: account }))).status).toBe(200)
        expect(await isSignedIn(browser)).toBe(false)
      },
    )

    it.each(['sid', 'sub'])('by %s that comes before the session has begun lets none begin', async (name) => {
      const email = `between-${name}@elsewhere.example`
      const begin = async () => {
        const browser = newBrowser()
        await fake.tell({
          account: email,
          claims: { email, email_verified: true },
          idToken: { claims: { sid: email } },
        })
        const request = await authorization(own, `${OWN}/callback`, { scope: 'openid' })
        return { browser, page: await travelTo(fake, server.issuer).through(browser, await browser.get(request.url)) }
      }
      // The provider is not trusted for the domain: the mailbox is to be proven first.
      const { browser, page } = await begin()
      const waiting = await browser.submit(page, { email }, { form: '/upstream_account' })
      const code = codeFrom(await mailFolder(server.dataDir).to(email))
      const later = now() + 1
      await new Promise((done) => setTimeout(done, 1100))
      expect((await post(await logoutToken({ [name]: email, iat: later }))).status).toBe(200)
      const end = await browser.submit(waiting, { code }, { form: '/verify_email' })
      expect([end.params.has('code'), stepOf(end)]).toEqual([false, 'identifier'])
      expect(await isSignedIn(browser)).toBe(false)
      // Shown there again it counts, however soon.
      expect((await begin()).page.params.has('code')).toBe(true)
    })

    it('of nobody who is here is a success (§2.7)', async () => {
      expect((await post(await logoutToken({ sid: 'nobody' }))).status).toBe(200)
      expect((await post(await logoutToken({ sub: 'nobody' }))).status).toBe(200)
    })

    it('is taken once: of twenty at once one is, and none later (§2.6)', async () => {
      await come('once', 'once-1')
      const token = await logoutToken({ sub: 'once' })
      const answers = await Promise.all(Array.from({ length: 20 }, () => post(token)))
      const count = (status: number) => answers.filter((answer) => answer.status === status).length
      expect([count(200), count(400)]).toEqual([1, 19])
      const { browser } = await come('once', 'once-2')
      expect((await post(token)).status).toBe(400)
      expect(await isSignedIn(browser)).toBe(true)
    })

    describe('A18: that does not hold what it must', () => {
      let browser: Browser
      beforeAll(async () => {
        browser = (await come('victim', 'v1')).browser
      })

      const WRONG: { readonly [what: string]: (key: JWK, foreign: JWK) => Promise<string> } = {
        'is unsigned': async () => {
          const text = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
          return `${text({ alg: 'none', typ: 'logout+jwt' })}.${text(claimsOf({ sub: 'victim' }))}.`
        },
        'is signed by a foreign key': (key, foreign) => sign(claimsOf({ sub: 'victim' }), foreign, { kid: key.kid }),
        'is for another audience': (key) => sign(claimsOf({ sub: 'victim', aud: 'somebody-else' }), key),
        'is of another issuer': (key) => sign(claimsOf({ sub: 'victim', iss: 'https://evil.example' }), key),
        'bears a nonce': (key) => sign(claimsOf({ sub: 'victim', nonce: 'n' }), key),
        'bears an empty nonce': (key) => sign(claimsOf({ sub: 'victim', nonce: '' }), key),
        'names no event': (key) => sign(claimsOf({ sub: 'victim', events: undefined }), key),
        'names another event': (key) => sign(claimsOf({ sub: 'victim', events: { 'urn:x': {} } }), key),
        'has no jti': (key) => sign(claimsOf({ sub: 'victim', jti: undefined }), key),
        'is over': (key) => sign(claimsOf({ sub: 'victim', iat: now() - 300, exp: now() - 60 }), key),
        'is of the future': (key) => sign(claimsOf({ sub: 'victim', iat: now() + 300, exp: now() + 600 }), key),
        'names nobody': (key) => sign(claimsOf({}), key),
        'is an ID token': (key) =>
          sign(claimsOf({ sub: 'victim', sid: 'v1', nonce: 'n', events: undefined }), key, { typ: 'JWT' }),
        'is an access token': (key) => sign(claimsOf({ sub: 'victim' }), key, { typ: 'at+jwt' }),
        'is empty': async () => '',
      }

      it.each(Object.entries(WRONG))('%s', async (_name, make) => {
        const { key, foreignKey } = await fake.seen()
        const answer = await post(await make(key, foreignKey))
        expect([answer.status, answer.headers.get('cache-control')]).toEqual([400, 'no-store'])
        expect(answer.headers.get('content-type')).toContain('application/json')
        expect(await answer.json()).toEqual({
          error: 'invalid_request',
          error_description: 'the logout token was not accepted',
        })
        expect(await isSignedIn(browser)).toBe(true)
      })

      it('comes in an odd body', async () => {
        const token = await logoutToken({ sub: 'victim' })
        const field = `logout_token=${token}`
        const bodies: [string, { [name: string]: string }?][] = [
          ['', {}],
          [`token=${token}`, {}],
          [`${field}&${field}`, {}],
          [`${field}&x=${'x'.repeat(20_000)}`, {}],
          [JSON.stringify({ logout_token: token }), { 'content-type': 'application/json' }],
          [`${field}&x=%zz`, {}],
        ]
        for (const [body, headers = {}] of bodies) {
          const answer = await send(body, { headers })
          expect([body.slice(0, 20), answer.status, await answer.json()]).toEqual([
            ...[body.slice(0, 20), 400],
            expect.objectContaining({ error: 'invalid_request' }),
          ])
        }
        const query = await fetch(`${server.origin}/upstream/acme/backchannel-logout?${field}`)
        expect([query.status, await isSignedIn(browser)]).toEqual([405, true])
      })

      it('is one of a corpus of forgeries (A69): nothing is fetched', async () => {
        const canary = await startCanary()
        try {
          const { key } = await fake.seen()
          const { kty = '', n = '', e = '', kid } = key
          const header = { alg: 'RS256', kid, typ: 'logout+jwt' }
          const claims = claimsOf({ sub: 'victim' })
          const corpus = forgeries({ header, claims, publicJwk: { kty, n, e }, canary: canary.origin })
          expect(corpus.length).toBeGreaterThan(40)
          const taken: string[] = []
          for (const { name, jwt } of corpus) if ((await post(jwt)).status !== 400) taken.push(name)
          expect([taken, canary.calls(), await isSignedIn(browser)]).toEqual([[], 0, true])
        } finally {
          await canary.stop()
        }
      })

      it('comes too often from one network: that waits, the provider does not', async () => {
        const ip = '192.0.2.77'
        const answers = await Promise.all(Array.from({ length: 60 }, () => post('x', { ip })))
        expect(answers.every(({ status }) => status === 400)).toBe(true)
        const token = await logoutToken({ sub: 'victim' })
        const limited = await post(token, { ip })
        expect([limited.status, Number(limited.headers.get('retry-after')) > 0]).toEqual([429, true])
        expect(await isSignedIn(browser)).toBe(true)
        expect((await post(token)).status).toBe(200)
        expect(await isSignedIn(browser)).toBe(false)
      })
    })

    it('at an address of no such provider, of a protocol without logout, or of one that is off, is not found', async () => {
      const { browser } = await come('off', 'off-1')
      const token = await logoutToken({ sub: 'off' })
      for (const name of ['nobody', 'plain', 'ACME'])
        expect([name, (await post(token, { name })).status]).toEqual([name, 404])
      await server.run('upstreams', 'disable', 'acme')
      try {
        expect((await post(token)).status).toBe(404)
      } finally {
        await server.run('upstreams', 'enable', 'acme')
      }
      expect(await isSignedIn(browser)).toBe(true)
      expect((await post(token)).status).toBe(200)
      expect(await isSignedIn(browser)).toBe(false)
    })

    it('while the provider’s keys cannot be read is a 503, and the same token works later', async () => {
      const { browser } = await come('keyless', 'k1')
      await fake.tell({ rotate: true })
      const token = await logoutToken({ sub: 'keyless' })
      await server.shiftDate(20)
      try {
        await fake.tell({ faults: { '/jwks': { status: 500 } } })
        const answer = await post(token)
        expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '10'])
        await fake.tell({ faults: {} })
        expect((await post(token)).status).toBe(200)
        expect(await isSignedIn(browser)).toBe(false)
      } finally {
        await server.shiftDate(0)
      }
    })

    // The embedded database is never away.
    if (name !== 'the embedded default') {
      it('while the database is away is a 503, and the same token works later', async () => {
        const { browser } = await come('away', 'away-1')
        const token = await logoutToken({ sub: 'away' })
        kind.proxy?.set({ kind: 'reset' })
        const answer = await post(token)
        expect([answer.status, answer.headers.has('retry-after')]).toEqual([503, true])
        kind.proxy?.set({ kind: 'none' })
        let status = 503
        for (let tries = 0; status === 503 && tries < 50; tries++) {
          await new Promise((done) => setTimeout(done, 100))
          status = (await post(token)).status
        }
        expect(status).toBe(200)
        expect(await isSignedIn(browser)).toBe(false)
      })
    }

    it('the addresses to register are printed', async () => {
      const url = `${server.issuer}/upstream/acme`
      const { stdout } = await server.run('upstreams', 'test', 'acme', '--json')
      expect(JSON.parse(stdout)).toMatchObject({
        callback: `${url}/callback`,
        backchannel_logout_uri: `${url}/backchannel-logout`,
      })
      const { stdout: plain } = await server.run('upstreams', 'test', 'plain', '--json')
      expect(JSON.parse(plain)).not.toHaveProperty('backchannel_logout_uri')
    })
  },
)
