/** OpenID Connect Dynamic Registration 1.0 §5: the sector identifier vouches for the redirect URIs. PROTOCOL.md E 39. */
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { type Canary, startCanary } from '../../support/canary.ts'
import { SETTINGS } from '../../support/journeys.ts'
import { initialToken, POLICIES, registrar, WEB_CLIENT } from '../../support/registrations.ts'
import { type Server, startServer } from '../../support/server.ts'
import { scratchFolder } from '../../support/services.ts'
import { startTlsProxy, type TlsProxy } from '../../support/tls_proxy.ts'

let server: Server
let site: TlsProxy
let canary: Canary
let answer: { readonly status?: number; readonly body: unknown } = { body: [] }
const origin = createServer((_request, response) => {
  response.writeHead(answer.status ?? 200, { location: canary.origin }).end(JSON.stringify(answer.body))
})

beforeAll(async () => {
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve))
  canary = await startCanary()
  site = await startTlsProxy({ target: `http://127.0.0.1:${(origin.address() as AddressInfo).port}` })
  const ca = join(await scratchFolder('ca-'), 'ca.pem')
  writeFileSync(ca, site.ca)
  const settings = { ...SETTINGS, client_registration: { policies: POLICIES } }
  // Whom a process trusts is settled at its start.
  server = await startServer({ settings, process: 'own', env: { NODE_EXTRA_CA_CERTS: ca } })
})
afterAll(async () => {
  await server?.close()
  await site?.stop()
  await canary?.stop()
  origin.close()
})

const REDIRECT = 'https://declared.test.example/callback'
const OTHER = 'https://another.test.example/callback'
const paired = (redirects: readonly string[]) => ({
  ...{ client_name: 'Paired', redirect_uris: redirects, scope: 'openid', token_endpoint_auth_method: 'none' },
  ...{ subject_type: 'pairwise', sector_identifier_uri: `${site.origin}/sector.json` },
})

it('§5 holds for clients that commands make and change; what stays as it is asks nobody', async () => {
  const file = join(await scratchFolder('metadata-'), 'metadata.json')
  const write = async (command: 'create' | 'update', metadata: object) => {
    writeFileSync(file, JSON.stringify(metadata))
    const { code, stdout, stderr } = await server.run('clients', command, 'made', '--metadata', file)
    return [code, `${stdout}${stderr}`] as const
  }
  const refused = [1, expect.stringContaining('sector_identifier_uri: must answer with a JSON array')]
  answer = { body: [OTHER] }
  expect(await write('create', paired([REDIRECT]))).toEqual(refused)
  answer = { body: [REDIRECT] }
  expect((await write('create', paired([REDIRECT])))[0]).toBe(0)
  expect(await write('update', { redirect_uris: [REDIRECT, OTHER] })).toEqual(refused)
  answer = { status: 503, body: [] }
  expect((await write('update', { client_name: 'Renamed' }))[0]).toBe(0)
  answer = { body: [REDIRECT, OTHER] }
  expect((await write('update', { redirect_uris: [REDIRECT, OTHER] }))[0]).toBe(0)
})

it('§5 holds for declared clients, at the start that takes them up and at no other', async () => {
  const ca = server.env.NODE_EXTRA_CA_CERTS
  const settings = { ...SETTINGS, clients: [...SETTINGS.clients, { client_id: 'declared', ...paired([REDIRECT]) }] }
  const start = () => startServer({ settings, process: 'own', env: { NODE_EXTRA_CA_CERTS: ca }, wait: false })
  answer = { body: [OTHER] }
  const refused = await start()
  expect(await refused.exited()).toBe(1)
  expect(refused.logs().join('\n')).toContain('clients.declared.sector_identifier_uri: must answer with a JSON array')
  await refused.close()
  answer = { body: [REDIRECT] }
  const taken = await start()
  await taken.ready()
  answer = { status: 503, body: [] }
  await taken.restart()
  await taken.close()
})

it('§5 is asked for the redirect URIs: all of them, in an array, by an answer of its own', async () => {
  const token = await initialToken(server, 'web')
  const sector = { subject_type: 'pairwise', sector_identifier_uri: `${site.origin}/sector.json` }
  const register = () => registrar(server.issuer).register(token, { ...WEB_CLIENT, ...sector })
  const [redirect] = WEB_CLIENT.redirect_uris as string[]
  const good = ['https://other.test.example/callback', redirect]
  const bad = [[], ['https://other.test.example/callback'], { 0: redirect }, redirect, null, 'x'.repeat(100_000)]
  const answers = [...bad.map((body) => ({ body })), { status: 302, body: good }, { status: 404, body: good }]
  const texts = new Set<unknown>()
  for (const next of answers) {
    answer = next
    const { status, body } = await register()
    expect([status, body.error]).toEqual([400, 'invalid_client_metadata'])
    texts.add(body.error_description)
  }
  expect([...texts]).toEqual([expect.stringContaining('sector_identifier_uri')])
  expect(canary.calls()).toBe(0)
  answer = { body: good }
  expect(await register()).toMatchObject({ status: 201, body: sector })
})
