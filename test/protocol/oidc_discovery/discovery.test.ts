/** OpenID Connect Discovery 1.0 and RFC 8414. PROTOCOL.md E 39 (registration is absent) and 40, attack A81. */
import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import * as oidc from 'openid-client'
import { SECRET, SETTINGS } from '../../support/journeys.ts'
import { startReverseProxy } from '../../support/reverse_proxy.ts'
import { type Server, startServer } from '../../support/server.ts'
import { freePort } from '../../support/services.ts'

const OPENID = '/.well-known/openid-configuration'
const OAUTH = '/.well-known/oauth-authorization-server'
const GOLDEN = new URL('../../golden/discovery.json', import.meta.url)

let server: Server
let metadata: { readonly [name: string]: unknown }

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  metadata = await json(`${server.issuer}${OPENID}`)
})
afterAll(() => server.close())

async function json(url: string): Promise<{ readonly [name: string]: unknown }> {
  return (await (await fetch(url)).json()) as { readonly [name: string]: unknown }
}

describe('oidcc-discovery-endpoint-verification', () => {
  it('E40 is the golden document: a change of it is a change for every client', () => {
    if (process.env.GENKAN_TEST_GOLDEN === 'write') {
      const text = JSON.stringify(metadata, undefined, 2).replaceAll(server.issuer, 'https://issuer.example')
      writeFileSync(GOLDEN, `${text}\n`)
    }
    const golden = JSON.parse(readFileSync(GOLDEN, 'utf8').replaceAll('https://issuer.example', server.issuer))
    expect(metadata).toEqual(golden)
  })

  it('E40 the issuer is exact, and every endpoint is of its origin', () => {
    expect(metadata.issuer).toBe(server.issuer)
    const urls = Object.entries(metadata).filter(([name]) => /_endpoint$|_uri$/.test(name))
    expect(urls.length).toBeGreaterThanOrEqual(7)
    for (const [, url] of urls) expect(new URL(String(url)).origin).toBe(server.issuer)
  })

  it('E40 every endpoint of an https issuer is https', async () => {
    const issuer = 'https://id.example.com'
    const secure = await startServer({ settings: {}, issuer })
    try {
      const text = await (await fetch(`${secure.origin}${OPENID}`)).text()
      expect(JSON.parse(text).issuer).toBe(issuer)
      expect(text.match(/https?:\/\/[^/"]+/g)?.filter((origin) => origin !== issuer)).toEqual([])
    } finally {
      await secure.close()
    }
  })

  it('E40 has what is REQUIRED of it (§3), and code with PKCE by S256 is all there is', () => {
    expect(metadata).toMatchObject({
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
      subject_types_supported: ['public', 'pairwise'],
      scopes_supported: expect.arrayContaining(['openid']),
      claims_supported: expect.arrayContaining(['sub', 'iss', 'auth_time', 'acr']),
      prompt_values_supported: ['none', 'login', 'consent', 'select_account', 'create'],
      ui_locales_supported: expect.arrayContaining(['en', 'fi']),
      request_uri_parameter_supported: false,
    })
    expect(metadata.id_token_signing_alg_values_supported).toContain('RS256')
    for (const name of [
      'authorization_endpoint',
      'token_endpoint',
      'jwks_uri',
      'userinfo_endpoint',
      'end_session_endpoint',
    ]) {
      expect(metadata).toHaveProperty(name)
    }
  })

  it('E40 advertises no algorithm that is none, symmetric or broken', () => {
    const algs = Object.entries(metadata).filter(([name]) => name.includes('_alg_values_'))
    expect(algs.length).toBeGreaterThan(0)
    const encryption = ['RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A128KW', 'ECDH-ES+A256KW']
    for (const [name, values] of algs) {
      const known = name.includes('_encryption_') ? encryption : ['ES256', 'RS256', 'PS256', 'EdDSA']
      for (const alg of values as string[]) expect(known).toContain(alg)
    }
  })

  it('E40 every advertised endpoint is there, and none answers with a fault', async () => {
    for (const [name, url] of Object.entries(metadata).filter(([each]) => /_endpoint$|_uri$/.test(each))) {
      const { status } = await fetch(String(url), {
        method:
          name === 'authorization_endpoint' || name === 'jwks_uri' || name === 'end_session_endpoint' ? 'GET' : 'POST',
      })
      expect({ name, status }).not.toEqual({ name, status: 404 })
      expect(status).toBeLessThan(500)
    }
  })

  it('E40 the document of RFC 8414 is the same', async () => {
    expect(await json(`${server.issuer}${OAUTH}`)).toEqual(metadata)
  })

  it('client libraries take it, by both addresses', async () => {
    for (const algorithm of ['oidc', 'oauth2'] as const) {
      const config = await oidc.discovery(new URL(server.issuer), 'own', SECRET, undefined, {
        algorithm,
        execute: [oidc.allowInsecureRequests],
      })
      expect(config.serverMetadata().issuer).toBe(server.issuer)
      expect(config.serverMetadata().supportsPKCE()).toBe(true)
    }
  })

  it('is cached for a while, by entity tag', async () => {
    const first = await fetch(`${server.issuer}${OPENID}`)
    expect(first.headers.get('content-type')).toMatch(/^application\/json/)
    expect(first.headers.get('cache-control')).toMatch(/public, max-age=\d+/)
    expect(first.headers.get('set-cookie')).toBeNull()
    const etag = first.headers.get('etag') ?? ''
    expect((await fetch(`${server.issuer}${OPENID}`, { headers: { 'if-none-match': etag } })).status).toBe(304)
    expect((await fetch(`${server.issuer}${OPENID}`, { method: 'HEAD' })).status).toBe(200)
  })
})

describe('the key set (RFC 7517)', () => {
  it('E40 has a public key of each algorithm, named, and no private member', async () => {
    const { keys } = (await json(`${server.issuer}/jwks`)) as { keys: { [member: string]: unknown }[] }
    const shapes = keys.map((key) => Object.keys(key).sort().join(' ')).sort()
    expect(shapes).toEqual(['alg crv kid kty use x', 'alg crv kid kty use x y', 'alg e kid kty n use'])
    expect(keys.map(({ alg }) => alg).sort()).toEqual(['ES256', 'EdDSA', 'RS256'])
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(3)
    for (const { kid, use } of keys) {
      expect(kid).toMatch(/^[\w-]{20,}$/)
      expect(use).toBe('sig')
    }
    const rsa = keys.find(({ kty }) => kty === 'RSA')
    expect(Buffer.from(String(rsa?.n), 'base64url').length).toBeGreaterThanOrEqual(256)
  })
})

describe('E40 CORS: both documents and the key set are for everybody, without credentials', () => {
  it.each([OPENID, OAUTH, '/jwks'])('%s', async (path) => {
    for (const origin of ['https://any.example', 'null']) {
      const answer = await fetch(`${server.issuer}${path}`, { headers: { origin } })
      expect(answer.headers.get('access-control-allow-origin')).toBe('*')
      expect(answer.headers.get('access-control-allow-credentials')).toBeNull()
    }
  })
})

describe('A81 poisoning', () => {
  const EVIL = 'evil.example'
  const poison = [
    { 'x-forwarded-host': EVIL },
    { 'x-forwarded-host': EVIL, 'x-forwarded-proto': 'https', 'x-forwarded-port': '8443' },
    { forwarded: `host=${EVIL};proto=https` },
    { 'x-original-url': `//${EVIL}/`, 'x-rewrite-url': `//${EVIL}/` },
    { 'x-host': EVIL, 'x-forwarded-server': EVIL, 'x-forwarded-prefix': `//${EVIL}` },
  ]

  it.each(poison.map((headers) => [JSON.stringify(headers), headers] as const))(
    'the first request after a start with %s decides nothing for the next',
    async (_name, headers) => {
      const path = `${OPENID}?${Math.random()}`
      const first = await (await fetch(`${server.origin}${path}`, { headers })).text()
      expect(first).not.toContain(EVIL)
      expect(JSON.parse(first)).toEqual(metadata)
      expect(await (await fetch(`${server.origin}${path}`)).text()).toBe(first)
    },
  )

  it('a fresh server, whose memory of the document is made by the poisoned request', async () => {
    const fresh = await startServer({ settings: {} })
    try {
      for (const path of [OPENID, OAUTH, '/jwks']) {
        const poisoned = await fetch(`${fresh.origin}${path}`, {
          headers: { 'x-forwarded-host': EVIL, forwarded: `host=${EVIL}` },
        })
        expect(await poisoned.text()).not.toContain(EVIL)
        const next = await (await fetch(`${fresh.origin}${path}`)).text()
        expect(next).not.toContain(EVIL)
        if (path !== '/jwks') expect(JSON.parse(next).issuer).toBe(fresh.issuer)
      }
    } finally {
      await fresh.close()
    }
  })

  it('through a proxy that forwards everything, to whoever asks next', async () => {
    const proxy = await startReverseProxy({ port: await freePort(), target: () => server.origin })
    try {
      await fetch(`${proxy.origin}${OPENID}`, { headers: { 'x-forwarded-host': EVIL } })
      expect(await json(`${proxy.origin}${OPENID}`)).toEqual(metadata)
    } finally {
      await proxy.stop()
    }
  })
})

describe('E39 dynamic registration is not offered', () => {
  it('there is no registration endpoint', () => {
    expect(metadata).not.toHaveProperty('registration_endpoint')
  })

  it.each(['/reg', '/register', '/connect/register', '/reg/own', '/clients'])(
    'nobody makes or reads a client at %s',
    async (path) => {
      for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
        const body = JSON.stringify({ redirect_uris: ['https://evil.example/cb'] })
        const headers = { 'content-type': 'application/json', accept: 'application/json' }
        const answer = await fetch(`${server.issuer}${path}`, {
          method,
          headers,
          ...(method === 'GET' ? {} : { body }),
        })
        expect(answer.status).toBe(404)
        expect(await answer.text()).not.toContain('client_id')
      }
    },
  )

  it('a client_id that is an address names no client', async () => {
    const answer = await fetch(
      `${server.issuer}/auth?client_id=${encodeURIComponent('https://evil.example/client.json')}&response_type=code`,
      { redirect: 'manual' },
    )
    expect(answer.status).toBe(400)
  })
})
