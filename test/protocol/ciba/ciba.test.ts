/**
 * OpenID Connect Client-Initiated Backchannel Authentication Core 1.0, by the modules of the suite's plan fapi-ciba-id1
 * (PROTOCOL.md A1). Attacks on it are in test/attacks/ciba.test.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { allowLatest, answer, CIBA, CIBA_CLIENTS, openLatest, till, waiting } from '../../support/approvals.ts'
import { API, SETTINGS } from '../../support/journeys.ts'
import { mailFolder, type SmtpMailbox, startMailbox } from '../../support/mailbox.ts'
import { newPerson, type Person } from '../../support/people.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import { clientRequests, payloadOf, tokensOf } from '../../support/token_requests.ts'

const settings = { ...SETTINGS, clients: [...SETTINGS.clients, ...CIBA_CLIENTS] }

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))(
  'fapi-ciba-id1 on %s',
  (kind) => {
    let server: Server
    let mailbox: SmtpMailbox
    let origin: string
    let shop: ReturnType<typeof till>
    let people = 0
    /** Somebody new: a client may ask the same person only so often. */
    const somebody = () => newPerson(server.issuer, mailbox, `person-${++people}@example.com`)

    beforeAll(async () => {
      mailbox = await startMailbox()
      const stores = kind === 'embedded' ? {} : { stores: await realStores() }
      server = await startServer({ settings, env: { SMTP_URL: mailbox.url }, ...stores })
      origin = server.issuer
      shop = till(origin)
    })
    afterAll(async () => {
      await server?.close()
      await mailbox?.stop()
    })

    /** Asks for somebody, who answers; the code to poll with. */
    async function answered(person: Person, what: 'allow' | 'deny', fields: { [name: string]: string } = {}) {
      const id = await shop.ask({ login_hint: person.email, ...fields })
      const end = await answer(person.browser, await openLatest(person, origin), what)
      expect(end.text).toContain(what === 'allow' ? 'You have allowed it' : 'You have denied it')
      return id
    }

    it('fapi-ciba-id1-discovery-end-point-verification', async () => {
      const metadata = (await (await fetch(`${origin}/.well-known/openid-configuration`)).json()) as object
      expect(metadata).toMatchObject({
        backchannel_authentication_endpoint: `${origin}/backchannel`,
        backchannel_token_delivery_modes_supported: ['poll', 'ping'],
        backchannel_user_code_parameter_supported: false,
        grant_types_supported: expect.arrayContaining([CIBA]),
      })
    })

    it('fapi-ciba-id1: a mail leads to the page, the person allows, and the client has tokens like any others', async () => {
      const ann = await somebody()
      const asked = {
        login_hint: ann.email.toUpperCase(),
        scope: 'openid email offline_access',
        binding_message: 'W4SCT',
      }
      const { status, body } = await shop.request(asked)
      expect([status, body]).toEqual([200, { auth_req_id: expect.any(String), expires_in: 300 }])
      const id = String(body.auth_req_id)
      expect((await shop.poll(id)).body.error).toBe('authorization_pending')

      const mail = await mailbox.to(ann.email, { count: 2 })
      expect(mail.subject).toContain('Harbour till')
      const home = await ann.browser.get(`${origin}/account`)
      expect(home.text).toContain('1 service waits for your answer')
      const page = await openLatest(ann, origin)
      expect(mail.text).toContain(page.url)
      for (const text of ['Allow Harbour till to use your account?', 'W4SCT', 'Asked now'])
        expect(page.text).toContain(text)
      // Opening the page and its list has allowed nothing.
      await sleep(4100)
      expect((await shop.poll(id)).body.error).toBe('authorization_pending')
      expect((await answer(ann.browser, page, 'allow')).text).toContain('You have allowed it')
      const { access, refresh, id: idToken } = tokensOf(await shop.poll(id))
      expect(payloadOf(idToken)).toMatchObject({ aud: 'till', iss: origin, acr: expect.any(String), amr: ['pwd'] })
      expect(Number(payloadOf(idToken).auth_time)).toBeGreaterThan(Date.now() / 1000 - 120)
      const client = clientRequests(origin)
      expect((await client.userinfo(access)).body.email).toBe(ann.email)
      expect((await client.refresh('till', refresh)).status).toBe(200)

      // Seen and taken back like any other.
      const clients = await ann.browser.get(`${origin}/account/clients`)
      await ann.browser.submit(clients, {}, { form: '/account/clients/till/revoke' })
      expect((await client.userinfo(access)).status).toBe(401)
      const facts = await server.run('audit', 'list', '--type', 'approval.granted', '--json')
      expect(facts.stdout).toContain('"till"')
    })

    it('fapi-ciba-id1-user-rejects-authentication: access_denied', async () => {
      const id = await answered(await somebody(), 'deny')
      expect(await shop.poll(id)).toMatchObject({ status: 400, body: { error: 'access_denied' } })
    })

    it('fapi-ciba-id1-multiple-call-to-token-endpoint: slow_down', async () => {
      const id = await shop.ask({ login_hint: (await somebody()).email })
      const polls = [await shop.poll(id), await shop.poll(id)]
      expect(polls.map(({ body }) => body.error)).toEqual(['authorization_pending', 'slow_down'])
    })

    it('fapi-ciba-id1-auth-req-id-expired: expired_token, and the page is gone', async () => {
      const ann = await somebody()
      const { body } = await shop.request({ login_hint: ann.email, requested_expiry: '30' })
      expect(body.expires_in).toBe(30)
      const page = await openLatest(ann, origin)
      await server.shiftDate(31)
      try {
        expect((await shop.poll(String(body.auth_req_id))).body.error).toBe('expired_token')
        expect(await answer(ann.browser, page, 'allow')).toMatchObject({ status: 409 })
        expect(await waiting(ann, origin)).toEqual([])
      } finally {
        await server.shiftDate(0)
      }
    })

    it.each([
      ['1', 30],
      ['90', 90],
      ['86400', 600],
    ])('requested_expiry %s is answered by expires_in %d', async (wish, expiresIn) => {
      const asked = { login_hint: 'nobody@example.com', requested_expiry: wish }
      expect((await shop.request(asked)).body.expires_in).toBe(expiresIn)
    })

    it.each(['1234', 'W4SCT', 'Pay 19.90 € to Ångström', '注文 1234 を確認', 'ก'.repeat(100)])(
      'fapi-ciba-id1-ensure-authorization-request-with-potentially-bad-binding-message: %s is shown',
      async (message) => {
        expect((await shop.request({ login_hint: 'nobody@example.com', binding_message: message })).status).toBe(200)
      },
    )

    it.each([
      ['without a hint', {}, 'invalid_request'],
      ['with two hints (multiple-hints)', { login_hint: 'a@example.com', id_token_hint: 'x' }, 'invalid_request'],
      ['with a login_hint_token', { login_hint_token: 'x' }, 'invalid_request'],
      ['with a user_code', { login_hint: 'a@example.com', user_code: '1234' }, 'invalid_request'],
      ['with a forged id_token_hint', { id_token_hint: 'a.b.c' }, 'invalid_request'],
      ['with requested_expiry=0', { login_hint: 'a@example.com', requested_expiry: '0' }, 'invalid_request'],
      ['with requested_expiry=x', { login_hint: 'a@example.com', requested_expiry: 'x' }, 'invalid_request'],
      ['without openid in scope', { login_hint: 'a@example.com', scope: 'email' }, 'invalid_request'],
      ['with a scope that it may not have', { login_hint: 'a@example.com', scope: 'openid phone' }, 'invalid_scope'],
    ])('refuses a request %s', async (_name, fields, error) => {
      const { status, body } = await shop.request(fields)
      expect([status, body.error]).toEqual([400, error])
    })

    it('refuses clients without the grant, without their secret, and unknown ones', async () => {
      const fields = { login_hint: 'nobody@example.com' }
      expect((await till(origin, 'web').request(fields)).status).toBe(400)
      expect((await till(origin, 'unknown').request(fields)).body.error).toBe('invalid_client')
      const bare = new URLSearchParams({ ...fields, scope: 'openid', client_id: 'till' })
      expect((await fetch(`${origin}/backchannel`, { method: 'POST', body: bare })).status).toBe(401)
    })

    it('an id_token_hint of this client names the person, also long after', async () => {
      const ann = await somebody()
      const { id: hint } = tokensOf(await shop.poll(await answered(ann, 'allow')))
      const id = await shop.ask({ id_token_hint: hint })
      expect((await allowLatest(ann, origin)).text).toContain('You have allowed it')
      expect(payloadOf(tokensOf(await shop.poll(id)).id).sub).toBe(payloadOf(hint).sub)
    })

    it('a token for a resource server says what was allowed, and how the person had signed in (RFC 8707, RFC 9068)', async () => {
      const ann = await somebody()
      const warehouse = till(origin, 'warehouse')
      const id = await warehouse.ask({ login_hint: ann.email, scope: 'openid orders:read', resource: API })
      const page = await openLatest(ann, origin)
      expect(page.text).toContain('orders:read')
      expect(page.text).toContain(API)
      await answer(ann.browser, page, 'allow')
      expect(payloadOf(tokensOf(await warehouse.poll(id)).access)).toMatchObject({
        ...{ aud: API, client_id: 'warehouse', scope: 'orders:read', amr: ['pwd'] },
        ...{ acr: expect.any(String), auth_time: expect.any(Number) },
      })
    })

    it('of the levels that the request wishes for, the answer names the first that was reached', async () => {
      const ann = await somebody()
      const acrs = 'urn:genkan:acr:mfa urn:genkan:acr:basic'
      const id = await answered(ann, 'allow', { acr_values: acrs })
      expect(payloadOf(tokensOf(await shop.poll(id)).id).acr).toBe('urn:genkan:acr:basic')
    })

    it('the answer is fetched once, also by twenty at the same moment, and then its tokens are dead', async () => {
      const id = await answered(await somebody(), 'allow', { scope: 'openid email' })
      const answers = await Promise.all(Array.from({ length: 20 }, () => shop.poll(id)))
      const good = answers.filter(({ status }) => status === 200)
      expect(good).toHaveLength(1)
      expect(answers.filter(({ body }) => body.error === 'invalid_grant')).toHaveLength(19)
      const { access } = tokensOf(good[0] as (typeof answers)[number])
      expect((await clientRequests(origin).userinfo(access)).status).toBe(401)
    })

    it('fapi-ciba-id1-ensure-wrong-auth-req-id and -wrong-client-id-in-token-endpoint: invalid_grant', async () => {
      expect((await shop.poll('this-is-no-request-of-anybody')).body.error).toBe('invalid_grant')
      const id = await answered(await somebody(), 'allow')
      const stolen = await till(origin, 'other-till').poll(id)
      expect([stolen.status, stolen.body.error]).toEqual([400, 'invalid_grant'])
      // Whoever showed it to the wrong one has lost it (RFC 9700 §4).
      expect((await shop.poll(id)).body.error).toBe('invalid_grant')
    })

    it('an account that is disabled between the answer and its fetching gets the client nothing', async () => {
      const ann = await somebody()
      const id = await answered(ann, 'allow')
      await server.run('accounts', 'disable', ann.email, '--reason', 'test')
      expect((await shop.poll(id)).body.error).toBe('invalid_grant')
    })

    it('the sign-in that allowed it ends, and with it what was not asked for offline', async () => {
      const ann = await somebody()
      const { access } = tokensOf(await shop.poll(await answered(ann, 'allow', { scope: 'openid email' })))
      const client = clientRequests(origin)
      expect((await client.userinfo(access)).status).toBe(200)
      const page = await ann.browser.get(`${origin}/account`)
      await ann.browser.submit(page, {}, { form: '/account/sign-out' })
      expect((await client.userinfo(access)).status).toBe(401)
    })

    it('two tabs: one answer', async () => {
      const ann = await somebody()
      const id = await shop.ask({ login_hint: ann.email })
      const page = await openLatest(ann, origin)
      const ends = await Promise.all([
        answer(ann.browser, page, 'allow'),
        answer(ann.browser, page, 'deny'),
        answer(ann.browser, page, 'allow'),
      ])
      expect(ends.map(({ status }) => status).sort()).toEqual([200, 409, 409])
      const allowed = [ends[0], ends[2]].some((end) => end?.status === 200)
      const { status, body } = await shop.poll(id)
      expect([status, body.error]).toEqual(allowed ? [200, undefined] : [400, 'access_denied'])
    })
  },
)

it('what was asked and answered outlives a restart of the embedded default', async () => {
  const server = await startServer({ settings })
  try {
    const ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
    const shop = till(server.issuer)
    const [first, second] = [await shop.ask({ login_hint: ann.email }), await shop.ask({ login_hint: ann.email })]
    await allowLatest(ann, server.issuer)
    await server.restart()
    await allowLatest(ann, server.issuer)
    expect([(await shop.poll(first)).status, (await shop.poll(second)).status]).toEqual([200, 200])
  } finally {
    await server.close()
  }
})

it('only with the setting somebody answers for people: the suite, at its own address', async () => {
  const person = 'ann@example.com'
  const hook = async ({ issuer }: Server, id: string, action: string) =>
    (await fetch(`${issuer}/conformance/ciba?${new URLSearchParams({ auth_req_id: id, action })}`)).status
  const server = await startServer({ settings: { ...settings, conformance: { ciba_hook: true } } })
  try {
    await newPerson(server.issuer, mailFolder(server.dataDir), person)
    const shop = till(server.issuer)
    const ids = [await shop.ask({ login_hint: person }), await shop.ask({ login_hint: person })] as const
    expect(await hook(server, ids[0], 'perhaps')).toBe(400)
    expect(await hook(server, ids[0], 'allow')).toBe(204)
    expect(await hook(server, ids[0], 'allow')).toBe(404)
    expect(await hook(server, ids[1], 'deny')).toBe(204)
    expect((await shop.poll(ids[0])).status).toBe(200)
    expect((await shop.poll(ids[1])).body.error).toBe('access_denied')
  } finally {
    await server.close()
  }
  const closed = await startServer({ settings })
  try {
    await newPerson(closed.issuer, mailFolder(closed.dataDir), person)
    const id = await till(closed.issuer).ask({ login_hint: person })
    expect(await hook(closed, id, 'allow')).toBe(404)
    expect((await till(closed.issuer).poll(id)).body.error).toBe('authorization_pending')
  } finally {
    await closed.close()
  }
})
