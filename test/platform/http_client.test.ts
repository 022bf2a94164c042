import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { createHttpClient, OutboundError } from '../../src/platform/http_client.ts'
import { createCertificate } from '../support/tls_proxy.ts'

const LOOPBACK = ['127.0.0.0/8', '::1']
const v4 = (address: string) => ({ address, family: 4 })

describe('http client', () => {
  const servers: Server[] = []
  let hits: { url: string; method: string; headers: IncomingMessage['headers']; body: string }[] = []
  let answer: (request: IncomingMessage, response: ServerResponse) => void = (_, response) => response.end('ok')
  let port = 0
  let tlsPort = 0
  const tls = createCertificate()

  beforeAll(async () => {
    const handle = (request: IncomingMessage, response: ServerResponse) => {
      let body = ''
      request.on('data', (part) => {
        body += part
      })
      request.on('end', () => {
        hits.push({ url: request.url ?? '', method: request.method ?? '', headers: request.headers, body })
        answer(request, response)
      })
    }
    const listen = async (server: Server) => {
      servers.push(server)
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return (server.address() as AddressInfo).port
    }
    port = await listen(createServer(handle))
    tlsPort = await listen(createTlsServer(tls, handle))
  })
  afterEach(() => {
    hits = []
    answer = (_, response) => response.end('ok')
  })
  afterAll(async () => {
    for (const server of servers) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  })

  const code = async (work: Promise<unknown>): Promise<string> => {
    const error = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    )
    if (!(error instanceof OutboundError)) throw new Error(`expected an OutboundError, got ${String(error)}`)
    expect(error.message).not.toMatch(/127\.|localhost|example|:\/\//)
    return error.code
  }

  it('answers like fetch: status, headers, body, for every kind of request body', async () => {
    const { fetch } = createHttpClient({ allowedNetworks: LOOPBACK })
    answer = (_, response) =>
      response.writeHead(201, { 'content-type': 'application/json', 'x-a': '1' }).end('{"a":"ä"}')
    const response = await fetch(`http://127.0.0.1:${port}/x?y=1`, {
      method: 'POST',
      body: new URLSearchParams({ logout_token: 'a b' }),
      headers: new Headers({ 'x-mine': 'yes', 'user-agent': 'someone' }),
    })
    expect(response).toBeInstanceOf(Response)
    expect([response.status, response.ok, response.headers.get('x-a')]).toEqual([201, true, '1'])
    expect(await response.json()).toEqual({ a: 'ä' })
    expect(hits[0]).toMatchObject({ url: '/x?y=1', method: 'POST', body: 'logout_token=a+b' })
    expect(hits[0]?.headers).toMatchObject({
      'x-mine': 'yes',
      'user-agent': 'genkan',
      'content-type': 'application/x-www-form-urlencoded;charset=UTF-8',
      'content-length': '16',
    })
    answer = (_, empty) => empty.writeHead(204).end()
    const none = await fetch(new URL(`http://127.0.0.1:${port}/`), { method: 'POST', body: 'text' })
    expect([none.status, none.body, hits[1]?.body]).toEqual([204, null, 'text'])
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(204)
  })

  it('refuses everything behind us, in every spelling, without connecting', async () => {
    const { fetch } = createHttpClient({ allowedNetworks: [] })
    const hosts = `127.0.0.1 127.1 0x7f.1 0x7f000001 2130706433 0177.0.0.1 localhost LOCALHOST [::1] [::ffff:127.0.0.1]
      [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::] 0.0.0.0 0 %31%32%37.0.0.1 １２７.0.0.1 169.254.169.254 10.0.0.1
      192.168.0.1 [fe80::1] [fd00::1] [64:ff9b::7f00:1] [2002:7f00:1::]`
    for (const host of hosts.split(/\s+/)) {
      for (const scheme of ['http', 'https']) {
        expect([host, await code(fetch(`${scheme}://${host}:${port}/`))]).toEqual([host, 'address_refused'])
      }
    }
    // Some resolvers do not know the absolute spelling.
    expect(['address_refused', 'unreachable']).toContain(await code(fetch(`http://localhost.:${port}/`)))
    expect(hits).toHaveLength(0)
  })

  it('refuses what is not https, and everything that is not a plain web address', async () => {
    const { fetch } = createHttpClient({ allowedNetworks: [], resolve: async () => [v4('93.184.216.34')] })
    expect(await code(fetch('http://client.example/'))).toBe('url_refused')
    for (const url of ['file:///etc/passwd', 'data:,x', 'ftp://x/', 'no url', 'https://user:pw@client.example/', '']) {
      expect([url, await code(fetch(url))]).toEqual([url, 'url_refused'])
    }
  })

  it('allows http for listed networks only when every address is listed', async () => {
    const listed = createHttpClient({ allowedNetworks: LOOPBACK, resolve: async () => [v4('127.0.0.1')] })
    expect(await (await listed.fetch(`http://client.example:${port}/`)).text()).toBe('ok')
    const mixed = createHttpClient({
      allowedNetworks: LOOPBACK,
      resolve: async () => [v4('127.0.0.1'), v4('93.184.216.34')],
    })
    expect(await code(mixed.fetch(`http://client.example:${port}/`))).toBe('url_refused')
    expect(hits).toHaveLength(1)
  })

  it('connects to the address it checked: no second resolution, no mixed answers (DNS rebinding)', async () => {
    let asked = 0
    const rebinding = createHttpClient({
      allowedNetworks: ['127.0.0.1'],
      resolve: async () => [v4(asked++ === 0 ? '127.0.0.1' : '127.0.0.2')],
    })
    await rebinding.fetch(`http://client.example:${port}/`)
    expect([asked, hits.length]).toEqual([1, 1])
    expect(hits[0]?.headers.host).toBe(`client.example:${port}`)
    const mixed = createHttpClient({ allowedNetworks: [], resolve: async () => [v4('93.184.216.34'), v4('127.0.0.1')] })
    expect(await code(mixed.fetch(`https://client.example:${tlsPort}/`))).toBe('address_refused')
    const nothing = createHttpClient({ allowedNetworks: [], resolve: async () => [] })
    expect(await code(nothing.fetch('https://client.example/'))).toBe('address_refused')
    expect(hits).toHaveLength(1)
  })

  it('speaks TLS with the name of the address, and refuses a certificate it does not trust', async () => {
    const options = { allowedNetworks: LOOPBACK, resolve: async () => [v4('127.0.0.1')] }
    const trusting = createHttpClient({ ...options, ca: tls.cert })
    expect(await (await trusting.fetch(`https://localhost:${tlsPort}/`)).text()).toBe('ok')
    expect(await code(trusting.fetch(`https://other.example:${tlsPort}/`))).toBe('unreachable')
    expect(await code(createHttpClient(options).fetch(`https://localhost:${tlsPort}/`))).toBe('unreachable')
  })

  it('follows no redirect', async () => {
    const { fetch } = createHttpClient({ allowedNetworks: LOOPBACK })
    for (const status of [301, 302, 303, 307, 308]) {
      answer = (_, response) => response.writeHead(status, { location: `http://127.0.0.1:${port}/secret` }).end()
      const response = await fetch(`http://127.0.0.1:${port}/start`)
      expect([response.status, response.ok, response.redirected]).toEqual([status, false, false])
    }
    expect(hits.map(({ url }) => url)).toEqual(Array.from({ length: 5 }, () => '/start'))
  })

  it('gives up on slow answers: no headers, a dripping body, a silent resolver, an aborted caller', async () => {
    const { fetch } = createHttpClient({ allowedNetworks: LOOPBACK, timeoutMs: 150 })
    answer = () => {}
    expect(await code(fetch(`http://127.0.0.1:${port}/`))).toBe('timed_out')
    answer = (_, response) => {
      const drip = setInterval(() => response.write('x'), 20)
      response.on('close', () => clearInterval(drip))
    }
    const began = performance.now()
    expect(await code(fetch(`http://127.0.0.1:${port}/`))).toBe('timed_out')
    expect(performance.now() - began).toBeLessThan(1000)
    const silent = createHttpClient({ allowedNetworks: [], timeoutMs: 50, resolve: () => new Promise(() => {}) })
    expect(await code(silent.fetch('https://client.example/'))).toBe('timed_out')
    const patient = createHttpClient({ allowedNetworks: LOOPBACK })
    answer = () => {}
    expect(await code(patient.fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(50) }))).toBe(
      'timed_out',
    )
  })

  it('takes 64 KiB of body and no byte more, announced or not', async () => {
    const { fetch } = createHttpClient({ allowedNetworks: LOOPBACK })
    const limit = 64 * 1024
    answer = (_, response) => response.end('x'.repeat(limit))
    expect((await (await fetch(`http://127.0.0.1:${port}/`)).text()).length).toBe(limit)
    answer = (_, response) => response.end('x'.repeat(limit + 1))
    expect(await code(fetch(`http://127.0.0.1:${port}/`))).toBe('response_too_large')
    answer = (_, response) => {
      const pour = () => {
        while (!response.destroyed && response.write('x'.repeat(8192)));
      }
      response.on('drain', pour)
      pour()
    }
    expect(await code(fetch(`http://127.0.0.1:${port}/`))).toBe('response_too_large')
    answer = (_, response) => response.writeHead(200, { 'x-huge': 'y'.repeat(32 * 1024) }).end()
    expect(await code(fetch(`http://127.0.0.1:${port}/`))).toBe('unreachable')
  })

  it('says unreachable for closed ports and unknown names', async () => {
    const { fetch } = createHttpClient({ allowedNetworks: LOOPBACK })
    expect(await code(fetch('http://127.0.0.1:1/'))).toBe('unreachable')
    expect(await code(fetch('https://does-not-exist.invalid/'))).toBe('unreachable')
  })
})
