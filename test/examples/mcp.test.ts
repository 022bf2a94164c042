/**
 * The MCP examples: a stock client that knows an address finds the issuer, signs somebody in, and calls tools; what it may not
 * do it has to ask for. RFC 9728, RFC 8707, RFC 9207, RFC 6750 §3.1, MCP authorization (2026-07-28).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createBrowser } from '../support/browser.ts'
import { API, allow, SETTINGS, signIn } from '../support/journeys.ts'
import { mailFolder } from '../support/mailbox.ts'
import { newPerson, type Person } from '../support/people.ts'
import { type Server, startServer } from '../support/server.ts'
import { entrust, freePorts } from '../support/services.ts'
import { startTlsProxy } from '../support/tls_proxy.ts'
import { basic, payloadOf, postForm, tokensOf } from '../support/token_requests.ts'

const root = new URL('../../', import.meta.url).pathname

let server: Server
let ann: Person
let base: number
let mcp: Awaited<ReturnType<typeof start>>
const resource = () => `http://localhost:${base}/mcp`

beforeAll(async () => {
  base = await freePorts(2)
  const agent = {
    ...{ client_id: 'demo-agent', client_name: 'Demo agent', token_endpoint_auth_method: 'none' },
    ...{ application_type: 'native', redirect_uris: ['http://127.0.0.1/callback'] },
    ...{ scope: 'openid offline_access orders:read orders:write', resources: [resource()] },
  }
  const machine = {
    ...{ client_id: 'machine', client_secret: 'test-only-secret-of-enough-length-0123456789' },
    ...{ grant_types: ['client_credentials'], scope: 'orders:read', resources: [API, resource()] },
  }
  server = await startServer({
    settings: {
      ...SETTINGS,
      resources: [...SETTINGS.resources, ...resources(resource())],
      clients: [...SETTINGS.clients.filter(({ client_id: id }) => id !== 'machine'), agent, machine],
    },
  })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  mcp = await startMcp(server.issuer)
})
afterAll(async () => {
  mcp?.child.kill()
  await server?.close()
})

const resources = (identifier: string) => [
  { identifier, scopes: ['orders:read', 'orders:write'], access_token_format: 'jwt' },
]

async function startMcp(issuer: string) {
  const started = await start('server.ts', { ISSUER: issuer, BASE_URL: `http://localhost:${base}` })
  for (let tries = 0; tries < 100 && !(await fetch(resource()).catch(() => undefined)); tries++) await sleep(50)
  return started
}

async function start(program: string, env: { [name: string]: string }) {
  const child: ChildProcess = spawn(process.execPath, [`examples/mcp/${program}`], {
    cwd: root,
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  await entrust(child.pid ?? 0)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (part) => (output += part))
  return { child, output: () => output, ended: new Promise((resolve) => child.once('close', resolve)) }
}

describe('the MCP server', () => {
  it('says where tokens for it come from (RFC 9728), in its challenge too', async () => {
    const refused = await fetch(resource(), { method: 'POST' })
    const where = `http://localhost:${base}/.well-known/oauth-protected-resource/mcp`
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, expect.stringContaining(where)])
    expect(await (await fetch(where)).json()).toMatchObject({
      ...{ resource: resource(), authorization_servers: [server.issuer], scopes_supported: ['orders:read'] },
    })
  })

  it('takes a token that is meant for it, and none that is meant for another server', async () => {
    const token = async (target: string) => {
      const fields = { grant_type: 'client_credentials', resource: target, scope: 'orders:read' }
      return tokensOf(await postForm(`${server.issuer}/token`, fields, basic('machine'))).access
    }
    const call = async (access: string) => {
      const body = { jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} }
      const headers = { authorization: `Bearer ${access}`, 'content-type': 'application/json' }
      const accept = { accept: 'application/json, text/event-stream' }
      return fetch(resource(), { method: 'POST', body: JSON.stringify(body), headers: { ...headers, ...accept } })
    }
    const own = await token(resource())
    expect(payloadOf(own).aud).toBe(resource())
    expect((await call(own)).status).toBe(200)
    expect((await call(await token(API))).status).toBe(401)
  })
})

describe('an agent with a stock client', () => {
  it('signs somebody in, and asks again when a tool needs more', async () => {
    const env = { MCP_SERVER: resource(), CLIENT_ID: 'demo-agent', PORT: String(base + 1) }
    const agent = await start('agent.ts', env)
    const browser = createBrowser()
    for (const [index, scopes] of ['orders:read', 'orders:read orders:write'].entries()) {
      const url = new URL(await asked(agent, index))
      expect([url.origin, url.searchParams.get('resource')]).toEqual([server.issuer, resource()])
      expect(url.searchParams.get('scope')?.split(' ').sort().join(' ')).toContain(scopes)
      const start = await browser.get(url.href)
      const page = index === 0 ? await signIn(browser, start, ann.email) : start
      // Who asks, and for what is new.
      expect(page.text).toContain('Demo agent')
      expect((await allow(browser, page)).text).toContain('Back to the agent')
    }
    await agent.ended
    const lines = agent.output().split('\n')
    expect(lines.filter((line) => line.startsWith('  '))).toEqual(['  list_orders', '  place_order'])
    expect(agent.output()).toContain('indoor slippers')
    expect(agent.output()).toContain('Tea for two')
  })
})

describe('an agent that nobody registered', () => {
  it('is a document at its own address: the person sees the host, and the stock client needs nothing else', async () => {
    const site = createServer((_request, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(document))
    }).listen(0, '127.0.0.1')
    await once(site, 'listening')
    const front = await startTlsProxy({ target: `http://127.0.0.1:${(site.address() as AddressInfo).port}` })
    const id = `${front.origin}/agent.json`
    const document = {
      ...{ client_id: id, client_name: 'Demo agent', application_type: 'native', token_endpoint_auth_method: 'none' },
      redirect_uris: ['http://127.0.0.1/callback'],
    }
    const folder = mkdtempSync(join(tmpdir(), 'genkan-mcp-'))
    writeFileSync(join(folder, 'ca.pem'), front.ca)
    const documents = { hosts: [new URL(id).host], scope: 'openid orders:read orders:write', loopback_redirects: true }
    const own = await startServer({
      process: 'own',
      env: { NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') },
      settings: {
        ...SETTINGS,
        resources: [...SETTINGS.resources, ...resources(resource())],
        client_id_metadata_documents: { ...documents, resources: [resource()] },
      },
    })
    mcp.child.kill()
    await mcp.ended
    mcp = await startMcp(own.issuer)
    try {
      const ben = await newPerson(own.issuer, mailFolder(own.dataDir), 'ben@example.com')
      const agent = await start('agent.ts', { MCP_SERVER: resource(), CLIENT_ID: id, PORT: String(base + 1) })
      const browser = createBrowser()
      for (const index of [0, 1]) {
        const opened = await browser.get(await asked(agent, index))
        const page = index === 0 ? await signIn(browser, opened, ben.email) : opened
        expect(page.text).toContain(new URL(id).host)
        expect((await allow(browser, page)).text).toContain('Back to the agent')
      }
      await agent.ended
      expect(agent.output()).toContain('Tea for two')
    } finally {
      await own.close()
      await front.stop()
      site.close()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

/** The address that the agent wants a person to open, the `index`th of its life. */
async function asked(agent: Awaited<ReturnType<typeof start>>, index: number): Promise<string> {
  for (const until = Date.now() + 20_000; Date.now() < until; await sleep(50)) {
    const url = [...agent.output().matchAll(/Open in a browser: (\S+)/g)][index]?.[1]
    if (url !== undefined) return url
  }
  throw new Error(`the agent never asked:\n${agent.output()}`)
}
