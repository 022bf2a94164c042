/** RFC 7636, RFC 9700 §2.1.1 and attack A61 (downgrade of PKCE): PROTOCOL.md E 20 to 23. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, type Code, clientRequests, type Fields } from '../../support/token_requests.ts'

const relaxed = {
  client_id: 'relaxed',
  client_secret: SECRET,
  redirect_uris: ['https://relaxed.test.example/callback'],
  first_party: true,
  require_pkce: false,
}
const settings = { ...SETTINGS, clients: [...SETTINGS.clients, relaxed] }

let server: Server
let client: ClientRequests
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

describe('the authorization endpoint', () => {
  const refused: readonly (readonly [string, string, Fields])[] = [
    ['a browser app without a challenge', 'spa', { code_challenge: undefined, code_challenge_method: undefined }],
    [
      'a confidential client without a challenge',
      'own',
      { code_challenge: undefined, code_challenge_method: undefined },
    ],
    ['a method without a challenge', 'spa', { code_challenge: undefined }],
    ['an empty challenge', 'spa', { code_challenge: '' }],
    ['the method plain', 'spa', { code_challenge_method: 'plain' }],
    ['no method, which means plain', 'spa', { code_challenge_method: undefined }],
    ['an unknown method', 'spa', { code_challenge_method: 'S512' }],
    ['a method in small letters', 'spa', { code_challenge_method: 's256' }],
    ['a challenge that is too short', 'spa', { code_challenge: 'short' }],
    ['a challenge with other characters', 'spa', { code_challenge: `${'a'.repeat(42)}!` }],
    ['plain for a client that may leave PKCE out', 'relaxed', { code_challenge_method: 'plain' }],
  ]
  it.each(refused)('refuses %s', async (_name, clientId, parameters) => {
    const end = await ann.authorize(clientId, parameters)
    expect(end.url.startsWith(`https://${clientId}.test.example/callback`)).toBe(true)
    expect(Object.fromEntries(end.params)).toMatchObject({
      error: 'invalid_request',
      state: 'the-state',
      iss: server.issuer,
    })
    expect(end.params.has('code')).toBe(false)
  })

  it('refuses a challenge that is given twice', async () => {
    const { url } = authorizationRequest(server.issuer, 'spa')
    const page = await ann.browser.get(`${url}&code_challenge=${'b'.repeat(43)}`)
    expect(page.params.get('code')).toBeNull()
    expect(page.params.get('error') ?? page.text).toMatch(/invalid_request|twice|wrong/i)
  })

  it('refuses before anybody signs in', async () => {
    const stranger = clientBrowser()
    const { url } = authorizationRequest(server.issuer, 'spa', { code_challenge: undefined })
    expect((await stranger.get(url)).params.get('error')).toBe('invalid_request')
  })
})

describe('the token endpoint (A61)', () => {
  const verifiers: readonly (readonly [string, (code: Code) => string | undefined])[] = [
    ['no verifier', () => undefined],
    ['an empty verifier', () => ''],
    ['a wrong verifier', () => 'w'.repeat(43)],
    ['the challenge instead of the verifier', ({ verifier }) => challengeOf(verifier)],
    ['a verifier with a character more', ({ verifier }) => `${verifier}A`],
    ['a verifier with a character less', ({ verifier }) => verifier.slice(0, -1)],
    ['a verifier in other letters', ({ verifier }) => swapCase(verifier)],
    ['a verifier with padding', ({ verifier }) => `${verifier}=`],
    ['a verifier with a blank', ({ verifier }) => `${verifier} `],
  ]
  for (const clientId of ['spa', 'own']) {
    it.each(verifiers)(`refuses %s of ${clientId}`, async (_name, change) => {
      const code = await ann.code(clientId)
      const answer = await client.redeem(code, { code_verifier: change(code) })
      expect(answer.status).toBe(400)
      expect(['invalid_grant', 'invalid_request']).toContain(answer.body.error)
      expect(answer.body).not.toHaveProperty('access_token')
    })
  }

  it('says invalid_grant for a missing and for a wrong verifier', async () => {
    const code = await ann.code('spa')
    expect((await client.redeem(code, { code_verifier: undefined })).body.error).toBe('invalid_grant')
    expect((await client.redeem(code, { code_verifier: 'w'.repeat(43) })).body.error).toBe('invalid_grant')
    expect((await client.redeem(code)).status).toBe(200)
  })

  it('refuses a verifier for a code that was asked for without a challenge', async () => {
    const code = await ann.code('relaxed', { code_challenge: undefined, code_challenge_method: undefined })
    const downgraded = await client.redeem(code)
    expect([downgraded.status, downgraded.body.error]).toEqual([400, 'invalid_grant'])
    expect((await client.redeem(code, { code_verifier: undefined })).status).toBe(200)
  })

  it('holds a client that may leave PKCE out to the challenge it sent', async () => {
    const code = await ann.code('relaxed')
    const dropped = await client.redeem(code, { code_verifier: undefined })
    expect([dropped.status, dropped.body.error]).toEqual([400, 'invalid_grant'])
    expect((await client.redeem(code)).status).toBe(200)
  })
})

it('discovery names S256 alone', async () => {
  const document = (await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()) as object
  expect(document).toMatchObject({ code_challenge_methods_supported: ['S256'] })
})

function challengeOf(verifier: string): string {
  return createHash('sha256').update(verifier).digest('base64url')
}

function swapCase(text: string): string {
  return [...text].map((c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase())).join('')
}
