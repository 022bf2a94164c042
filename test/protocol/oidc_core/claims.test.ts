/** OIDC Core §5.4 and §5.5: claims by scope and by the claims parameter. PROTOCOL.md E 15 and 16. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { allow, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, newPerson, type Person, redirectUri, stepOf } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests, type Fields, payloadOf, tokensOf } from '../../support/token_requests.ts'

const ALL = 'openid profile email address phone'
const settings = {
  ...SETTINGS,
  clients: SETTINGS.clients.map((each) =>
    each.client_id === 'own' ? { ...each, scope: `${ALL} offline_access` } : each,
  ),
}
const PROFILE = {
  ...{ name: 'Ann Åström', given_name: 'Ann', family_name: 'Åström', nickname: 'annie' },
  ...{ birthdate: '1990-02-28', website: 'https://ann.example.com', phone_number: '+358401234567' },
}

let server: Server
let client: ClientRequests
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  const page = await ann.browser.get(`${server.issuer}/account/profile`)
  const saved = await ann.browser.submit(page, PROFILE, { form: '/account/profile' })
  if (saved.status !== 200) throw new Error(saved.text)
})
afterAll(() => server.close())

const userinfoFor = async (parameters: Fields, clientId = 'own') => {
  const { access, id } = await ann.tokens(clientId, parameters)
  const { status, body } = await client.userinfo(access)
  expect(status).toBe(200)
  expect(body.sub).toBe(payloadOf(id).sub)
  return { body, id: payloadOf(id) }
}

describe('scopes', () => {
  it.each<[string, object, readonly string[]]>([
    ['openid', {}, ['email', 'name', 'phone_number', 'updated_at']],
    ['openid email', { email: 'ann@example.com', email_verified: true }, ['name', 'phone_number']],
    [
      'openid profile',
      {
        name: PROFILE.name,
        given_name: 'Ann',
        family_name: 'Åström',
        nickname: 'annie',
        birthdate: '1990-02-28',
        website: PROFILE.website,
        updated_at: expect.any(Number),
      },
      ['email', 'phone_number'],
    ],
    ['openid phone', { phone_number: PROFILE.phone_number, phone_number_verified: false }, ['email', 'name']],
    ['openid address', {}, ['email', 'name', 'phone_number']],
    [ALL, { email: 'ann@example.com', name: PROFILE.name, phone_number: PROFILE.phone_number }, []],
  ])('oidcc-scope-*: "%s" at userinfo, and nothing more', async (scope, present, absent) => {
    const { body, id } = await userinfoFor({ scope })
    expect(body).toMatchObject({ sub: id.sub, ...present })
    for (const claim of absent) expect(body).not.toHaveProperty(claim)
    // With an access token for userinfo at hand, the ID token stays small (OIDC Core §5.4).
    for (const claim of ['email', 'name', 'phone_number']) expect(id).not.toHaveProperty(claim)
  })

  it('a scope that was not agreed to is not released, though another client has it', async () => {
    await ann.tokens('own', { scope: ALL })
    const { body } = await userinfoFor({ scope: 'openid' }, 'web')
    expect(body).not.toHaveProperty('email')
  })
})

describe('the claims parameter', () => {
  const claims = (value: unknown) => ({ claims: JSON.stringify(value) })

  it('E16 oidcc-claims-essential: name at userinfo without the scope profile', async () => {
    const { body, id } = await userinfoFor(claims({ userinfo: { name: { essential: true } } }))
    expect(body).toMatchObject({ name: PROFILE.name })
    expect(body).not.toHaveProperty('nickname')
    expect(id).not.toHaveProperty('name')
  })

  it('puts a claim into the ID token when asked there', async () => {
    const { id, body } = await userinfoFor(claims({ id_token: { email: null, auth_time: { essential: true } } }))
    expect(id).toMatchObject({ email: 'ann@example.com', auth_time: expect.any(Number) })
    expect(body).not.toHaveProperty('email')
  })

  it('a client that needs consent gets a single claim only after it was shown and allowed', async () => {
    const { url, verifier } = authorizationRequest(server.issuer, 'web', claims({ userinfo: { nickname: null } }))
    const page = await ann.browser.get(url)
    expect(stepOf(page)).toBe('consent')
    const end = await allow(ann.browser, page)
    const code = { clientId: 'web', code: end.params.get('code') ?? '', verifier, redirectUri: redirectUri('web') }
    const { access } = tokensOf(await client.redeem(code))
    expect((await client.userinfo(access)).body).toMatchObject({ nickname: 'annie' })
    const silent = await ann.browser.get(
      authorizationRequest(server.issuer, 'web', {
        prompt: 'none',
        ...claims({ userinfo: { nickname: null, birthdate: null } }),
      }).url,
    )
    expect(silent.params.get('error')).toBe('consent_required')
  })

  it('claims that do not exist, or that nobody may ask for, are left out', async () => {
    const { body, id } = await userinfoFor(
      claims({
        userinfo: { password_hash: null, epoch: null, constructor: null, 'http://x': { essential: true } },
        id_token: { iss: { value: 'https://evil.example' }, exp: { value: 9_999_999_999 }, aud: { value: 'other' } },
      }),
    )
    expect(Object.keys(body)).toEqual(['sub'])
    expect(id).toMatchObject({ iss: server.issuer, aud: 'own' })
    expect(Number(id.exp)).toBeLessThan(9_999_999_999)
  })

  it.each([
    ...[
      '{',
      '[]',
      'null',
      '1',
      '"x"',
      '{}',
      '{"userinfo":[]}',
      '{"id_token":"x"}',
      '{"id_token":1}',
      '{"userinfo":"email"}',
    ],
    ...['{"id_token":{"acr":{"essential":true,"values":"gold"}}}', ''],
  ])('A78 malformed: %s', async (given) => {
    const end = await ann.browser.get(authorizationRequest(server.issuer, 'own', { claims: given }).url)
    if (given === '') expect(end.params.has('code')).toBe(true)
    else expect(Object.fromEntries(end.params)).toMatchObject({ error: 'invalid_request', state: 'the-state' })
  })

  it.each([
    ...['{"id_token":{"sub":"x"}}', '{"id_token":{"sub":1}}', '{"id_token":{"sub":[]}}', '{"id_token":{"sub":true}}'],
    ...['{"id_token":{"acr":"x"}}', '{"id_token":{"acr":1}}', '{"id_token":{"acr":[]}}', '{"id_token":{"acr":true}}'],
    ...[
      '{"userinfo":{"email":"x"}}',
      '{"userinfo":{"email":1}}',
      '{"userinfo":{"email":[]}}',
      '{"userinfo":{"":null}}',
    ],
    ...['{"userinfo":{"__proto__":null}}', '{"id_token":{"__proto__":{"a":1}}}', '{"id_token":null,"userinfo":{}}'],
    ...[
      '{"userinfo":null}',
      '{"id_token":{"auth_time":"x"}}',
      '{"id_token":{"sub":{"value":["a"]}}}',
      '{"userinfo":{"a\\u0000b":null}}',
    ],
    ...[`{"userinfo":{${Array.from({ length: 200 }, (_, index) => `"c${index}":null`).join()}}}`],
  ])('A78 odd members never are a fault of ours: %s', async (given) => {
    for (const clientId of ['own', 'web']) {
      const end = await ann.browser.get(authorizationRequest(server.issuer, clientId, { claims: given }).url)
      expect([0, 200]).toContain(end.status)
      expect(end.params.get('error') ?? '').not.toBe('server_error')
    }
  })
})
