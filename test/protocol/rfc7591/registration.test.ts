/** RFC 7591 and OpenID Connect Dynamic Registration 1.0, with MCP's needs of them. PROTOCOL.md E 39; R46 (c). */
import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createBrowser } from '../../support/browser.ts'
import { es256With, jws } from '../../support/forged_jwts.ts'
import { API, allow, SETTINGS, signIn } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, newPerson } from '../../support/people.ts'
import {
  initialToken,
  MCP_CLIENT,
  type Metadata,
  POLICIES,
  type Registrar,
  registered,
  registrar,
  WEB_CLIENT,
} from '../../support/registrations.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import { basic, clientRequests, payloadOf, postForm, tokensOf } from '../../support/token_requests.ts'

const OPENID = '/.well-known/openid-configuration'
const vendor = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const vendorJwk = { ...vendor.publicKey.export({ format: 'jwk' }), kid: 'vendor', alg: 'ES256' }
const DIRECTORY = 'https://directory.test.example'

const settings = {
  ...SETTINGS,
  client_registration: {
    requests_per_address: 10_000,
    policies: { ...POLICIES, bank: { ...POLICIES.web, software_statement: 'required' } },
    software_statement_issuers: [{ issuer: DIRECTORY, jwks: { keys: [vendorJwk] } }],
  },
}

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))(
  'registration on %s',
  (kind) => {
    let server: Server
    let client: Registrar
    let token: string

    beforeAll(async () => {
      server = await startServer({ settings, stores: kind === 'embedded' ? kind : await realStores() })
      client = registrar(server.issuer)
      token = await initialToken(server, 'web')
    })
    afterAll(() => server?.close())

    const register = (more: Metadata = {}, by = token) => client.register(by, { ...WEB_CLIENT, ...more })
    const refusalOf = async (more: Metadata, by = token) => {
      const { status, body } = await register(more, by)
      expect(body).not.toHaveProperty('client_id')
      return [status, body.error, body.error_description]
    }
    const isRefused = (error: string, member: string) => [400, error, expect.stringContaining(member)]

    it('§3.1 is found in discovery', async () => {
      const metadata = (await (await fetch(`${server.issuer}${OPENID}`)).json()) as Metadata
      expect(metadata.registration_endpoint).toBe(`${server.issuer}/reg`)
    })

    it('§3.2.1 tells what was registered, the secret and the token once, and nothing of ours', async () => {
      const { status, headers, body } = await register({ contacts: ['ops@garden.example'], unknown_member: 'ignored' })
      expect(status).toBe(201)
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('content-type')).toMatch(/^application\/json/)
      expect(headers.get('access-control-allow-origin')).toBeNull()
      expect(body).toMatchObject({
        ...WEB_CLIENT,
        client_id: expect.stringMatching(/^dyn-[\w-]{22}$/),
        client_secret: expect.stringMatching(/^[\w-]{43}$/),
        client_secret_expires_at: 0,
        registration_client_uri: `${server.issuer}/reg/${body.client_id}`,
        registration_access_token: expect.stringMatching(/^[\w-]{43}$/),
        response_types: ['code'],
        application_type: 'web',
        scope: 'openid profile email offline_access orders:read',
        contacts: ['ops@garden.example'],
      })
      expect(Math.abs(Number(body.client_id_issued_at) - Date.now() / 1000)).toBeLessThan(60)
      for (const ours of ['unknown_member', 'first_party', 'profile', 'resources', 'require_pkce', 'unverified'])
        expect(body).not.toHaveProperty(ours)
    })

    it('§2 gives a client that names nothing the code alone', async () => {
      const { body } = await client.register(token, { redirect_uris: ['https://plain.test.example/cb'] })
      expect(body).toMatchObject({
        grant_types: ['authorization_code'],
        token_endpoint_auth_method: 'client_secret_basic',
        scope: 'openid profile email orders:read',
      })
    })

    it('a registered client gets tokens by the secret that it was told, with the scopes of its policy', async () => {
      const machine = { grant_types: ['client_credentials'], redirect_uris: [], scope: 'orders:read' }
      const { id, secret } = registered(await register(machine))
      const fields = { grant_type: 'client_credentials', resource: API, scope: 'orders:read' }
      const answer = await postForm(`${server.issuer}/token`, fields, basic(id, secret))
      expect(payloadOf(tokensOf(answer).access)).toMatchObject({ client_id: id, aud: API, scope: 'orders:read' })
      expect((await postForm(`${server.issuer}/token`, fields, basic(id, `${secret}x`))).status).toBe(401)
    })

    it('MCP: a public client waits on any port of a loopback address, and gets a token for the resource server', async () => {
      const { id, body } = registered(await client.register(await initialToken(server, 'mcp'), MCP_CLIENT))
      expect(body).not.toHaveProperty('client_secret')
      await newPerson(server.issuer, mailFolder(server.dataDir), 'mcp@example.com')
      const redirect = 'http://127.0.0.1:49152/callback'
      const browser = createBrowser({ stopAt: [redirect] })
      const wanted = { redirect_uri: redirect, scope: 'openid orders:read', resource: API }
      const { url, verifier } = authorizationRequest(server.issuer, id, wanted)
      const end = await allow(browser, await signIn(browser, await browser.get(url), 'mcp@example.com'))
      const code = { clientId: id, code: end.params.get('code') ?? '', verifier, redirectUri: redirect }
      const answer = await clientRequests(server.issuer).redeem(code, { client_id: id, resource: API }, 'spa')
      expect(payloadOf(tokensOf(answer).access)).toMatchObject({ aud: API, client_id: id, scope: 'orders:read' })
    })

    it('§3.2.2 E39 names the redirect URI that is not one', async () => {
      const bad = [
        'http://garden.test.example/callback',
        'https://elsewhere.example/callback',
        'https://test.example/callback',
        'http://localhost:4000/callback',
        'https://garden.test.example/callback#fragment',
        'com.example.app:/callback',
        'not a uri',
      ]
      for (const uri of bad) {
        expect(await refusalOf({ redirect_uris: [...(WEB_CLIENT.redirect_uris as string[]), uri] })).toEqual(
          isRefused('invalid_redirect_uri', 'redirect_uris'),
        )
      }
      expect(await refusalOf({ redirect_uris: [] })).toEqual(isRefused('invalid_redirect_uri', 'redirect_uris'))
      expect(await refusalOf({ post_logout_redirect_uris: ['https://elsewhere.example/'] })).toEqual(
        isRefused('invalid_redirect_uri', 'post_logout_redirect_uris'),
      )
      expect((await register()).status).toBe(201)
    })

    it('§3.2.2 E39 names the member that is not acceptable', async () => {
      const bad: readonly (readonly [string, Metadata])[] = [
        ['token_endpoint_auth_method', { token_endpoint_auth_method: 'client_secret_jwt' }],
        ['token_endpoint_auth_method', { token_endpoint_auth_method: 'tls_client_auth' }],
        ['grant_types', { grant_types: ['implicit'] }],
        ['response_types', { response_types: ['code', 'id_token'] }],
        ['scope', { scope: 'openid orders:write' }],
        ['id_token_signed_response_alg', { id_token_signed_response_alg: 'none' }],
        ['jwks', { jwks: { keys: [{ kty: 'oct', k: 'AAAA' }] } }],
        ['jwks', { token_endpoint_auth_method: 'private_key_jwt' }],
        ['client_name', { client_name: 'A\u202Ename' }],
        ['contacts', { contacts: 'nobody' }],
        ['grant_types', { grant_types: 'authorization_code refresh_token' }],
        ['redirect_uris', { redirect_uris: 7 }],
      ]
      for (const [member, more] of bad) {
        const [status, error, description] = await refusalOf(more)
        expect([status, member, description]).toEqual([400, member, expect.stringContaining(member)])
        expect(['invalid_client_metadata', 'invalid_redirect_uri']).toContain(error)
        expect(String(description)).toMatch(/^[\x20-\x21\x23-\x5B\x5D-\x7E]*$/)
      }
    })

    it('takes one JSON object without a member twice, of 64 KiB at the most', async () => {
      const good = JSON.stringify(WEB_CLIENT)
      const twice = good.replace('{', '{"scope":"openid","sc\\u006fpe":"openid email",')
      for (const body of ['', '[]', '"text"', 'null', `${good},`, twice, '{"a":{"b":1,"b":2}}']) {
        expect(await client.register(token, body)).toMatchObject({
          ...{ status: 400, body: { error: 'invalid_client_metadata' } },
        })
      }
      const large = (bytes: number) => JSON.stringify({ ...WEB_CLIENT, unknown: 'x'.repeat(bytes) })
      expect((await client.register(token, large(66_000))).status).toBe(413)
      expect((await client.register(token, large(60_000))).status).toBe(201)
      const text = { 'content-type': 'text/plain' }
      expect((await client.register(token, good, text)).status).toBe(415)
      expect((await client.register(token, good)).status).toBe(201)
    })

    describe('initial access tokens', () => {
      it('are needed, and nothing else is one', async () => {
        const nobody = await client.register(undefined, WEB_CLIENT)
        expect(nobody).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
        expect(nobody.headers.get('www-authenticate')).toBe('Bearer')
        const { token: manages } = registered(await register())
        for (const wrong of ['unknown', `${token}x`, token.slice(1), manages]) {
          const answer = await client.register(wrong, WEB_CLIENT)
          expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } })
          expect(answer.headers.get('www-authenticate')).toMatch(
            /^Bearer error="invalid_token", error_description="[^"]+"$/,
          )
          expect(answer.headers.get('cache-control')).toBe('no-store')
        }
      })

      it('are good for as many clients as they were made for, also of twenty at once', async () => {
        const few = await initialToken(server, 'web', 3)
        // What is refused uses nothing up.
        expect((await register({ scope: 'orders:write' }, few)).status).toBe(400)
        const answers = await Promise.all(Array.from({ length: 20 }, () => register({}, few)))
        expect(answers.filter(({ status }) => status === 201)).toHaveLength(3)
        expect(answers.filter(({ status }) => status === 401)).toHaveLength(17)
        expect((await register({}, few)).status).toBe(401)
      })

      it('keep to the most clients of their policy; one that is deleted makes room', async () => {
        const mcp = await initialToken(server, 'mcp')
        const first = registered(await client.register(mcp, MCP_CLIENT))
        expect((await client.register(mcp, MCP_CLIENT)).status).toBe(201)
        expect(await client.register(mcp, MCP_CLIENT)).toMatchObject({ status: 403, body: { error: 'access_denied' } })
        expect((await client.remove(first.id, first.token)).status).toBe(204)
        expect((await client.register(mcp, MCP_CLIENT)).status).toBe(201)
        const other = await initialToken(server, 'mcp')
        const answers = await Promise.all(Array.from({ length: 10 }, () => client.register(other, MCP_CLIENT)))
        expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, ...Array.from({ length: 8 }, () => 403)])
      })

      it('end when an operator revokes them, are listed without themselves, and are facts', async () => {
        const made = await server.run('clients', 'registration-token', 'create', '--policy', 'web', '--json')
        const { id, registration_token: own } = JSON.parse(made.stdout) as Record<string, string>
        const list = await server.run('clients', 'registration-token', 'list', '--json')
        expect(JSON.parse(list.stdout)).toContainEqual(
          expect.objectContaining({ id, policy: 'web', uses_left: 1, clients: 0, state: 'live' }),
        )
        expect(list.stdout).not.toContain(own)
        expect((await server.run('clients', 'registration-token', 'list')).stdout).toMatch(
          new RegExp(`^${id} .* live$`, 'm'),
        )
        expect(
          (await server.run('clients', 'registration-token', 'revoke', String(id), '--reason', 'leaked')).code,
        ).toBe(0)
        expect((await server.run('clients', 'registration-token', 'revoke', String(id))).stdout).toContain('already')
        expect((await register({}, own)).status).toBe(401)
        const { stdout } = await server.run('audit', 'list', '--json', '--limit', '200')
        expect(stdout).not.toContain(own)
        for (const type of ['initial_token.created', 'initial_token.used', 'initial_token.revoked', 'client.created'])
          expect(stdout).toContain(type)
      })

      it('are of a policy that there is, and commands say what is wrong', async () => {
        const wrong = [
          ['create', '--policy', 'nobody'],
          ['create'],
          ['create', '--policy', 'web', '--uses', '0'],
          ['create', '--policy', 'web', '--expires', 'soon'],
          ['create', '--policy', '__proto__'],
          ['revoke', 'unknown'],
        ]
        for (const words of wrong) {
          expect((await server.run('clients', 'registration-token', ...words)).code).toBe(1)
        }
        expect((await server.run('clients', 'registration-token', '--help')).stdout).toContain('revoke')
      })
    })

    describe('software statements (§2.3)', () => {
      const statement = (claims: Metadata, key = vendor.privateKey, header: Metadata = {}) =>
        jws({ alg: 'ES256', kid: 'vendor', typ: 'JWT', ...header }, { iss: DIRECTORY, ...claims }, es256With(key))
      const now = () => Math.floor(Date.now() / 1000)

      it('outweigh what the client says, and are told as they were sent', async () => {
        const software = statement({ client_name: 'The Bank', exp: now() + 60, first_party: true })
        const bank = await initialToken(server, 'bank')
        const { id, body } = registered(
          await register({ client_name: 'Not the Bank', software_statement: software }, bank),
        )
        expect(body).toMatchObject({ client_name: 'The Bank', software_statement: software })
        const shown = JSON.parse((await server.run('clients', 'show', id, '--json')).stdout) as Record<string, Metadata>
        expect(shown.metadata).toMatchObject({ client_name: 'The Bank', first_party: false, unverified: true })
        // What is stated cannot reach beyond the policy either.
        expect(await refusalOf({ software_statement: statement({ scope: 'orders:write' }) }, bank)).toEqual(
          isRefused('invalid_client_metadata', 'scope'),
        )
      })

      it('are refused unless somebody who is trusted has signed them, and needed where the policy says so', async () => {
        const bank = await initialToken(server, 'bank')
        const bad: readonly (readonly [string, string])[] = [
          ['invalid_software_statement', statement({ client_name: 'x' }, stranger.privateKey)],
          ['invalid_software_statement', statement({ exp: now() - 60 })],
          ['unapproved_software_statement', statement({ iss: 'https://elsewhere.example' })],
          ['invalid_software_statement', jws({ alg: 'none' }, { iss: DIRECTORY }, () => Buffer.alloc(0))],
          ['invalid_software_statement', 'no.jwt.at.all'],
        ]
        for (const [error, software_statement] of bad) {
          expect(await refusalOf({ software_statement }, bank)).toEqual(isRefused(error, 'software_statement'))
          expect(await refusalOf({ software_statement })).toEqual(isRefused(error, 'software_statement'))
        }
        expect(await refusalOf({}, bank)).toEqual(isRefused('invalid_software_statement', 'software_statement'))
        expect(await refusalOf({ software_statement: 7 }, bank)).toEqual(
          isRefused('invalid_software_statement', 'software_statement'),
        )
        expect((await register({ software_statement: statement({}) }, bank)).status).toBe(201)
      })
    })
  },
)
