/**
 * Strong identification by the front door: a bank as a provider (signed requests, private_key_jwt, encrypted ID tokens), what it
 * verifies is recorded, and released only when asked for and agreed to (OpenID Connect for Identity Assurance 1.0; R19).
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { decodeJwt, exportJWK, exportPKCS8, generateKeyPair, type JWK } from 'jose'
import * as oidc from 'openid-client'
import type { Browser, Page } from '../../support/browser.ts'
import { type FakeUpstream, startFakeUpstream } from '../../support/fake_upstream.ts'
import { allow, authorization, discover, OTHER, redeem, SETTINGS, WEB } from '../../support/journeys.ts'
import { stepOf } from '../../support/people.ts'
import { type Clock, clockOf } from '../../support/second_factors.ts'
import { freePort } from '../../support/services.ts'
import { CALLBACK, startTarget, type Target } from '../../support/target.ts'

const MFA = 'urn:genkan:acr:mfa'
const VERA = {
  account: 'vera',
  acr: 'level:two',
  claims: { email: 'vera@bank.example', email_verified: true, name: 'Vera Example' },
  userinfo: {
    given_name: 'Vera',
    family_name: 'Example',
    birthdate: '1990-02-28',
    personal_identity_code: '280290-123A',
    picture: 'https://bank.example/vera.png',
    photo_of_document: 'data:image/png;base64,AAAA',
  },
}
const SENSITIVE = ['280290-123A', '1990-02-28']

async function newKey(algorithm: string, keyId: string) {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
  const jwk = { ...(await exportJWK(publicKey)), kid: keyId, alg: algorithm } as JWK
  return { key: { key_id: keyId, algorithm, private_key: await exportPKCS8(privateKey) }, jwk }
}

let target: Target
let bank: FakeUpstream
let web: oidc.Configuration
let clock: Clock

beforeAll(async () => {
  const [signing, decryption] = await Promise.all([newKey('ES256', 'sig'), newKey('RSA-OAEP-256', 'enc')])
  const port = await freePort()
  const client = {
    client_id: 'genkan',
    redirect_uris: [`http://localhost:${port}/upstream/bank/callback`],
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    request_object_signing_alg: 'ES256',
    require_signed_request_object: true,
    id_token_encrypted_response_alg: 'RSA-OAEP-256',
    id_token_encrypted_response_enc: 'A256GCM',
    jwks: {
      keys: [
        { ...signing.jwk, use: 'sig' },
        { ...decryption.jwk, use: 'enc' },
      ],
    },
  } as const
  bank = await startFakeUpstream([client as never])
  const [WEB_CLIENT, ...others] = SETTINGS.clients
  target = await startTarget({
    port,
    settings: {
      ...SETTINGS,
      outbound_private_networks: ['127.0.0.0/8'],
      upstreams: [
        {
          ...{ name: 'bank', title: 'Example Bank', kind: 'oidc', issuer: bank.issuer, client_id: 'genkan' },
          ...{ client_authentication: 'private_key_jwt', signed_requests: true, userinfo: true },
          ...{ signing_keys: [signing.key], decryption_keys: [decryption.key] },
          ...{ trusted_domains: ['bank.example'], levels: { 'level:two': MFA } },
          identification: {
            ...{ framework: 'fi_ftn', evidence: 'electronic_record', valid_days: 30, acrs: ['level:two'] },
            claims: ['given_name', 'family_name', 'birthdate', 'personal_identity_code', 'place_of_birth'],
          },
        },
      ],
      clients: [
        { ...WEB_CLIENT, verified_claims: ['given_name', 'birthdate', 'personal_identity_code'], minimum_acr: MFA },
        ...others.map((each) =>
          each.client_id === 'own' ? { ...each, minimum_acr: MFA, verified_claims: ['family_name'] } : each,
        ),
      ],
    },
  })
  clock = clockOf(target)
  web = await discover(target.issuer, 'web')
  await bank.tell({ automatic: 'continue', ...VERA })
  const { browser, page } = await come(target.client, CALLBACK)
  expect(stepOf(page)).toBe('upstream_account')
  expect((await browser.submit(page, {}, { form: '/upstream_account' })).params.has('code')).toBe(true)
})
afterAll(() => Promise.all([target?.close(), bank?.stop()]))
beforeEach(() => bank.tell({ reset: true, automatic: 'continue', ...VERA }))

async function through(browser: Browser, page: Page): Promise<Page> {
  const form = page.forms.findIndex(({ fields }) => fields.some(({ value }) => value === 'bank'))
  const away = await browser.submit(page, {}, { form })
  const callback = `${target.issuer}/upstream/bank/callback`
  const { parameters } = await bank.travel(away.url, callback)
  return browser.get(`${callback}?${new URLSearchParams(parameters)}`, `${bank.issuer}/`)
}

/** Signs in by the bank, at the level that the client demands. */
async function come(client: oidc.Configuration, redirectUri: string, claims?: object) {
  const browser = target.person({ stopAt: ['https://', bank.issuer] })
  const parameters = { scope: 'openid', ...(claims && { claims: JSON.stringify(claims) }) }
  const request = await authorization(client, redirectUri, parameters)
  return { browser, request, page: await through(browser, await browser.get(request.url)) }
}

/** Another request in the same browser. */
async function again(browser: Browser, claims: object, more: { [name: string]: string } = {}) {
  const request = await authorization(web, `${WEB}/callback`, { claims: JSON.stringify(claims), ...more })
  return { request, page: await browser.get(request.url) }
}

const asking = (claims: object, verification: object = { trust_framework: null }) => ({
  verified_claims: { verification, claims },
})
const NAME = { given_name: null }
const GIVEN = { verification: { trust_framework: 'fi_ftn' }, claims: { given_name: 'Vera' } }
const userinfo = (tokens: oidc.TokenEndpointResponse, sub: string) => oidc.fetchUserInfo(web, tokens.access_token, sub)

/** What consent says once it was given for everything that the request asks. */
async function granted(claims: object) {
  const { browser, request, page } = await come(web, `${WEB}/callback`, claims)
  const end = stepOf(page) === 'consent' ? await allow(browser, page) : page
  const tokens = await redeem(web, request, end)
  const idToken = decodeJwt(tokens.id_token ?? '')
  return { browser, idToken, userinfo: await userinfo(tokens, idToken.sub ?? ''), tokens }
}

describe('a bank', () => {
  it('is asked by signed request and key, answers encrypted, and reaches the level that the client demands', async () => {
    const { idToken } = await granted({ id_token: asking(NAME) })
    expect(idToken).toMatchObject({ acr: MFA, verified_claims: GIVEN })
    const { requests } = await bank.seen()
    const [pushed, token] = ['/request', '/token'].map((path) => requests.find((each) => each.path === path)?.body)
    expect(decodeJwt(pushed?.request ?? '')).toMatchObject({ acr_values: 'level:two', client_id: 'genkan' })
    expect(decodeJwt(token?.client_assertion ?? '')).toMatchObject({ iss: 'genkan', sub: 'genkan' })
  })

  it('leaves a record of what, by whose rules, by which evidence, when and until when; sealed, and no image', async () => {
    const rows = await target.sql<{ [column: string]: unknown }>('select * from identifications')
    expect(rows).toMatchObject([{ upstream: 'bank', framework: 'fi_ftn', evidence: 'electronic_record' }])
    const [{ verified_at: from, expires_at: until } = {}] = rows
    expect(Number(until) - Number(from)).toBe(30 * 86_400_000)
    const facts = await target.sql<{ data: { claims: string[] } }>(
      "select data from outbox where type = 'identification.recorded'",
    )
    expect(facts[0]?.data.claims).toEqual(['given_name', 'family_name', 'birthdate', 'personal_identity_code'])
    const written = JSON.stringify([rows, await target.sql('select * from outbox')])
    for (const secret of [...SENSITIVE, 'base64,AAAA']) expect(written).not.toContain(secret)
  })

  it('that answers at a lower level than it identifies at identifies nobody', async () => {
    await bank.tell({
      ...VERA,
      acr: 'level:one',
      account: 'low',
      claims: { ...VERA.claims, email: 'low@bank.example' },
    })
    const browser = target.person({ stopAt: ['https://', bank.issuer] })
    const { url } = await authorization(await discover(target.issuer, 'other'), `${OTHER}/callback`)
    const page = await through(browser, await browser.get(url))
    await browser.submit(page, {}, { form: '/upstream_account' })
    expect(await target.sql('select * from identifications')).toHaveLength(1)
  })
})

describe('the consent page', () => {
  it('says in words what was verified, by whom and when; denied, nothing is released', async () => {
    const asked = { userinfo: asking({ ...NAME, personal_identity_code: null, place_of_birth: null, nobody: null }) }
    const { browser, request, page } = await come(web, `${WEB}/callback`, asked)
    expect(stepOf(page)).toBe('consent')
    const year = String(new Date().getUTCFullYear())
    for (const text of ['Example Bank verified this on', year, 'personal identity code'])
      expect(page.text).toContain(text)
    // Neither values, nor what cannot be released.
    for (const text of [...SENSITIVE, 'place of birth', 'nobody', 'family name']) expect(page.text).not.toContain(text)
    const denied = await browser.submit(page, {}, { form: '/consent', button: 'deny' })
    expect(denied.params.get('error')).toBe('access_denied')
    const once = await again(browser, asked)
    expect(stepOf(once.page)).toBe('consent')
    const tokens = await redeem(web, once.request, await allow(browser, once.page))
    const { sub = '' } = decodeJwt(tokens.id_token ?? '')
    expect((await userinfo(tokens, sub)).verified_claims).toEqual({
      verification: { trust_framework: 'fi_ftn' },
      claims: { given_name: 'Vera', personal_identity_code: '280290-123A' },
    })
    expect(decodeJwt(tokens.id_token ?? '')).not.toHaveProperty('verified_claims')
    expect(request.url).toContain('verified_claims')
  })

  it('asks for what is new only, and marks it; what was agreed to needs no page', async () => {
    const { browser } = await granted({ id_token: asking(NAME) })
    const silent = await again(browser, { id_token: asking(NAME) }, { prompt: 'none' })
    expect(decodeJwt((await redeem(web, silent.request, silent.page)).id_token ?? '').verified_claims).toEqual(GIVEN)
    const more = { id_token: asking({ ...NAME, birthdate: null }) }
    const refused = await again(browser, more, { prompt: 'none' })
    expect(refused.page.params.get('error')).toBe('consent_required')
    const { page, request } = await again(browser, more)
    expect(page.text).toContain('date of birth New')
    expect(page.text).not.toContain('given name New')
    const tokens = await redeem(web, request, await allow(browser, page))
    expect(decodeJwt(tokens.id_token ?? '').verified_claims).toMatchObject({ claims: { birthdate: '1990-02-28' } })
  })

  it('is not shown, and nothing released, to a client that may not have what it asks for', async () => {
    const other = await discover(target.issuer, 'other')
    const { browser, request, page } = await come(other, `${OTHER}/callback`, { id_token: asking(NAME) })
    expect(page.text).not.toContain('Example Bank verified')
    const end = stepOf(page) === 'consent' ? await allow(browser, page) : page
    expect(decodeJwt((await redeem(other, request, end)).id_token ?? '')).not.toHaveProperty('verified_claims')
  })

  it('is not shown by a first-party client, which still has to ask by name', async () => {
    const plain = await come(target.client, CALLBACK)
    expect((await redeem(target.client, plain.request, plain.page)).claims()).not.toHaveProperty('verified_claims')
    const asked = await come(target.client, CALLBACK, { id_token: asking({ family_name: null, ...NAME }) })
    const claims = (await redeem(target.client, asked.request, asked.page)).claims()
    expect(claims?.verified_claims).toEqual({ ...GIVEN, claims: { family_name: 'Example' } })
  })
})

describe('a request (§6)', () => {
  const all = { trust_framework: null, time: null, evidence: [{ type: null }] }
  it('is given of the verification what it asks for', async () => {
    const { idToken, userinfo: said } = await granted({ id_token: asking(NAME, all), userinfo: asking(NAME) })
    expect(said.verified_claims).toEqual(GIVEN)
    const { verification } = idToken.verified_claims as { verification: { time: string } }
    expect(verification).toEqual({
      ...{ trust_framework: 'fi_ftn', evidence: [{ type: 'electronic_record' }] },
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    })
    expect(Math.abs(Date.parse(verification.time) - clock.now().getTime())).toBeLessThan(120_000)
  })

  it.each([
    ['another framework', asking(NAME, { trust_framework: { value: 'eidas' } })],
    ['other frameworks', asking(NAME, { trust_framework: { values: ['eidas', 'de_aml'] } })],
    ['another evidence', asking(NAME, { trust_framework: null, evidence: [{ type: { value: 'document' } }] })],
    ['something newer', asking(NAME, { trust_framework: null, time: { max_age: -1 } })],
    [
      'an assurance that we know nothing of',
      asking(NAME, { trust_framework: null, assurance_level: { value: 'high' } }),
    ],
    ['a claim of another value', asking({ given_name: { value: 'Mallory' } })],
    ['a claim that nobody has verified', asking({ place_of_birth: null })],
    ['a name that every object has', asking({ constructor: null, __proto__: null, toString: null })],
  ])('for %s is answered without it, and without an error', async (_, asked) => {
    const { idToken } = await granted({ id_token: asked })
    expect(idToken).not.toHaveProperty('verified_claims')
  })

  it.each([
    ['the framework that it is', asking(NAME, { trust_framework: { value: 'fi_ftn' } })],
    ['one of several', asking(NAME, { trust_framework: { values: ['eidas', 'fi_ftn'] } })],
    ['its evidence', asking(NAME, { trust_framework: null, time: { max_age: 86_400 } })],
  ])('for %s is met', async (_, asked) => {
    const { idToken } = await granted({ id_token: asked })
    expect(idToken.verified_claims).toMatchObject({ claims: { given_name: 'Vera' } })
  })

  it.each([
    ['nothing', null],
    ['no verification', { claims: NAME }],
    ['several at once', [{ verification: { trust_framework: null }, claims: NAME }]],
    ['no claims', { verification: { trust_framework: null }, claims: {} }],
    ['no framework', { verification: {}, claims: NAME }],
  ])('that names %s is refused', async (_, asked) => {
    const browser = target.person({ stopAt: ['https://'] })
    const claims = JSON.stringify({ id_token: { verified_claims: asked } })
    const { url } = await authorization(web, `${WEB}/callback`, { claims })
    expect((await browser.get(url)).params.get('error')).toBe('invalid_request')
  })

  it('finds in the discovery document what there is, as long as there is', async () => {
    const document = async () =>
      (await fetch(`${target.server.origin}/.well-known/openid-configuration`)).json() as Promise<oidc.ServerMetadata>
    const said = {
      ...{ verified_claims_supported: true, trust_frameworks_supported: ['fi_ftn'] },
      evidence_supported: ['electronic_record'],
      claims_in_verified_claims_supported: expect.arrayContaining(['given_name', 'personal_identity_code']),
      claims_supported: expect.arrayContaining(['verified_claims']),
    }
    expect(await document()).toMatchObject(said)
    await target.server.run('upstreams', 'disable', 'bank')
    const without = await document()
    for (const name of Object.keys(said).filter((each) => each !== 'claims_supported')) {
      expect(without).not.toHaveProperty(name)
    }
    expect(without.claims_supported).not.toContain('verified_claims')
    await target.server.run('upstreams', 'enable', 'bank')
    expect(await document()).toMatchObject(said)
  })
})

describe('what was verified', () => {
  it('is shown to its owner, and is gone from tokens when it has expired, and wholly when it is disconnected', async () => {
    const { browser, tokens, idToken } = await granted({ userinfo: asking(NAME) })
    const { sub = '' } = idToken
    const page = await browser.get(`${target.issuer}/account/identities`)
    for (const text of ['Example Bank', 'Verified details', 'given name', 'Vera', '280290-123A']) {
      expect(page.text).toContain(text)
    }
    expect((await userinfo(tokens, sub)).verified_claims).toEqual(GIVEN)
    await target.sql("update identifications set expires_at = now() - interval '1 second' where account_id = $1", [sub])
    expect(await userinfo(tokens, sub)).not.toHaveProperty('verified_claims')
    const fresh = await granted({ userinfo: asking(NAME) })
    expect(fresh.userinfo.verified_claims).toEqual(GIVEN)
    const own = await fresh.browser.get(`${target.issuer}/account/identities`)
    await fresh.browser.submit(own, {}, { form: '/remove' })
    expect(await target.sql('select * from identifications where account_id = $1', [sub])).toEqual([])
    expect(await target.sql("select * from outbox where type = 'identification.removed'")).toHaveLength(1)
  })
})
