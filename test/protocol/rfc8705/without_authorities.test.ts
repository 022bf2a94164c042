/** RFC 8705 §2.1 where no authority is trusted: `tls_client_auth` is refused when it is written, not when it is used. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { makeCertificate } from '../../support/certificates.ts'
import { API, SETTINGS } from '../../support/journeys.ts'
import { initialToken, POLICIES, registrar, WEB_CLIENT } from '../../support/registrations.ts'
import { type Server, startServer } from '../../support/server.ts'
import { scratchFolder } from '../../support/services.ts'

const NEEDS = 'token_endpoint_auth_method: tls_client_auth needs mtls.trusted_ca in the settings'
const own = makeCertificate({ subject: '/CN=self' })
const machine = { grant_types: ['client_credentials'], scope: 'orders:read', resources: [API] }
const byAuthority = { ...machine, token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'a.example' }
const selfSigned = {
  ...machine,
  token_endpoint_auth_method: 'self_signed_tls_client_auth',
  jwks: { keys: [{ ...own.x509.publicKey.export({ format: 'jwk' }), x5c: [own.x509.raw.toString('base64')] }] },
}
const methods = [...POLICIES.web.token_endpoint_auth_methods, 'tls_client_auth', 'self_signed_tls_client_auth']
const settings = {
  ...SETTINGS,
  trusted_proxies: ['127.0.0.1'],
  mtls: { certificate_header: 'Client-Cert' },
  client_registration: { policies: { web: { ...POLICIES.web, token_endpoint_auth_methods: methods } } },
}
const withClient = (client: object) => ({
  ...settings,
  clients: [...settings.clients, { client_id: 'job', ...client }],
})

let server: Server

beforeAll(async () => {
  server = await startServer({ settings: withClient(selfSigned) })
})
afterAll(() => server?.close())

describe('without mtls.trusted_ca, tls_client_auth is refused', () => {
  it('in the file, with the setting that is wanting', async () => {
    const refused = await startServer({ settings: withClient(byAuthority), wait: false })
    expect(await refused.exited()).toBe(1)
    expect(refused.logs().join('\n')).toContain(NEEDS)
    await refused.close()
  })

  it('by the command line, where a self-signed certificate is taken', async () => {
    const file = join(await scratchFolder('metadata-'), 'metadata.json')
    const create = (metadata: object) => {
      writeFileSync(file, JSON.stringify(metadata))
      return server.run('clients', 'create', 'made', '--metadata', file)
    }
    const refused = await create(byAuthority)
    expect([refused.code, `${refused.stdout}${refused.stderr}`]).toEqual([1, expect.stringContaining(NEEDS)])
    expect(await create(selfSigned)).toMatchObject({ code: 0 })
  })

  it('at registration, where a self-signed certificate is taken', async () => {
    const { register } = registrar(server.issuer)
    const token = await initialToken(server, 'web')
    const { resources: _set, ...ours } = byAuthority
    const asked = { ...WEB_CLIENT, ...ours, redirect_uris: [] }
    expect(await register(token, asked)).toMatchObject({
      status: 400,
      body: { error: 'invalid_client_metadata', error_description: expect.stringContaining('mtls.trusted_ca') },
    })
    const { tls_client_auth_san_dns: _name, ...rest } = asked
    expect((await register(token, { ...rest, ...selfSigned, resources: undefined })).status).toBe(201)
  })

  it('and discovery does not offer it', async () => {
    const discovery = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()
    const { token_endpoint_auth_methods_supported: offered } = discovery as { [member: string]: string[] }
    expect(offered).toContain('self_signed_tls_client_auth')
    expect(offered).not.toContain('tls_client_auth')
  })
})
