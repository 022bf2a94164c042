/** OIDC Core §2 and §3.1.3.6-7: the ID token. PROTOCOL.md E 31, driven by openid-client and checked again with jose. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import * as oidc from 'openid-client'
import { authorization, redeem, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'

const ALGS = ['ES256', 'RS256', 'EdDSA'] as const
const signed = ALGS.map((alg) => ({
  client_id: `signed-${alg.toLowerCase()}`,
  client_secret: SECRET,
  redirect_uris: [redirectUri(`signed-${alg.toLowerCase()}`)],
  first_party: true,
  id_token_signed_response_alg: alg,
}))

let server: Server
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...signed] } })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

async function tokensFor(clientId: string, parameters: { [name: string]: string } = {}) {
  const config = await oidc.discovery(
    new URL(server.issuer),
    clientId,
    {
      id_token_signed_response_alg:
        signed.find(({ client_id: id }) => id === clientId)?.id_token_signed_response_alg ?? 'ES256',
    },
    oidc.ClientSecretBasic(SECRET),
    { execute: [oidc.allowInsecureRequests, oidc.enableNonRepudiationChecks] },
  )
  const request = await authorization(config, redirectUri(clientId), parameters)
  return { request, tokens: await redeem(config, request, await ann.browser.get(request.url)) }
}

describe.each(ALGS)('a client that asked for %s', (alg) => {
  it('E31 oidcc-idtoken-signature: signed so, by a key that is published', async () => {
    const clientId = `signed-${alg.toLowerCase()}`
    const { tokens } = await tokensFor(clientId)
    const idToken = tokens.id_token ?? ''
    const keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`))
    const { protectedHeader, payload } = await jwtVerify(idToken, keys, {
      issuer: server.issuer,
      audience: clientId,
      algorithms: [alg],
    })
    expect(protectedHeader.kid).toBeTruthy()
    expect(payload.sub).toBe(tokens.claims()?.sub)
    const published = (await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: { kid: string; alg: string }[] }
    expect(published.keys.filter(({ kid }) => kid === protectedHeader.kid)).toMatchObject([{ alg }])
  })
})

it('E31 iss, aud, sub, iat, exp, auth_time, nonce, acr and amr are right', async () => {
  const before = Math.floor(Date.now() / 1000)
  const { request, tokens } = await tokensFor('own')
  const claims = tokens.claims()
  expect(claims).toMatchObject({
    iss: server.issuer,
    aud: 'own',
    nonce: request.checks.expectedNonce,
    acr: 'urn:genkan:acr:basic',
    amr: ['pwd'],
  })
  expect(claims?.sub).toMatch(/^[\w-]{16,255}$/)
  expect(claims?.iat).toBeGreaterThanOrEqual(before - 1)
  expect((claims?.exp ?? 0) - (claims?.iat ?? 0)).toBe(3600)
  expect(claims?.auth_time).toBeLessThanOrEqual(claims?.iat ?? 0)
  expect(claims?.auth_time).toBeGreaterThan(before - 120)
})

it('oidcc-ensure-request-without-nonce: none in, none out', async () => {
  const config = await oidc.discovery(new URL(server.issuer), 'own', undefined, oidc.ClientSecretBasic(SECRET), {
    execute: [oidc.allowInsecureRequests],
  })
  const { url, checks } = await authorization(config, redirectUri('own'))
  const bare = new URL(url)
  bare.searchParams.delete('nonce')
  const end = await ann.browser.get(bare.href)
  const { pkceCodeVerifier, expectedState } = checks
  const tokens = await oidc.authorizationCodeGrant(config, new URL(end.url), { pkceCodeVerifier, expectedState })
  expect(tokens.claims()).not.toHaveProperty('nonce')
})

it('the subject is the same for every client and every sign-in, and is not the address', async () => {
  const subs = new Set<string | undefined>()
  for (const clientId of ['own', 'signed-es256']) subs.add((await tokensFor(clientId)).tokens.claims()?.sub)
  expect(subs.size).toBe(1)
  expect([...subs][0]).toMatch(/^[\w-]{22}$/)
})

it.each(['none', 'HS256'])('a client cannot ask for %s', async (alg) => {
  const file = join(server.dataDir, '..', `client-${alg}.json`)
  writeFileSync(file, JSON.stringify({ redirect_uris: [redirectUri('weak')], id_token_signed_response_alg: alg }))
  const { code, stderr, stdout } = await server.run('clients', 'create', 'weak', '--metadata', file)
  expect(code).toBe(1)
  expect(stderr + stdout).toContain('id_token_signed_response_alg')
})

it('no ID token is unsigned whatever the request says (oidcc-idtoken-unsigned)', async () => {
  const { tokens } = await tokensFor('own', { id_token_signed_response_alg: 'none' })
  expect(decodeProtectedHeader(tokens.id_token ?? '')).toMatchObject({ alg: 'ES256' })
})

it('one audience, no secrets, and no more than is needed', async () => {
  const { tokens } = await tokensFor('own', { scope: 'openid email profile' })
  const names = Object.keys(tokens.claims() ?? {}).sort()
  const known = ['acr', 'amr', 'at_hash', 'aud', 'auth_time', 'exp', 'iat', 'iss', 'nonce', 'sid', 'sub']
  expect(names.filter((name) => !known.includes(name))).toEqual([])
})
