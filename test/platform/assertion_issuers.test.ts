/** What an operator should know of issuers whose word is taken as a grant. Their settings: test/features/clients/grants.test.ts. */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { issuerProblems, readAssertionIssuers } from '../../src/platform/assertion_issuers.ts'
import { createHttpClient } from '../../src/platform/http_client.ts'
import { type KoaServer, serveKoa } from '../support/koa_server.ts'

const jwk = {
  kty: 'EC',
  crv: 'P-256',
  x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
  y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
}
let keys: KoaServer
beforeAll(async () => {
  keys = await serveKoa((ctx) => {
    if (ctx.path === '/away') ctx.status = 503
    else ctx.body = ctx.path === '/keys' ? { keys: [jwk] } : { no: 'keys' }
  })
})
afterAll(() => keys.close())

async function problemsOf(...declared: object[]) {
  const read = readAssertionIssuers(declared, 'https://id.example')
  if ('problems' in read) throw new Error(read.problems.join())
  return issuerProblems(read.issuers.values(), {
    http: createHttpClient({ allowedNetworks: ['127.0.0.0/8'] }),
    clock: { now: () => new Date() },
    isOn: async (name) => name === 'on',
  })
}
const from = (path: string, more = {}) => ({ issuer: 'https://a.example', jwks_uri: `${keys.origin}${path}`, ...more })

it('is nothing when keys can be read and the provider is on', async () => {
  expect(await problemsOf(from('/keys'))).toEqual([])
  expect(await problemsOf(from('/keys', { upstream: 'on' }))).toEqual([])
  expect(await problemsOf({ issuer: 'https://a.example', jwks: { keys: [jwk] } })).toEqual([])
})

it('names keys that are away or none, and a provider that is off', async () => {
  expect(await problemsOf(from('/away'))).toEqual(['https://a.example: its keys cannot be read: server_error'])
  expect(await problemsOf(from('/else'))).toEqual(['https://a.example: its keys cannot be read: jwks_invalid'])
  expect(await problemsOf(from('/keys', { upstream: 'off' }))).toEqual([
    'https://a.example: its people are those of off, which is off',
  ])
  const twice = [from('/away'), { issuer: 'https://b.example', jwks: { keys: [jwk] }, upstream: 'off' }]
  expect(await problemsOf(...twice)).toHaveLength(2)
})
