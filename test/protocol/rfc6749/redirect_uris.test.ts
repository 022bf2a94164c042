/** RFC 6749 §3.1.2 and RFC 9700 §4.1: redirect URIs match exactly. PROTOCOL.md E 1, 2 and 4, attack A60. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SECRET, SETTINGS } from '../../support/journeys.ts'
import { authorizationRequest, clientBrowser } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import type { Fields } from '../../support/token_requests.ts'

const REGISTERED = 'https://app.test.example/callback'
const WITH_QUERY = 'https://query.test.example/callback?tenant=1'
const clients = [
  { client_id: 'app', client_secret: SECRET, redirect_uris: [REGISTERED] },
  { client_id: 'query', client_secret: SECRET, redirect_uris: [WITH_QUERY] },
  { client_id: 'many', client_secret: SECRET, redirect_uris: [REGISTERED, 'https://app.test.example/other'] },
  { client_id: 'local', client_secret: SECRET, redirect_uris: ['http://localhost:4999/callback'] },
  {
    client_id: 'native',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    redirect_uris: ['http://127.0.0.1/callback', 'com.example.app:/callback'],
  },
]

/** Each is near the registered one, and none is it. */
const NEAR = [
  ...[
    'https://app.test.example/callback/',
    'https://app.test.example/callback/x',
    'https://app.test.example/callbackx',
  ],
  ...[
    'https://app.test.example/',
    'https://app.test.example',
    'https://app.test.example/CALLBACK',
    '/callback',
    'callback',
  ],
  ...[
    'https://app.test.example/callback?x=1',
    'https://app.test.example/callback?',
    'https://app.test.example/callback#x',
  ],
  ...[
    'https://app.test.example/callback#',
    'https://app.test.example/callback?x=1#y',
    'https://app.test.example/callback;x',
  ],
  ...[
    'https://app.test.example/callback/..',
    'https://app.test.example/callback/../evil',
    'https://app.test.example/x/../callback',
  ],
  ...[
    'https://app.test.example/..;/callback',
    'https://app.test.example/callback/..;/evil',
    'https://app.test.example/./callback',
  ],
  ...[
    'https://app.test.example//callback',
    'https://app.test.example/%63allback',
    'https://app.test.example/callback%2f..%2fevil',
  ],
  ...[
    'https://app.test.example/callback%252f..%252fevil',
    'https://app.test.example/callback%00',
    'https://app.test.example/callback%0d%0aLocation:x',
  ],
  ...[
    'https://app.test.example/callback\\evil',
    'https://app.test.example\\callback',
    'https:\\\\app.test.example/callback',
  ],
  ...[
    'https://app.test.example:443/callback',
    'https://app.test.example:8443/callback',
    'https://app.test.example:0443/callback',
  ],
  ...[
    'https://user@app.test.example/callback',
    'https://user:pass@app.test.example/callback',
    'https://app.test.example@evil.example/callback',
  ],
  ...[
    'https://evil.example/callback',
    'https://evil.example/https://app.test.example/callback',
    'https://evil.example?https://app.test.example/callback',
  ],
  ...[
    'https://evil.example#https://app.test.example/callback',
    'https://app.test.example.evil.example/callback',
    'https://evilapp.test.example/callback',
  ],
  ...[
    'https://appXtest.example/callback',
    'https://app-test.example/callback',
    'https://sub.app.test.example/callback',
    'https://test.example/callback',
  ],
  ...[
    'https://APP.test.example/callback',
    'HTTPS://app.test.example/callback',
    'https://app.test.example./callback',
    'https://app.test.example%2eevil.example/callback',
  ],
  ...[
    'http://app.test.example/callback',
    '//app.test.example/callback',
    'https:app.test.example/callback',
    'https:///app.test.example/callback',
  ],
  ...[
    'javascript:alert(1)//https://app.test.example/callback',
    'data:text/html,https://app.test.example/callback',
    'vbscript:x',
    'file:///callback',
  ],
  ...[
    ' https://app.test.example/callback',
    'https://app.test.example/callback ',
    '\thttps://app.test.example/callback',
    'https://app.test.example/callback\n',
  ],
  ...[
    'https://app.test.example/callback\u200b',
    'https://\uff41pp.test.example/callback',
    'https://app.test.example/c\u0430llback',
    '*',
    'https://*/callback',
  ],
  ...[
    'https://app.test.example/callback,https://evil.example',
    'https://app.test.example/callback https://evil.example',
    '',
    'null',
    'undefined',
  ],
  ...[
    'https://query.test.example/callback?tenant=1',
    'http://localhost:4999/callback',
    'urn:ietf:wg:oauth:2.0:oob',
    'about:blank',
  ],
]

let server: Server
const browser = clientBrowser()

beforeAll(async () => {
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...clients] } })
})
afterAll(() => server.close())

const ask = (clientId: string, redirectUri: string | undefined, more: Fields = {}) =>
  browser.send(authorizationRequest(server.issuer, clientId, { redirect_uri: redirectUri, ...more }).url)

/** An error page of ours that leads nowhere (oidcc-ensure-registered-redirect-uri). */
function expectRefused(answer: Awaited<ReturnType<typeof ask>>) {
  expect(answer.status).toBe(400)
  expect(answer.headers.location).toBeUndefined()
  expect(answer.headers.refresh).toBeUndefined()
  expect(answer.headers['content-type']).toContain('text/html')
  // The one form is that of the page's own languages.
  expect(answer.body).not.toMatch(/\bevil\b|http-equiv|javascript:|<form(?! method="post" action="\/language")/)
}

function expectAccepted(answer: Awaited<ReturnType<typeof ask>>) {
  expect(answer.status).toBe(303)
  expect(answer.headers.location).toMatch(/\/interaction\//)
}

describe('A60 E1 oidcc-ensure-registered-redirect-uri', () => {
  it('the registered one is taken (the positive twin)', async () => {
    expectAccepted(await ask('app', REGISTERED))
  })

  it('there are at least 60 near misses', () => {
    expect(new Set(NEAR).size).toBeGreaterThanOrEqual(60)
  })

  it.each([...new Set(NEAR)].map((uri) => [JSON.stringify(uri), uri]))('%s', async (_name, uri) => {
    expectRefused(await ask('app', uri))
    // An error that would be told to the client is told to nobody, and with no interaction shown.
    expectRefused(await ask('app', uri, { prompt: 'none' }))
    expectRefused(await ask('app', uri, { response_type: 'x', response_mode: 'form_post' }))
  })

  it('omitted, with one registered and with two', async () => {
    for (const clientId of ['app', 'many']) expectRefused(await ask(clientId, undefined))
  })

  it('each of several is taken, and only those', async () => {
    expectAccepted(await ask('many', REGISTERED))
    expectAccepted(await ask('many', 'https://app.test.example/other'))
    expectRefused(await ask('many', 'https://app.test.example/third'))
  })
})

describe('E2 oidcc-redirect-uri-query-*', () => {
  it('OK: a registered query is kept in the answer', async () => {
    expectAccepted(await ask('query', WITH_QUERY))
    const { headers } = await ask('query', WITH_QUERY, { prompt: 'none' })
    expect(headers.location).toMatch(/^https:\/\/query\.test\.example\/callback\?tenant=1&error=login_required&/)
  })

  it.each([
    ['mismatch', 'https://query.test.example/callback?tenant=2'],
    ['added', `${WITH_QUERY}&admin=1`],
    ['added before', 'https://query.test.example/callback?admin=1&tenant=1'],
    ['left out', 'https://query.test.example/callback'],
    ['repeated', `${WITH_QUERY}&tenant=1`],
    ['written in another way', 'https://query.test.example/callback?%74enant=1'],
  ])('%s', async (_name, uri) => {
    expectRefused(await ask('query', uri))
  })
})

describe('RFC 8252 §7: native and development clients', () => {
  it.each(['http://127.0.0.1/callback', 'http://127.0.0.1:51004/callback', 'com.example.app:/callback'])(
    'a native app may listen on any port of loopback: %s',
    async (uri) => {
      expectAccepted(await ask('native', uri))
    },
  )

  it.each([
    ...[
      'http://localhost/callback',
      'http://127.0.0.1:51004/other',
      'http://127.0.0.1.evil.example/callback',
      'http://127.0.0.2/callback',
    ],
    ...[
      'https://127.0.0.1/callback',
      'http://[::1]/callback',
      'com.example.app:/evil',
      'com.example.app2:/callback',
      'http://127.0.0.1@evil.example/callback',
    ],
  ])('but nothing else: %s', async (uri) => {
    expectRefused(await ask('native', uri))
  })

  it('a web client keeps its port', async () => {
    expectAccepted(await ask('local', 'http://localhost:4999/callback'))
    for (const uri of [
      'http://localhost:5000/callback',
      'http://localhost/callback',
      'http://localhost.evil.example:4999/callback',
    ]) {
      expectRefused(await ask('local', uri))
    }
  })
})

describe('E4 what cannot be registered at all', () => {
  it.each([
    ['oidcc-redirect-uri-regfrag', 'https://a.test.example/callback#fragment'],
    ['a script', 'javascript:alert(1)'],
  ])('%s is refused at write, with the reason', async (name, uri) => {
    const file = join(server.dataDir, '..', 'client.json')
    writeFileSync(file, JSON.stringify({ redirect_uris: [uri] }))
    const { code, stdout, stderr } = await server.run('clients', 'create', 'bad', '--metadata', file)
    expect({ name, code }).toEqual({ name, code: 1 })
    expect(stdout + stderr).toContain('redirect_uris')
    expectRefused(await ask('bad', uri))
  })
})
