/**
 * A partner's machine: gets access tokens by client credentials, once with a secret and once with a signed assertion
 * (private_key_jwt), calls the resource server, and shows what it refuses. Exits 0 when every answer is the expected one.
 * Settings (from the environment, or from what `npm run demo` wrote): ISSUER, RESOURCE_SERVER, DEMO_PARTNER_SECRET, DEMO_PARTNER_KEY.
 */
import { existsSync } from 'node:fs'
import { type CryptoKey, importJWK, type JWK } from 'jose'
import * as client from 'openid-client'

const settingsFile = `${process.env.DEMO_DATA_DIR ?? '.data/demo'}/demo.env`
if (existsSync(settingsFile)) process.loadEnvFile(settingsFile)
const { ISSUER = 'http://localhost:3000', RESOURCE_SERVER = 'http://localhost:4003' } = process.env
const { DEMO_PARTNER_SECRET = '', DEMO_PARTNER_KEY = '' } = process.env
if (DEMO_PARTNER_SECRET === '' || DEMO_PARTNER_KEY === '') {
  process.stderr.write(`No credentials: start "npm run demo" first, it writes ${settingsFile}.\n`)
  process.exit(1)
}

const API = 'https://api.demo.example'
let surprises = 0

const bySecret = await discover('demo-partner', client.ClientSecretBasic(DEMO_PARTNER_SECRET))
const byKey = await discover('demo-partner-key', client.PrivateKeyJwt(await readKey(DEMO_PARTNER_KEY)))

say('With a client secret, to read:')
const reader = await accessToken(bySecret, { resource: API, scope: 'orders:read' })
await call('GET', '/orders', reader, 200)

say('With a signed assertion (private_key_jwt), to write:')
const writer = await accessToken(byKey, { resource: API, scope: 'orders:read orders:write' })
await call('POST', '/orders', writer, 201)

say('Reading allowed, writing tried (wrong scope):')
await call('POST', '/orders', reader, 403)

say('A token for another resource server (wrong audience):')
const foreign = await accessToken(bySecret, { resource: 'https://billing.demo.example', scope: 'invoices:read' })
await call('GET', '/orders', foreign, 401)

say('No token at all:')
await call('GET', '/orders', undefined, 401)

say(surprises === 0 ? 'All as expected.' : `${surprises} answers were not the expected ones.`)
process.exitCode = surprises === 0 ? 0 : 1

function discover(clientId: string, authentication: client.ClientAuth): Promise<client.Configuration> {
  return client.discovery(new URL(ISSUER), clientId, undefined, authentication, {
    // The demo's issuer is http on this machine; with a real https issuer this is the line to delete.
    execute: ISSUER.startsWith('http:') ? [client.allowInsecureRequests] : [],
  })
}

/** The private key signs each assertion; the provider only ever knows the public half. */
async function readKey(encoded: string): Promise<client.PrivateKey> {
  const jwk = JSON.parse(Buffer.from(encoded, 'base64url').toString()) as JWK
  return { key: (await importJWK(jwk, 'ES256')) as CryptoKey, kid: jwk.kid ?? '' }
}

/** RFC 6749 §4.4 with RFC 8707: one token for one resource server. */
async function accessToken(config: client.Configuration, parameters: { resource: string; scope: string }) {
  const answer = await client.clientCredentialsGrant(config, parameters)
  say(`  got a token for ${parameters.resource}, scope "${answer.scope ?? parameters.scope}", ${answer.expires_in} s`)
  return answer.access_token
}

async function call(method: string, path: string, token: string | undefined, expected: number): Promise<void> {
  const headers: { [name: string]: string } = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const answer = await fetch(`${RESOURCE_SERVER}${path}`, { method, headers })
  if (answer.status !== expected) surprises += 1
  say(`  ${method} ${path}: ${answer.status}${answer.status === expected ? '' : ` (expected ${expected})`}`)
  say(`    ${answer.headers.get('www-authenticate') ?? (await answer.text()).trim()}`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
