/**
 * Clients that nobody declared: A70 (what they have us fetch), A71 (what they make of themselves), A73 (what they have people see),
 * A39 of PROTOCOL.md E (documents at addresses behind us).
 */
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Canary, startCanary } from '../support/canary.ts'
import { es256With, jws } from '../support/forged_jwts.ts'
import { internalUrls } from '../support/internal_urls.ts'
import { SETTINGS } from '../support/journeys.ts'
import { mailFolder } from '../support/mailbox.ts'
import { authorizationRequest, newPerson, type Person, stepOf } from '../support/people.ts'
import { initialToken, type Metadata, POLICIES, registered, registrar, WEB_CLIENT } from '../support/registrations.ts'
import { sample, sampleTitle } from '../support/sample.ts'
import { SCRIPT_PAYLOADS } from '../support/script_payloads.ts'
import { type Server, startServer } from '../support/server.ts'
import { postForm } from '../support/token_requests.ts'

const ISSUER = 'https://id.example.com'
const registration = { requests_per_address: 10_000, policies: POLICIES }
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' })

let canary: Canary
/** A loopback issuer may reach the canary: only a real one must never. */
let server: Server
let token: string

beforeAll(async () => {
  canary = await startCanary()
  const documents = { hosts: ['*'] }
  const settings = { ...SETTINGS, client_registration: registration, client_id_metadata_documents: documents }
  server = await startServer({ settings, issuer: ISSUER, env: { TRUSTED_PROXIES: '127.0.0.1,::1' } })
  token = await initialToken(server, 'web')
})
afterAll(async () => {
  await server?.close()
  await canary?.stop()
})

const register = (more: Metadata, by: string | undefined = token) =>
  registrar(server.origin).register(by, { ...WEB_CLIENT, ...more })
const port = () => new URL(canary.origin).port
const urls = () => internalUrls(port())

describe('A70 addresses behind the server', () => {
  it('as sector_identifier_uri: one answer, whatever is there', async () => {
    const answers = new Set<string>()
    for (const sector_identifier_uri of urls()) {
      const { status, body } = await register({ subject_type: 'pairwise', sector_identifier_uri })
      const description = String(body.error_description).replace(/^sector_identifier_uri: .*/, 'sector_identifier_uri')
      answers.add(`${status} ${body.error} ${description}`)
    }
    expect([...answers]).toEqual(['400 invalid_client_metadata sector_identifier_uri'])
    expect(canary.calls()).toBe(0)
    const open = await register({ subject_type: 'pairwise', sector_identifier_uri: `https://127.0.0.1:${port()}/` })
    const closed = await register({ subject_type: 'pairwise', sector_identifier_uri: 'https://127.0.0.1:1/' })
    expect(open.body).toEqual(closed.body)
    expect((await register({})).status).toBe(201)
  })

  it('as jwks_uri: refused, or no use when its keys are needed', async () => {
    const answers = new Set<string>()
    let used = 0
    for (const jwks_uri of urls()) {
      const answer = await register({ token_endpoint_auth_method: 'private_key_jwt', jwks_uri })
      if (answer.status === 400) {
        answers.add(JSON.stringify(answer.body))
        continue
      }
      const { id } = registered(answer)
      const { status, body } = await authenticate(id)
      used++
      answers.add(`${status} ${body.error}`)
    }
    expect([...answers].sort()).toEqual([
      '401 invalid_client',
      expect.stringContaining('jwks_uri: must be an https address in its plain spelling'),
    ])
    expect([used > 5, canary.calls()]).toEqual([true, 0])
    const jwks = { keys: [{ ...key.publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256' }] }
    const honest = registered(await register({ token_endpoint_auth_method: 'private_key_jwt', jwks }))
    expect((await authenticate(honest.id)).body.error).toBe('invalid_grant')
  })

  const authenticate = (id: string) => {
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: id, sub: id, aud: ISSUER, jti: id, iat: now, exp: now + 60 }
    return postForm(`${server.origin}/token`, {
      ...{ grant_type: 'authorization_code', code: 'x', redirect_uri: 'https://garden.test.example/callback' },
      ...{
        code_verifier: 'x'.repeat(43),
        client_assertion: jws({ alg: 'ES256', kid: 'k' }, claims, es256With(key.privateKey)),
      },
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    })
  }

  it('as pictures and links: kept or refused, never asked for', async () => {
    for (const member of ['logo_uri', 'client_uri', 'policy_uri', 'tos_uri', 'backchannel_logout_uri']) {
      const answers = await Promise.all(urls().map((url) => register({ [member]: url })))
      const refusals = new Set(answers.filter(({ status }) => status === 400).map(({ body }) => JSON.stringify(body)))
      expect([...refusals]).toEqual([expect.stringContaining(`${member}: must be an https address`)])
    }
    expect(canary.calls()).toBe(0)
  })

  it('E39 as the id of a client that is a document: there is no such client', async () => {
    const answers = new Set<string>()
    for (const [i, client_id] of urls().entries()) {
      const fields = { grant_type: 'authorization_code', code: 'x', redirect_uri: 'https://x.example/', client_id }
      const from = { 'x-forwarded-for': `203.0.113.${i + 1}` }
      const { status, body } = await postForm(
        `${server.origin}/token`,
        { ...fields, code_verifier: 'x'.repeat(43) },
        from,
      )
      answers.add(`${status} ${body.error} ${body.error_description}`)
    }
    expect([...answers]).toEqual([expect.stringMatching(/^401 invalid_client /)])
    expect(canary.calls()).toBe(0)
  })
})

describe('A71 what a client makes of itself', () => {
  it('is nothing where the settings say nothing: no endpoint, no documents, no word of either', async () => {
    const closed = await startServer({ settings: SETTINGS })
    try {
      const { send } = registrar(closed.issuer)
      for (const [method, path] of [
        ['POST', '/reg'],
        ['GET', '/reg/web'],
        ['PUT', '/reg/web'],
        ['DELETE', '/reg/web'],
      ]) {
        const body = method === 'POST' || method === 'PUT' ? WEB_CLIENT : undefined
        expect((await send(String(method), String(path), token, body)).status).toBe(404)
      }
      const metadata = await (await fetch(`${closed.issuer}/.well-known/openid-configuration`)).json()
      expect(metadata).not.toHaveProperty('registration_endpoint')
      expect(metadata).not.toHaveProperty('client_id_metadata_document_supported')
      expect((await closed.run('clients', 'registration-token', 'create', '--policy', 'web')).code).toBe(1)
    } finally {
      await closed.close()
    }
    expect((await register({})).status).toBe(201)
  })

  it('is settled before the server serves: a policy of a scope that there is not starts nothing', async () => {
    const policies = { web: { ...POLICIES.web, scope: 'openid nothing:here' } }
    const wrong = await startServer({ settings: { ...SETTINGS, client_registration: { policies } }, wait: false })
    try {
      expect(await wrong.exited()).toBe(1)
      expect(wrong.logs().join('\n')).toContain('policies.web.scope: nothing:here is not a scope of this provider')
    } finally {
      await wrong.close()
    }
  })

  it('never a client that was declared, and none that may do more than its policy', async () => {
    const ours: Metadata = {
      ...{ first_party: true, unverified: false, profile: 'legacy', brand: 'acme', upstreams: ['google'] },
      ...{ second_factor: 'none', second_factor_grace: 9, minimum_acr: 'x', verified_claims: ['given_name'] },
      ...{ registration_fields: [], resources: [], resource_server_for: ['https://api.test.example'] },
      ...{ organization_id: 'acme', cors_origins: ['https://garden.test.example'], require_pkce: false },
      ...{ require_dpop_nonce: false, default_locale: 'fi', access_token_format: 'opaque' },
      ...{ access_token_seconds: 86_400, jwt_access_token_seconds: 300, refresh_idle_seconds: 100_000 },
      ...{ refresh_absolute_seconds: 1_000_000, refresh_grace_seconds: 60 },
    }
    for (const [member, value] of Object.entries(ours)) {
      const { status, body } = await register({ [member]: value })
      expect([member, status, body.error]).toEqual([member, 400, 'invalid_client_metadata'])
      expect(body.error_description).toContain(member)
    }
    const named = registered(await register({ client_id: 'web', client_secret: 'x'.repeat(40) }))
    expect(named.id).not.toBe('web')
    expect(named.secret).not.toContain('xxxx')
    for (const more of [
      { scope: 'openid orders:write' },
      { grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'] },
    ]) {
      expect(await register(more)).toMatchObject({ status: 400, body: { error: 'invalid_client_metadata' } })
    }
  })

  it('leads nobody anywhere but where its policy lets it', async () => {
    const bad = [
      ...[
        'javascript:alert(1)',
        'JavaScript:alert(1)',
        'data:text/html,x',
        'vbscript:x',
        'file:///etc/passwd',
        'about:blank',
      ],
      ...[
        'https://*.test.example/cb',
        'https://garden.test.example/*',
        'https://*/cb',
        'http://garden.test.example/cb',
      ],
      ...[
        'https://evil.example/cb',
        'https://test.example/cb',
        'https://xtest.example/cb',
        'https://test.example.evil.example/',
      ],
      ...[
        'https://garden.test.example@evil.example/',
        'https://evil.example\\@garden.test.example/',
        '//evil.example/cb',
      ],
      ...[
        'https://garden.test.example/../cb',
        'https://garden.test.example/cb#x',
        'https://garden.test.example:8443/cb',
      ],
      ...['com.evil.app:/cb', 'http://127.0.0.1/cb', 'urn:ietf:wg:oauth:2.0:oob', ''],
    ]
    for (const uri of bad) {
      for (const more of [
        { redirect_uris: [uri] },
        { post_logout_redirect_uris: [uri] },
        { initiate_login_uri: uri },
      ]) {
        for (const application_type of ['web', 'native']) {
          const answer = await register({ ...more, application_type })
          expect([uri, answer]).toMatchObject([uri, { status: 400, body: { error: 'invalid_redirect_uri' } }])
        }
      }
    }
    expect((await register({ initiate_login_uri: 'https://garden.test.example/login' })).status).toBe(201)
  })

  it('is limited by address, before any token is looked at', async () => {
    const settings = { ...SETTINGS, client_registration: { policies: POLICIES, requests_per_address: 5 } }
    const strict = await startServer({ settings, env: { TRUSTED_PROXIES: '127.0.0.1,::1' } })
    try {
      const own = await initialToken(strict, 'web')
      const { register: send } = registrar(strict.issuer)
      const from = (address: string, by?: string) => send(by, WEB_CLIENT, { 'x-forwarded-for': address })
      for (let tries = 0; tries < 5; tries++) expect((await from('203.0.113.7')).status).toBe(401)
      const limited = await from('203.0.113.7', own)
      expect(limited.status).toBe(429)
      expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(Number(limited.headers.get('retry-after'))).toBeLessThanOrEqual(600)
      expect((await from('203.0.113.8', own)).status).toBe(201)
    } finally {
      await strict.close()
    }
  })
})

describe('A73 what a client has people see', () => {
  let open: Server
  let person: Person
  let own: string

  beforeAll(async () => {
    open = await startServer({ settings: { ...SETTINGS, client_registration: registration } })
    own = await initialToken(open, 'web')
    person = await newPerson(open.issuer, mailFolder(open.dataDir), 'sees@example.com')
  })
  afterAll(() => open?.close())

  const consentOf = async (more: Metadata, by = own) => {
    const { id, body } = registered(await registrar(open.issuer).register(by, { ...WEB_CLIENT, ...more }))
    const [redirect] = body.redirect_uris as string[]
    const page = await person.browser.get(authorizationRequest(open.issuer, id, { redirect_uri: redirect }).url)
    expect(stepOf(page)).toBe('consent')
    return page
  }
  const BANNER = 'Nobody has checked who is behind'

  it('says that nobody has checked it, unless its policy is for clients that somebody has', async () => {
    expect((await consentOf({})).text).toContain(`${BANNER} Garden Planner`)
    const vetted = {
      redirect_uris: ['https://vetted.test.example/cb'],
      ...{ grant_types: ['authorization_code'], token_endpoint_auth_method: 'none' },
    }
    expect((await consentOf(vetted, await initialToken(open, 'vetted'))).text).not.toContain(BANNER)
    expect((await person.authorize('web')).text).not.toContain(BANNER)
  })

  it('an operator may vouch for it; what it changes of itself afterwards nobody has checked', async () => {
    const client = registrar(open.issuer)
    const { id, token: manages } = registered(await client.register(own, WEB_CLIENT))
    const shown = async () => (await person.browser.get(url)).text.includes(BANNER)
    const [redirect = ''] = WEB_CLIENT.redirect_uris as string[]
    const { url } = authorizationRequest(open.issuer, id, { redirect_uri: redirect })
    expect(await shown()).toBe(true)
    await vouch(id)
    expect(await shown()).toBe(false)
    expect((await client.replace(id, manages, { ...WEB_CLIENT, client_id: id, client_name: 'Your Bank' })).status).toBe(
      200,
    )
    expect(await shown()).toBe(true)
  })

  const vouch = async (id: string) => {
    const file = `${open.dataDir}.vouch.json`
    writeFileSync(file, JSON.stringify({ unverified: null }))
    expect(await open.run('clients', 'update', id, '--metadata', file)).toMatchObject({ code: 0 })
  }

  it('loads none of its pictures and leads to none of its pages', async () => {
    const there = 'https://garden.test.example/there'
    const { html } = await consentOf({ logo_uri: there, client_uri: there, policy_uri: there, tos_uri: there })
    expect(html).not.toContain(there)
    const { headers } = await consentOf({})
    expect(headers['content-security-policy']).not.toContain('garden.test.example')
  })

  it(sampleTitle('its name is text'), async () => {
    for (const payload of sample(SCRIPT_PAYLOADS.slice(0, 30), { least: 5 })) {
      const client_name = payload('x').slice(0, 100)
      const answer = await registrar(open.issuer).register(own, { ...WEB_CLIENT, client_name })
      // Names of invisible characters are refused.
      if (/\p{Cc}/u.test(client_name)) {
        expect(answer.status).toBe(400)
        continue
      }
      const { html, text } = await consentOf({ client_name })
      expect(text).toContain(client_name.trim().replace(/\s+/g, ' '))
      if (/[<>"']/.test(client_name)) expect(html).not.toContain(client_name)
    }
  })
})
