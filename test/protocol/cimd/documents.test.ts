/** OAuth Client ID Metadata Document (draft 02), as MCP 2026-07-28 prefers it. PROTOCOL.md E 39. */
import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Canary, startCanary } from '../../support/canary.ts'
import { type DocumentAnswer, type DocumentSite, startDocumentSite } from '../../support/document_site.ts'
import { es256With, jws } from '../../support/forged_jwts.ts'
import { API, allow, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, newPerson, type Person, stepOf } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { basic, clientRequests, payloadOf, postForm, tokensOf } from '../../support/token_requests.ts'

let site: DocumentSite
/** Of the operator's own, whose clients are no agents. */
let plain: DocumentSite
let canary: Canary
let server: Server
let person: Person
let addresses = 0

const GOOD = {
  client_name: 'Notes Assistant',
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token'],
  scope: 'openid offline_access orders:read orders:write unknown:scope',
}
const redirect = () => `${site.origin}/callback`
const document = (more: object = {}): DocumentAnswer => ({
  body: { ...GOOD, application_type: 'native', redirect_uris: ['http://127.0.0.1/cb', redirect()], ...more },
})

beforeAll(async () => {
  canary = await startCanary()
  site = await startDocumentSite()
  plain = await startDocumentSite()
  const documents = {
    ...{ hosts: [site.host, plain.host], agents: [site.host] },
    ...{ scope: 'openid offline_access orders:read', resources: [API] },
  }
  server = await startServer({
    settings: { ...SETTINGS, client_id_metadata_documents: documents },
    // Each request may come from elsewhere, so that the limit of one network counts only where a test means it.
    env: { TRUSTED_PROXIES: '127.0.0.1,::1' },
  })
  person = await newPerson(server.issuer, mailFolder(server.dataDir), 'reader@example.com')
})
afterAll(async () => {
  await server?.close()
  await site?.stop()
  await plain?.stop()
  await canary?.stop()
})

/** A loopback redirect stops no browser of the tests: the last address on the way is what the client gets. */
const parameters = () => ({ redirect_uri: redirect(), scope: 'openid orders:read', resource: API })
const elsewhere = () => ({ 'x-forwarded-for': `203.0.113.${1 + (addresses++ % 250)}` })
/** What the token endpoint says to a client that has no code: whether it knows the client. */
async function knows(clientId: string, headers = elsewhere()): Promise<boolean> {
  const fields = { grant_type: 'authorization_code', code: 'x', redirect_uri: redirect(), client_id: clientId }
  const { status, body } = await postForm(
    `${server.issuer}/token`,
    { ...fields, code_verifier: 'x'.repeat(43) },
    headers,
  )
  expect([400, 401]).toContain(status)
  expect(['invalid_grant', 'invalid_client']).toContain(body.error)
  return body.error === 'invalid_grant'
}

describe('a client that is a document', () => {
  it('says so in discovery', async () => {
    const answer = await fetch(`${server.issuer}/.well-known/oauth-authorization-server`)
    expect(await answer.json()).toMatchObject({ client_id_metadata_document_supported: true })
  })

  it('signs people in, is shown by its host, and can be taken back', async () => {
    const path = '/oauth/client.json'
    const id = site.put(path, document({ logo_uri: `${canary.origin}/logo.png`, client_uri: `${canary.origin}/` }))
    const { url, verifier } = authorizationRequest(server.issuer, id, parameters())
    const page = await person.browser.get(url)
    expect(stepOf(page)).toBe('consent')
    expect(page.text).toContain(`Allow ${site.host} to use your account?`)
    expect(page.text).toContain('The app there calls itself “Notes Assistant”')
    expect(page.html).not.toContain(canary.origin)
    const end = await allow(person.browser, page)
    const code = { clientId: id, code: end.params.get('code') ?? '', verifier, redirectUri: redirect() }
    const client = clientRequests(server.issuer)
    const { access } = tokensOf(await client.redeem(code, { client_id: id, resource: API }, 'spa'))
    expect(payloadOf(access)).toMatchObject({ client_id: id, aud: API, scope: 'orders:read' })
    expect((await client.introspect('api', access)).body).toMatchObject({ active: true, client_id: id })
    expect(site.calls(path)).toBe(1)

    const listed = await person.browser.get(`${server.issuer}/account/clients`)
    const name = `${site.host}${path}`
    expect(listed.text).toContain(name)
    const form = listed.forms.findIndex(({ action }) => action.includes(encodeURIComponent(id)))
    expect(form).toBeGreaterThanOrEqual(0)
    expect((await person.browser.submit(listed, {}, { form })).text).not.toContain(name)
    expect(stepOf(await person.browser.get(url))).toBe('consent')
    const { stdout } = await server.run('audit', 'list', '--client', id)
    for (const type of ['consent.granted', 'grant.revoked', 'consent.revoked']) expect(stdout).toContain(type)
  })

  it('gives a refresh token that works as long as the document is there', async () => {
    const path = '/offline.json'
    const id = site.put(path, document())
    const request = { ...parameters(), scope: 'openid offline_access', prompt: 'consent' }
    const { url, verifier } = authorizationRequest(server.issuer, id, request)
    const end = await allow(person.browser, await person.browser.get(url))
    const code = { clientId: id, code: end.params.get('code') ?? '', verifier, redirectUri: redirect() }
    const client = clientRequests(server.issuer)
    const { refresh } = tokensOf(await client.redeem(code, { client_id: id }, 'spa'))
    const again = tokensOf(await client.refresh('spa', refresh, { client_id: id }))
    site.put(path, { status: 404 })
    await server.shiftDate(400)
    expect(await client.refresh('spa', again.refresh, { client_id: id })).toMatchObject({
      ...{ status: 401, body: { error: 'invalid_client' } },
    })
    await server.shiftDate(0)
  })

  it('is an agent, by its host and for how long, unless the settings say that its host has ordinary applications', async () => {
    const open = async (at: DocumentSite, scope: string) => {
      const callback = `${at.origin}/callback`
      const id = at.put('/agent.json', document({ redirect_uris: [callback] }))
      const request = { redirect_uri: callback, scope, prompt: 'consent' }
      const { url, verifier } = authorizationRequest(server.issuer, id, request)
      return { id, verifier, callback, page: await person.browser.get(url) }
    }
    expect((await open(site, 'openid')).page.text).toContain('It may act for you until you sign out')
    for (const at of [site, plain]) {
      const { id, verifier, callback, page } = await open(at, 'openid offline_access')
      const isAgent = at === site
      expect(stepOf(page)).toBe('consent')
      expect(page.text.includes('An AI agent asks to act for you')).toBe(isAgent)
      expect(page.text.includes(`${at.host} runs it. Nobody has checked what it is for.`)).toBe(isAgent)
      expect(/It may act for you until \w+ \d+, \d{4}/.test(page.text)).toBe(isAgent)
      const end = await allow(person.browser, page)
      const code = { clientId: id, code: end.params.get('code') ?? '', verifier, redirectUri: callback }
      tokensOf(await clientRequests(server.issuer).redeem(code, { client_id: id }, 'spa'))
    }
    const { text } = await person.browser.get(`${server.issuer}/account/clients`)
    const [agents = '', others = ''] = text.split('Other services')
    expect(agents).toContain('Agents acting for you')
    expect(agents).toContain(`${site.host}/agent.json`)
    expect(agents).toContain(`${site.host} runs it`)
    expect(others).toContain(`${plain.host}/agent.json`)
    expect([agents.includes(plain.host), others.includes(site.host)]).toEqual([false, false])
  })

  it('has no more than the settings allow, and only redirects of its own host or machine', async () => {
    const id = site.put('/wide.json', document({ redirect_uris: [redirect(), 'https://elsewhere.example/cb'] }))
    const ask = (more: object) =>
      person.browser.get(authorizationRequest(server.issuer, id, { ...parameters(), ...more }).url)
    expect((await ask({ redirect_uri: 'https://elsewhere.example/cb' })).status).toBe(400)
    const narrowed = await ask({ scope: 'openid orders:read orders:write' })
    expect([narrowed.text.includes('orders:read'), narrowed.text.includes('orders:write')]).toEqual([true, false])
    expect((await ask({ scope: 'openid email' })).params.get('error')).toBe('invalid_scope')
    expect(stepOf(await ask({}))).toBe('consent')
    // Whatever it says of itself, it stays a client that nobody has checked.
    const bold = site.put(
      '/bold.json',
      document({ first_party: true, unverified: false, require_pkce: false, brand: 'x' }),
    )
    const page = await person.browser.get(authorizationRequest(server.issuer, bold, parameters()).url)
    expect([stepOf(page), page.text.includes('nobody has checked')]).toEqual(['consent', true])
    const quoting = site.put(
      '/quote.json',
      document({ client_name: `Bank”. Genkan has checked it. “${'x'.repeat(60)}` }),
    )
    const { text } = await person.browser.get(authorizationRequest(server.issuer, quoting, parameters()).url)
    expect(text).toMatch(/calls itself “Bank\. Genkan has checked it\. x{30,40}”, and nobody has checked/)
    expect(await knows(bold)).toBe(true)
    expect(
      (await postForm(`${server.issuer}/token`, { grant_type: 'client_credentials' }, basic(bold, 'x'))).status,
    ).toBe(401)
  })

  it('shows its key where it has one (private_key_jwt), and nobody else does', async () => {
    const pair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const [own, other] = [pair(), pair()]
    const jwks = { keys: [{ ...own.publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256' }] }
    const id = site.put('/keyed.json', document({ token_endpoint_auth_method: 'private_key_jwt', jwks }))
    const errorBy = async ({ privateKey }: typeof own) => {
      const now = Math.floor(Date.now() / 1000)
      const claims = { iss: id, sub: id, aud: server.issuer, jti: `${now}-${addresses++}`, iat: now, exp: now + 60 }
      const fields = {
        ...{ grant_type: 'authorization_code', code: 'x', redirect_uri: redirect(), code_verifier: 'x'.repeat(43) },
        client_assertion: jws({ alg: 'ES256', kid: 'k' }, claims, es256With(privateKey)),
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      }
      return (await postForm(`${server.issuer}/token`, fields, elsewhere())).body.error
    }
    expect([await errorBy(own), await errorBy(other)]).toEqual(['invalid_grant', 'invalid_client'])
    expect(await knows(id)).toBe(false)
  })

  it('may be a page of the same origin, which reads its own answers and no other does', async () => {
    const id = site.put('/page.json', document())
    const allowed = async (origin: string, clientId: string) => {
      const fields = { grant_type: 'authorization_code', code: 'x', client_id: clientId }
      const { headers } = await postForm(`${server.issuer}/token`, fields, { ...elsewhere(), origin })
      return headers.get('access-control-allow-origin')
    }
    expect(await allowed(site.origin, id)).toBe(site.origin)
    expect(await allowed('https://elsewhere.example', id)).toBeNull()
    expect(await allowed(site.origin, 'spa')).toBeNull()
  })
})

describe('E39 a document that is refused', () => {
  const bad = (): readonly (readonly [string, DocumentAnswer])[] => [
    ['of another client_id', document({ client_id: `${site.origin}/other.json` })],
    ['without client_id', document({ client_id: undefined })],
    ['over 5 KiB', document({ padding: 'x'.repeat(5200) })],
    ['with a secret', document({ client_secret: 'x'.repeat(40) })],
    ['with the end of a secret', document({ client_secret_expires_at: 0 })],
    ['with a shared secret as its method', document({ token_endpoint_auth_method: 'client_secret_basic' })],
    ['with keys that are not there', document({ token_endpoint_auth_method: 'private_key_jwt' })],
    ['without a redirect that it may have', document({ redirect_uris: ['https://elsewhere.example/cb'] })],
    ['with a name that hides something', document({ client_name: 'A\u202Ename' })],
    ['without a grant that it may have', document({ grant_types: ['client_credentials'] })],
    ['that redirects', { status: 302, headers: { location: `${canary.origin}/client.json` } }],
    ['that is not there', { status: 404 }],
    ['that is no JSON', { body: 'client' }],
    ['that is a list', { body: '[]' }],
    ['with a member twice', { body: `{"client_id":"x","client_id":"${site.origin}/twice.json"}` }],
    ['of another type', { ...document(), headers: { 'content-type': 'text/html' } }],
    ['that never ends', { stalls: true }],
  ]

  it('is no client, whatever is wrong with it', async () => {
    const cases = bad().map(([name, answer], i) => [name, site.put(`/bad-${i}.json`, answer)] as const)
    const known = await Promise.all(cases.map(async ([name, id]) => [name, await knows(id)] as const))
    expect(known.filter(([, isKnown]) => isKnown)).toEqual([])
    expect(canary.calls()).toBe(0)
    const [, mismatch = ''] = cases[0] ?? []
    expect(await person.browser.get(authorizationRequest(server.issuer, mismatch, parameters()).url)).toMatchObject({
      status: 400,
    })
    expect(await knows(site.put('/good.json', document({ padding: 'x'.repeat(4000) })))).toBe(true)
  })

  it('is not asked for where its address is not plain, or its host not allowed', async () => {
    site.put('/', document())
    site.put('/a.json?x', document())
    const plain = site.put('/a.json', document())
    const { host, origin } = site
    const ids = [
      `${origin}/`,
      origin,
      `${plain}?x`,
      `${plain}#x`,
      `${plain}?`,
      `http://user@${host}/a.json`,
      `${origin}/x/../a.json`,
      `${origin}/%2e/a.json`,
      `HTTP://${host}/a.json`,
      `${origin}\\a.json`,
      ` ${plain}`,
      `${plain}${'x'.repeat(400)}`,
      plain.replace('http:', 'ftp:'),
      `http://localhost:${new URL(origin).port}/a.json`,
      'http://elsewhere.example/a.json',
      'https://elsewhere.example/a.json',
      `${canary.origin}/a.json`,
    ]
    const before = site.allCalls()
    const known = await Promise.all(ids.map((id) => knows(id)))
    expect(known.filter(Boolean)).toEqual([])
    expect([site.allCalls(), canary.calls()]).toEqual([before, 0])
    expect(await knows(plain)).toBe(true)
  })
})

describe('what is kept', () => {
  const life = (value: string, more = {}) => ({ ...document(more), headers: { 'cache-control': value } })

  it('is asked for once by many at once, and a refusal not again for half a minute', async () => {
    const id = site.put('/many.json', document())
    expect((await Promise.all(Array.from({ length: 8 }, () => knows(id)))).every(Boolean)).toBe(true)
    expect(site.calls('/many.json')).toBe(1)
    const none = `${site.origin}/none.json`
    expect([await knows(none), await knows(none)]).toEqual([false, false])
    expect(site.calls('/none.json')).toBe(1)
    site.put('/none.json', document())
    await server.shiftDate(31)
    expect(await knows(none)).toBe(true)
    await server.shiftDate(0)
  })

  it('lasts half a minute at the least and a day at the most', async () => {
    const brief = site.put('/brief.json', life('max-age=0'))
    const long = site.put('/long.json', life('public, max-age=99999999'))
    const times = [0, 29, 31, 86_000, 86_500]
    const calls: (readonly number[])[] = []
    for (const seconds of times) {
      await server.shiftDate(seconds)
      expect([await knows(brief), await knows(long)]).toEqual([true, true])
      calls.push([site.calls('/brief.json'), site.calls('/long.json')])
    }
    expect(calls).toEqual([
      ...[
        [1, 1],
        [1, 1],
        [2, 1],
        [3, 1],
      ],
      [4, 2],
    ])
    await server.shiftDate(0)
  })

  it('changes with the document; a host that is away takes no client from anybody, one that says no does', async () => {
    const path = '/changes.json'
    const id = site.put(path, life('no-store'))
    expect(await knows(id)).toBe(true)
    site.put(path, { status: 503 })
    await server.shiftDate(60)
    expect([await knows(id), site.calls(path)]).toEqual([true, 2])
    await server.shiftDate(90_000)
    expect(await knows(id)).toBe(false)
    site.put(path, life('no-store'))
    await server.shiftDate(91_000)
    expect(await knows(id)).toBe(true)
    site.put(path, { status: 410 })
    await server.shiftDate(92_000)
    expect(await knows(id)).toBe(false)
    await server.shiftDate(0)
  })

  it('is limited: one network has thirty documents asked for in ten minutes, and those kept go on', async () => {
    const kept = site.put('/kept.json', document())
    expect(await knows(kept)).toBe(true)
    const one = { 'x-forwarded-for': '198.51.100.7' }
    const ids = Array.from({ length: 40 }, (_, i) => site.put(`/flood-${i}.json`, document()))
    const known = await Promise.all(ids.map((id) => knows(id, one)))
    expect(known.filter(Boolean)).toHaveLength(30)
    expect(await knows(kept, one)).toBe(true)
    expect(await knows(String(ids[known.indexOf(false)]))).toBe(true)
  })
})
