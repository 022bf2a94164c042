/**
 * OpenID Connect Core 1.0 §3.2, §3.3: tokens in the front channel, for clients of the profile `legacy`, where the server was
 * told to serve them. PROTOCOL.md E 14 and 19, and the modules of the implicit, hybrid and form post plans.
 */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { runCommand } from '../../support/server_process.ts'
import { type ClientRequests, clientRequests, type Fields, payloadOf, tokensOf } from '../../support/token_requests.ts'

const TYPES = ['id_token', 'id_token token', 'code id_token', 'code token', 'code id_token token'] as const
const LEGACY = {
  ...{ client_id: 'old', client_secret: SECRET, profile: 'legacy', first_party: true, require_pkce: false },
  ...{ redirect_uris: [redirectUri('old')], scope: 'openid profile email' },
  grant_types: ['authorization_code', 'implicit'],
  response_types: ['code', ...TYPES],
}

let server: Server
let client: ClientRequests
let ann: Person
let keySet: ReturnType<typeof createRemoteJWKSet>

beforeAll(async () => {
  server = await startServer({
    settings: { ...SETTINGS, legacy_profile: true, clients: [...SETTINGS.clients, LEGACY] },
  })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  keySet = createRemoteJWKSet(new URL(`${server.issuer}/jwks`))
})
afterAll(() => server.close())

const WITHOUT_PKCE = { code_challenge: undefined, code_challenge_method: undefined }
const open = (type: string, changes: Fields = {}, browser = ann.browser) =>
  browser.get(authorizationRequest(server.issuer, 'old', { response_type: type, ...WITHOUT_PKCE, ...changes }).url)
const halfHash = (text: string) => createHash('sha256').update(text).digest().subarray(0, 16).toString('base64url')
const words = (type: string) => new Set(type.split(' '))

/** What a response of the type has to hold, checked as the client has to (§3.2.2.11, §3.3.2.12). */
async function check(type: string, params: URLSearchParams): Promise<void> {
  expect(params.get('state')).toBe('the-state')
  expect(params.has('code')).toBe(words(type).has('code'))
  expect(params.has('access_token')).toBe(words(type).has('token'))
  expect(params.has('id_token')).toBe(words(type).has('id_token'))
  const [code, access, id] = ['code', 'access_token', 'id_token'].map((name) => params.get(name))
  if (access != null) {
    expect(params.get('token_type')).toBe('Bearer')
    expect(Number(params.get('expires_in'))).toBeGreaterThan(0)
    expect((await client.userinfo(access)).status).toBe(200)
  }
  if (id == null) return
  const { payload } = await jwtVerify(id, keySet, { issuer: server.issuer, audience: 'old' })
  expect(payload.nonce).toBe('the-nonce')
  expect(payload.at_hash).toBe(access == null ? undefined : halfHash(access))
  expect(payload.c_hash).toBe(code == null ? undefined : halfHash(code))
  expect(payload.s_hash ?? halfHash('the-state')).toBe(halfHash('the-state'))
}

describe.each(TYPES)('response_type=%s', (type) => {
  it('oidcc-server: answers in the fragment, with hashes that fit', async () => {
    const end = await open(type)
    expect(end.url.startsWith(`${redirectUri('old')}#`)).toBe(true)
    await check(type, end.params)
  })

  it('response_mode=form_post', async () => {
    const page = await open(type, { response_mode: 'form_post' })
    const [form] = page.forms
    expect([form?.action, form?.method]).toEqual([redirectUri('old'), 'post'])
    const fields = Object.fromEntries(
      form?.fields.filter(({ name }) => name !== '').map((f) => [f.name, f.value]) ?? [],
    )
    await check(type, new URLSearchParams(fields))
  })

  it('E19 response_mode=query is refused: addresses are written down', async () => {
    const end = await open(type, { response_mode: 'query' })
    expect(end.url).not.toMatch(/id_token=|access_token=|code=/)
    expect(`${end.params.get('error')} ${end.text}`).toContain('invalid_request')
    const signed = await open(type, { response_mode: 'query.jwt' })
    expect(payloadOf(signed.params.get('response') ?? '')).toMatchObject({ error: 'invalid_request' })
    expect(Object.keys(payloadOf(signed.params.get('response') ?? ''))).not.toContain('id_token')
    expect((await open(type, { response_mode: 'fragment' })).params.has('error')).toBe(false)
  })

  it('E14 oidcc-ensure-request-without-nonce-fails, where an ID token comes this way', async () => {
    const end = await open(type, { nonce: undefined })
    if (words(type).has('id_token')) expect(end.params.get('error')).toBe('invalid_request')
    else expect(end.params.has('error')).toBe(false)
  })

  it('an error goes by the fragment too', async () => {
    const end = await open(type, { prompt: 'none' }, clientBrowser())
    expect(end.url.startsWith(`${redirectUri('old')}#`)).toBe(true)
    expect(end.params.get('error')).toBe('login_required')
  })
})

it('the code of a hybrid response is redeemed, and the two ID tokens agree (§3.3.3.6)', async () => {
  const end = await open('code id_token')
  const code = { clientId: 'old', code: end.params.get('code') ?? '', verifier: '', redirectUri: redirectUri('old') }
  const tokens = tokensOf(await client.redeem(code, { code_verifier: undefined }))
  const [front, back] = [payloadOf(end.params.get('id_token') ?? ''), payloadOf(tokens.id)]
  expect([back.iss, back.sub, back.nonce]).toEqual([front.iss, front.sub, front.nonce])
  expect((await client.redeem(code, { code_verifier: undefined })).body.error).toBe('invalid_grant')
})

it('the code flow without PKCE is for such clients to ask for, and with it is checked', async () => {
  const { url, verifier } = authorizationRequest(server.issuer, 'old')
  const code = {
    clientId: 'old',
    code: (await ann.browser.get(url)).params.get('code') ?? '',
    redirectUri: redirectUri('old'),
  }
  const wrong = await client.redeem({ ...code, verifier: 'a'.repeat(43) })
  expect(wrong.body.error).toBe('invalid_grant')
  const again = (await ann.browser.get(url)).params.get('code') ?? ''
  expect((await client.redeem({ ...code, code: again, verifier })).status).toBe(200)
})

describe('the switch', () => {
  const discovery = async (issuer: string) =>
    (await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()) as { [name: string]: unknown }

  it('on: discovery tells of them, and other clients have code alone', async () => {
    const { response_types_supported: types, grant_types_supported: grants } = await discovery(server.issuer)
    expect(new Set(types as string[])).toEqual(new Set(['code', ...TYPES]))
    expect(grants).toContain('implicit')
    for (const type of TYPES) {
      const end = await ann.browser.get(authorizationRequest(server.issuer, 'own', { response_type: type }).url)
      expect(end.url).not.toMatch(/id_token=|access_token=|code=/)
      expect([type, end.params.get('error_description')]).toEqual([type, expect.stringContaining('response_type')])
    }
  })

  it('off: such a client is refused when it is declared', async () => {
    const refused = startServer({ settings: { ...SETTINGS, clients: [LEGACY] } })
    await expect(refused).rejects.toThrow('clients.old.profile: legacy needs legacy_profile: true in the settings')
  })

  it('turned off: a client that a command made is there no more, turned on again it is', async () => {
    const folder = join(server.dataDir, '..')
    const file = join(folder, 'made.json')
    const { client_id: _id, client_secret: _secret, ...metadata } = LEGACY
    writeFileSync(file, JSON.stringify({ ...metadata, redirect_uris: [redirectUri('made')] }))
    expect(await server.run('clients', 'create', 'made', '--metadata', file)).toMatchObject({ code: 0 })
    const openMade = () =>
      ann.browser.get(authorizationRequest(server.issuer, 'made', { response_type: 'id_token' }).url)
    expect((await openMade()).params.has('id_token')).toBe(true)

    const off = join(folder, 'off.yaml')
    writeFileSync(off, JSON.stringify({ clients: SETTINGS.clients, resources: SETTINGS.resources }))
    await server.restart({ GENKAN_CONFIG: off })
    const command = (...words: string[]) => runCommand(words, { ...server.env, GENKAN_CONFIG: off })
    const end = await openMade()
    expect([end.status, end.text]).toEqual([400, expect.stringContaining('invalid_client')])
    expect(await discovery(server.issuer)).toMatchObject({ response_types_supported: ['code'] })
    expect(await command('clients', 'show', 'made')).toMatchObject({ code: 0 })
    const refused = await command('clients', 'create', 'made-too', '--metadata', file)
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('legacy needs legacy_profile: true')])

    await server.restart()
    expect((await openMade()).params.has('id_token')).toBe(true)
  })
})
