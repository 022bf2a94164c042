/** OIDC Core §3.1.2.1 `id_token_hint`: whom a forged hint may fool. Attacks A68, A69. */
import { createPublicKey, type JsonWebKey } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Canary, startCanary } from '../../support/canary.ts'
import { forgeries } from '../../support/forged_jwts.ts'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { mutations } from '../../support/mutations.ts'
import { newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { headerOf, payloadOf } from '../../support/token_requests.ts'

let server: Server
let canary: Canary
let ann: Person
let hint: string
let rows: readonly { readonly name: string; readonly jwt: string }[]

beforeAll(async () => {
  canary = await startCanary()
  server = await startServer({ settings: SETTINGS })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  hint = (await ann.tokens('own')).id
  const { keys } = (await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: (JsonWebKey & { kid: string })[] }
  const publicJwk = keys.find(({ kid }) => kid === headerOf(hint).kid)
  if (publicJwk === undefined) throw new Error('the ID token names no published key')
  createPublicKey({ key: publicJwk, format: 'jwk' })
  rows = [
    ...forgeries({ header: headerOf(hint), claims: payloadOf(hint), publicJwk, canary: canary.origin }),
    ...mutations(hint, 100).map((jwt) => ({ name: `mutation ${jwt.slice(-20)}`, jwt })),
  ]
})
afterAll(async () => {
  await server?.close()
  await canary?.stop()
})

it('a hint of the person who is there goes through', async () => {
  expect((await ann.authorize('own', { prompt: 'none', id_token_hint: hint })).params.has('code')).toBe(true)
})

describe('at the authorization endpoint', () => {
  it('a forged hint is invalid_request, never a code, and nothing is fetched (A69)', async () => {
    const believed: string[] = []
    for (const { name, jwt } of rows) {
      const end = await ann.authorize('own', { prompt: 'none', id_token_hint: jwt })
      if (end.params.get('error') !== 'invalid_request') believed.push(`${name}: ${end.url} ${end.text.slice(0, 100)}`)
    }
    expect(believed).toEqual([])
    expect(canary.calls()).toBe(0)
  })

  it('a hint for another client is refused', async () => {
    const other = (await ann.tokens('spa')).id
    const end = await ann.authorize('own', { prompt: 'none', id_token_hint: other })
    expect(end.params.get('error')).toBe('invalid_request')
  })
})

describe('at the end of a session', () => {
  const uri = 'https://own.test.example/'
  it('a forged hint leads to no client (A69)', async () => {
    const believed: string[] = []
    for (const { name, jwt } of rows) {
      const query = new URLSearchParams({ id_token_hint: jwt, post_logout_redirect_uri: uri, state: 's' })
      const page = await ann.browser.get(`${server.issuer}/session/end?${query}`)
      if (!page.url.startsWith(server.issuer) || page.status !== 400)
        believed.push(`${name}: ${page.status} ${page.url}`)
    }
    expect(believed).toEqual([])
    expect(canary.calls()).toBe(0)
    expect(await ann.signedIn()).toBe(true)
  })
})
