/** RFC 7592: clients that read, replace and delete themselves. PROTOCOL.md E 39. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { API, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, newPerson, OFFLINE } from '../../support/people.ts'
import {
  initialToken,
  type Metadata,
  POLICIES,
  type RegisteredClient,
  type Registrar,
  registered,
  registrar,
  WEB_CLIENT,
} from '../../support/registrations.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import { basic, postForm, type TokenAnswer, tokensOf } from '../../support/token_requests.ts'

const DAY = 86_400
const settings = {
  ...SETTINGS,
  client_registration: {
    requests_per_address: 10_000,
    policies: { ...POLICIES, brief: { ...POLICIES.web, client_days: 1 } },
  },
}
const MACHINE = { grant_types: ['client_credentials'], redirect_uris: [], scope: 'orders:read' }

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))('management on %s', (kind) => {
  let server: Server
  let client: Registrar
  let initial: string

  beforeAll(async () => {
    server = await startServer({ settings, stores: kind === 'embedded' ? kind : await realStores() })
    client = registrar(server.issuer)
    initial = await initialToken(server, 'web')
  })
  afterAll(() => server?.close())

  const made = async (more: Metadata = {}, by = initial) =>
    registered(await client.register(by, { ...WEB_CLIENT, ...more }))
  const machine = () => made(MACHINE)
  const works = async ({ id }: RegisteredClient, secret: string) => {
    const fields = { grant_type: 'client_credentials', resource: API, scope: 'orders:read' }
    return (await postForm(`${server.issuer}/token`, fields, basic(id, secret))).status === 200
  }
  const expectRefused = (answer: TokenAnswer, status = 401, error = 'invalid_token') => {
    expect(answer).toMatchObject({ status, body: { error } })
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.body).not.toHaveProperty('registration_access_token')
  }

  it('§2.1 reads what is registered, but for the secret, of which there is only a hash', async () => {
    const { id, token, body } = await made()
    const { client_secret: secret, client_secret_expires_at: expires, ...rest } = body
    expect([typeof secret, expires]).toEqual(['string', 0])
    const answer = await client.read(id, token)
    expect(answer).toMatchObject({ status: 200, body: rest })
    expect(answer.body).not.toHaveProperty('client_secret')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect((await client.read(id, token)).status).toBe(200)
  })

  describe('§2.2 replacing', () => {
    it('takes the place of all metadata, and renews the token', async () => {
      const { id, token, secret } = await made({ client_uri: 'https://garden.test.example', contacts: ['a@b.example'] })
      const change = { ...WEB_CLIENT, client_id: id, client_secret: secret, client_name: 'Planner', contacts: null }
      const answer = registered(await client.replace(id, token, change))
      expect(answer.body).toMatchObject({ client_id: id, client_name: 'Planner', client_secret: secret })
      for (const gone of ['client_uri', 'contacts']) expect(answer.body).not.toHaveProperty(gone)
      expect(answer.token).not.toBe(token)
      expectRefused(await client.read(id, token))
      expect((await client.read(id, answer.token)).body).toMatchObject({ client_name: 'Planner' })
      const { stdout } = await server.run('audit', 'list', '--client', id, '--json')
      for (const type of ['client.updated', 'registration_token.renewed']) expect(stdout).toContain(type)
      for (const secretly of [token, answer.token, secret]) expect(stdout).not.toContain(secretly)
    })

    it('leaves a client the secret that it sends, and gives another to one that has lost it', async () => {
      const first = await machine()
      expect(await works(first, first.secret)).toBe(true)
      const whole = { ...WEB_CLIENT, ...MACHINE, client_id: first.id }
      const kept = registered(await client.replace(first.id, first.token, { ...whole, client_secret: first.secret }))
      expect(kept.secret).toBe(first.secret)
      expect(await works(first, first.secret)).toBe(true)
      const lost = registered(await client.replace(first.id, kept.token, whole))
      expect(lost.secret).toMatch(/^[\w-]{43}$/)
      expect([await works(first, first.secret), await works(first, lost.secret)]).toEqual([false, true])
      const wrong = { ...whole, client_secret: first.secret }
      expectRefused(await client.replace(first.id, lost.token, wrong), 400, 'invalid_client_metadata')
      expect(await works(first, lost.secret)).toBe(true)
    })

    it('ends the secret of a client that becomes public, and makes one for a client that is not any more', async () => {
      const { id, token, secret } = await made()
      const change = { ...WEB_CLIENT, client_id: id, token_endpoint_auth_method: 'none' }
      const open = registered(await client.replace(id, token, { ...change, client_secret: secret }))
      expect(open.body).not.toHaveProperty('client_secret')
      const { secrets } = JSON.parse((await server.run('clients', 'show', id, '--json')).stdout) as Metadata
      expect(secrets).toEqual([])
      const closed = { ...change, token_endpoint_auth_method: 'client_secret_post' }
      expect(registered(await client.replace(id, open.token, closed)).secret).toMatch(/^[\w-]{43}$/)
    })

    it('refuses what is not this client, what only the provider says, and what its policy does not allow', async () => {
      const { id, token } = await made()
      const whole = { ...WEB_CLIENT, client_id: id }
      const bad: readonly Metadata[] = [
        { ...whole, client_id: 'web' },
        WEB_CLIENT,
        { ...whole, registration_access_token: token },
        { ...whole, registration_client_uri: `${server.issuer}/reg/${id}` },
        { ...whole, client_secret_expires_at: 0 },
        { ...whole, client_id_issued_at: 1 },
        { ...whole, scope: 'openid orders:write' },
        { ...whole, first_party: true },
        { ...whole, unverified: false },
      ]
      for (const change of bad) {
        expectRefused(await client.replace(id, token, change), 400, 'invalid_client_metadata')
      }
      const elsewhere = { ...whole, redirect_uris: ['https://elsewhere.example/cb'] }
      expectRefused(await client.replace(id, token, elsewhere), 400, 'invalid_redirect_uri')
      // Nothing has changed, the token least of all.
      expect((await client.read(id, token)).body).toMatchObject(WEB_CLIENT)
      expect((await client.replace(id, token, whole)).status).toBe(200)
    })

    it('of ten changes at once exactly one is made', async () => {
      const { id, token } = await made()
      const change = (i: number) => client.replace(id, token, { ...WEB_CLIENT, client_id: id, client_name: `No. ${i}` })
      const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => change(i)))
      const good = answers.filter(({ status }) => status === 200)
      expect(good).toHaveLength(1)
      expect(answers.filter(({ status }) => status === 401)).toHaveLength(9)
      expect((await client.read(id, registered(good[0] as TokenAnswer).token)).status).toBe(200)
    })
  })

  describe('§2 the registration access token', () => {
    it('is needed, and none that is alike', async () => {
      const { id, token } = await made()
      const nobody = await client.read(id, undefined)
      expectRefused(nobody)
      expect(nobody.headers.get('www-authenticate')).toBe('Bearer')
      for (const wrong of ['x', initial, `${token}x`, token.toLowerCase()]) {
        expectRefused(await client.read(id, wrong))
        expectRefused(await client.replace(id, wrong, { ...WEB_CLIENT, client_id: id }))
        expectRefused(await client.remove(id, wrong))
      }
      expect((await client.read(id, token)).status).toBe(200)
    })

    it('ends when it is shown for another client, whether that is there or not', async () => {
      const other = await made()
      for (const wrong of [other.id, 'dyn-nobody', 'web', '%00', 'x'.repeat(5000)]) {
        const { id, token } = await made()
        const before = await client.read(id, token)
        expect(before.status).toBe(200)
        expectRefused(await client.read(wrong, token))
        expectRefused(await client.read(id, token))
      }
      expect((await client.read(other.id, other.token)).status).toBe(200)
      const { stdout } = await server.run('audit', 'list', '--type', 'registration_token.revoked', '--json')
      expect(stdout).toContain('shown_for_another_client')
    })

    it('is no use to a declared client, to a disabled one, and after the policy is gone', async () => {
      const { id, token } = await made()
      await server.run('clients', 'disable', id, '--reason', 'abuse')
      for (const answer of [await client.read(id, token), await client.remove(id, token)]) {
        expectRefused(answer, 403, 'access_denied')
      }
      await server.run('clients', 'enable', id)
      expect((await client.read(id, token)).status).toBe(200)
    })
  })

  describe('§2.3 deleting', () => {
    it('ends the client with all that people gave it', async () => {
      const person = await newPerson(server.issuer, mailFolder(server.dataDir), `deleted-${kind.length}@example.com`)
      const redirect = { redirect_uri: 'https://garden.test.example/callback' }
      const owned = await made()
      const code = async () => person.code(owned.id, { ...redirect, ...OFFLINE })
      const redeem = async ({ code: value, verifier, redirectUri }: Awaited<ReturnType<typeof code>>) =>
        post(owned, {
          grant_type: 'authorization_code',
          code: value,
          code_verifier: verifier,
          redirect_uri: redirectUri,
        })
      const { access, refresh } = tokensOf(await redeem(await code()))
      expect((await userinfo(access)).status).toBe(200)
      expect((await person.browser.get(`${server.issuer}/account/clients`)).text).toContain('Garden Planner')
      const unspent = await code()

      const answer = await client.remove(owned.id, owned.token)
      expect(answer).toMatchObject({ status: 204, body: { text: '' } })
      expectRefused(await client.read(owned.id, owned.token))
      expectRefused(await client.remove(owned.id, owned.token))
      expect((await post(owned, { grant_type: 'refresh_token', refresh_token: refresh })).status).toBe(401)
      expect((await redeem(unspent)).status).toBe(401)
      expect((await userinfo(access)).status).toBe(401)
      expect((await person.browser.get(authorizationRequest(server.issuer, owned.id, redirect).url)).status).toBe(400)
      expect((await person.browser.get(`${server.issuer}/account/clients`)).text).not.toContain(owned.id)
      const facts = await server.run('audit', 'list', '--client', owned.id, '--json')
      for (const type of ['client.created', 'consent.granted', 'client.deleted', 'consent.revoked', 'grant.revoked'])
        expect(facts.stdout).toContain(type)
      expect(await person.signedIn()).toBe(true)
    })

    const post = ({ id, secret }: RegisteredClient, fields: { [name: string]: string }) =>
      postForm(`${server.issuer}/token`, fields, basic(id, secret))
    const userinfo = (access: string) =>
      fetch(`${server.issuer}/me`, { headers: { authorization: `Bearer ${access}` } })
  })

  it('a client whose time is over is disabled, and says when its secret ends', async () => {
    const brief = await made(MACHINE, await initialToken(server, 'brief'))
    const until = Number(brief.body.client_secret_expires_at)
    expect(Math.abs(until - Number(brief.body.client_id_issued_at) - DAY)).toBeLessThan(2)
    expect(await works(brief, brief.secret)).toBe(true)
    await server.shiftDate(DAY + 60)
    expect(await works(brief, brief.secret)).toBe(false)
    const isDisabled = async () => {
      const { disabled_at: at } = JSON.parse(
        (await server.run('clients', 'show', brief.id, '--json')).stdout,
      ) as Metadata
      return at !== undefined
    }
    // The job looks each minute.
    await server.restart()
    await expectSoon(isDisabled)
    expectRefused(await client.read(brief.id, brief.token), 403, 'access_denied')
    const facts = await server.run('audit', 'list', '--client', brief.id, '--json')
    expect(facts.stdout).toContain('registration_expired')
    await server.shiftDate(0)
  })
})

async function expectSoon(check: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 100; tries++) if (await check()) return
  throw new Error('it did not come to pass')
}
