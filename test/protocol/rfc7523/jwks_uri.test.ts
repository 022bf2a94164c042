/** RFC 7523 §3, RFC 8705 §2.2, OIDC Core §10.1.1: keys of clients by `jwks_uri`: cached, rotated, away; attack A70. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Canary, startCanary } from '../../support/canary.ts'
import { es256With, jws } from '../../support/forged_jwts.ts'
import { API, SETTINGS } from '../../support/journeys.ts'
import { type KeySite, startKeySite } from '../../support/key_site.ts'
import { type SelfSigned, selfSigned } from '../../support/self_signed.ts'
import { type Server, startServer } from '../../support/server.ts'
import { scratchFolder } from '../../support/services.ts'
import { postForm } from '../../support/token_requests.ts'

const TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const machine = { grant_types: ['client_credentials'], scope: 'orders:read', resources: [API] }
const ASKS = { grant_type: 'client_credentials', resource: API, scope: 'orders:read' }

interface Key {
  readonly jwk: object
  readonly kid: string
  readonly privateKey: KeyObject
}

const createKey = (kid: string): Key => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { kid, privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' } }
}
const setOf = (...keys: readonly Key[]) => ({ keys: keys.map(({ jwk }) => jwk) })
const [first, second, stranger] = [createKey('first'), createKey('second'), createKey('stranger')]

/** Each group of tests has a client of its own: what one learns of the address, the others do not. */
const CLIENTS = ['cold', 'cached', 'rotated', 'flooded', 'away', 'huge', 'slow', 'private']

let server: Server
let site: KeySite
let canary: Canary
let ahead = 0
let count = 0

const remote = (client_id: string) => ({
  ...{ ...machine, client_id, token_endpoint_auth_method: 'private_key_jwt', jwks_uri: `${site.origin}/${client_id}` },
})

beforeAll(async () => {
  canary = await startCanary()
  site = await startKeySite()
  server = await startServer({
    settings: {
      ...SETTINGS,
      mtls: { certificate_header: 'client-cert' },
      trusted_proxies: ['127.0.0.1'],
      clients: [
        ...SETTINGS.clients,
        ...CLIENTS.map(remote),
        { ...remote('certified'), token_endpoint_auth_method: 'self_signed_tls_client_auth' },
      ],
    },
  })
})
afterAll(async () => {
  await server?.close()
  await site?.stop()
  await canary?.stop()
})

async function later(seconds: number): Promise<void> {
  ahead += seconds
  await server.shiftDate(ahead)
}

const assertionOf = (clientId: string, { kid, privateKey }: Key, aud = server.issuer) => {
  const now = Math.floor(Date.now() / 1000) + ahead
  const claims = { iss: clientId, sub: clientId, aud, jti: `jwks-${++count}`, iat: now, exp: now + 60 }
  return jws({ alg: 'ES256', kid }, claims, es256With(privateKey))
}
const ask = (clientId: string, key: Key, { origin, issuer }: Pick<Server, 'origin' | 'issuer'> = server) =>
  postForm(`${origin}/token`, {
    ...ASKS,
    ...{ client_assertion_type: TYPE, client_assertion: assertionOf(clientId, key, issuer) },
  })
const statusOf = async (clientId: string, key: Key) => (await ask(clientId, key)).status
/** How often the address is asked while `work` goes on. */
const callsDuring = async (work: () => Promise<unknown>) => {
  const before = site.calls()
  await work()
  return site.calls() - before
}

describe('a set of keys', () => {
  it('is fetched once for many first requests at once, and kept', async () => {
    site.answer(setOf(first))
    const statuses: number[] = []
    const calls = await callsDuring(async () => {
      const asked = await Promise.all(Array.from({ length: 10 }, () => statusOf('cold', first)))
      statuses.push(...asked, await statusOf('cold', first))
    })
    expect([new Set(statuses), calls]).toEqual([new Set([200]), 1])
  })

  it('is fetched again for a key that is not in it, and the one that left is refused at once', async () => {
    site.answer(setOf(first))
    expect(await statusOf('rotated', first)).toBe(200)
    await later(11)
    site.answer(setOf(second))
    expect(await callsDuring(async () => expect(await statusOf('rotated', first)).toBe(200))).toBe(0)
    expect(await statusOf('rotated', second)).toBe(200)
    expect(await statusOf('rotated', first)).toBe(401)
  })

  it('loses a key that left it without any new one being shown, by its age', async () => {
    site.answer((response) => response.setHeader('cache-control', 'max-age=31536000').end(JSON.stringify(setOf(first))))
    expect(await statusOf('cached', first)).toBe(200)
    site.answer(setOf(second))
    await later(3000)
    expect(await callsDuring(async () => expect(await statusOf('cached', first)).toBe(200))).toBe(0)
    await later(700)
    expect(await statusOf('cached', first)).toBe(401)
    expect(await statusOf('cached', second)).toBe(200)
  })

  it('is not fetched more than once in ten seconds, whatever keys are named', async () => {
    site.answer(setOf(first))
    expect(await statusOf('flooded', first)).toBe(200)
    await later(11)
    const flood = () => Promise.all(Array.from({ length: 20 }, () => statusOf('flooded', stranger)))
    const calls = await callsDuring(async () => expect(new Set(await flood())).toEqual(new Set([401])))
    expect(calls).toBe(1)
    expect(await callsDuring(flood)).toBe(0)
    expect(await statusOf('flooded', first)).toBe(200)
    await later(11)
    expect(await callsDuring(flood)).toBe(1)
  })
})

describe('while the address fails', () => {
  const failures: readonly (readonly [string, Parameters<KeySite['answer']>[0]])[] = [
    ['it closes the connection', (response) => response.destroy()],
    ['it answers 500', (response) => response.writeHead(500).end('{}')],
    ['it answers no JSON', (response) => response.end('<html>')],
    ['it answers another thing', { keys: 'none' }],
    ['it answers with a private key', { keys: [{ ...first.jwk, d: 'AAAA' }] }],
    ['it redirects', (response) => response.writeHead(302, { location: `${canary.origin}/jwks` }).end()],
  ]
  it('its last set serves on for a day, and is asked for once in ten seconds', async () => {
    site.answer(setOf(first))
    expect(await statusOf('away', first)).toBe(200)
    for (const [name, failure] of failures) {
      site.answer(failure)
      await later(3601)
      const calls = await callsDuring(async () => {
        for (const key of [first, first, stranger, first]) {
          expect([name, await statusOf('away', key)]).toEqual([name, key === first ? 200 : 401])
        }
      })
      expect([name, calls]).toEqual([name, 1])
    }
    // The engine is built anew for new signing keys of ours; what was fetched stays.
    const published = async () =>
      ((await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: unknown[] }).keys.length
    const before = await published()
    expect((await server.run('keys', 'rotate')).code).toBe(0)
    for (let tries = 0; (await published()) === before && tries < 100; tries++) await sleep(50)
    expect(await published()).toBeGreaterThan(before)
    expect(await statusOf('away', first)).toBe(200)
    await later(86_400)
    expect(await statusOf('away', first)).toBe(401)
    site.answer(setOf(first))
    await later(11)
    expect(await statusOf('away', first)).toBe(200)
    expect(canary.calls()).toBe(0)
  })

  it('keys that were never there let nobody in: too large, too slow, private', async () => {
    site.answer((response) => response.end(JSON.stringify({ ...setOf(first), more: 'x'.repeat(70_000) })))
    expect(await ask('huge', first)).toMatchObject({ status: 401, body: { error: 'invalid_client' } })
    site.answer({ keys: [{ ...first.jwk, d: 'AAAA' }] })
    expect(await ask('private', first)).toMatchObject({ status: 401, body: { error: 'invalid_client' } })
    site.answer((response) => {
      response.write('{"keys":[')
      const drip = setInterval(() => response.write(' '), 100)
      response.once('close', () => clearInterval(drip))
    })
    const started = Date.now()
    expect(await ask('slow', first)).toMatchObject({ status: 401, body: { error: 'invalid_client' } })
    expect(Date.now() - started).toBeLessThan(7000)
    // The same requests pass once the address is in order.
    site.answer(setOf(first))
    await later(11)
    for (const clientId of ['huge', 'private', 'slow']) expect(await statusOf(clientId, first)).toBe(200)
  })
})

describe('a self-signed certificate (RFC 8705 §2.2)', () => {
  const show = async ({ header }: SelfSigned) => {
    const headers = { 'client-cert': header }
    return (await postForm(`${server.issuer}/token`, { ...ASKS, client_id: 'certified' }, headers)).status
  }

  it('is known by the set, found in a new one, and refused when it left', async () => {
    const [now, next] = [selfSigned('now'), selfSigned('next')]
    site.answer({ keys: [now.jwk] })
    expect(await show(now)).toBe(200)
    expect(await show(next)).toBe(401)
    site.answer({ keys: [next.jwk] })
    await later(11)
    expect(await show(next)).toBe(200)
    expect(await show(now)).toBe(401)
    site.answer((response) => response.writeHead(503).end())
    await later(3601)
    expect(await show(next)).toBe(200)
    await later(86_400)
    expect(await show(next)).toBe(401)
  })
})

describe('an address behind us (A70)', () => {
  // A loopback issuer is somebody's own machine, and reaches its neighbours there.
  let inProduction: Server
  beforeAll(async () => {
    const settings = { ...SETTINGS, clients: SETTINGS.clients }
    inProduction = await startServer({ settings, issuer: 'https://id.test.example' })
  })
  afterAll(() => inProduction?.close())

  const HOSTS = [
    ...['127.0.0.1', 'localhost', '127.1', '2130706433', '0x7f.1', '0177.0.0.1', '0.0.0.0', '[::1]', '[::]'],
    ...['[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]', 'localhost.'],
    ...['169.254.169.254', '10.0.0.1', '192.168.0.1', '172.16.0.1', '100.64.0.1', '[fe80::1]', '[fc00::1]'],
  ]
  const ODD = ['file:///etc/passwd', 'gopher://127.0.0.1/', 'ftp://127.0.0.1/', 'data:application/json,{}', '//x/', 'x']

  it('is refused at registration or never reached, with one and the same answer', async () => {
    const { port } = new URL(canary.origin)
    const urls = HOSTS.flatMap((host) => [`http://${host}:${port}/jwks`, `https://${host}:${port}/jwks`])
    const folder = await scratchFolder('jwks-')
    const file = join(folder, 'metadata.json')
    const [answers, registered] = [new Set<string>(), new Set<string>()]
    for (const [row, jwks_uri] of [...urls, ...ODD, `https://id@127.0.0.1:${port}/`].entries()) {
      writeFileSync(file, JSON.stringify({ ...machine, token_endpoint_auth_method: 'private_key_jwt', jwks_uri }))
      const { code } = await inProduction.run('clients', 'create', `ssrf-${row}`, '--metadata', file)
      if (code !== 0) continue
      registered.add(jwks_uri)
      const { status, body } = await ask(`ssrf-${row}`, first, inProduction)
      answers.add(JSON.stringify([status, body]))
    }
    rmSync(folder, { recursive: true, force: true })
    expect(registered.size).toBeGreaterThan(15)
    expect([...answers]).toEqual([
      JSON.stringify([401, { error: 'invalid_client', error_description: 'client authentication failed' }]),
    ])
    expect(canary.calls()).toBe(0)
  })
})
