/** R25 (f): one standard answer on the wire, and behind its reference the reason; on both stores, and under a flood. */
import { generateKeyPairSync } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { es256With, jws } from '../../support/forged_jwts.ts'
import { API, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, newPerson, OFFLINE, type Person } from '../../support/people.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import {
  answerOf,
  basic,
  type ClientRequests,
  clientRequests,
  type Fields,
  postForm,
  type TokenAnswer,
  tokensOf,
} from '../../support/token_requests.ts'

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const machine = { grant_types: ['client_credentials'], scope: 'orders:read', resources: [API] }
const CLIENTS = [
  {
    ...{ ...machine, client_id: 'keyed', token_endpoint_auth_method: 'private_key_jwt' },
    jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k' }] },
  },
  { ...machine, client_id: 'busy', client_secret: SECRET, rate_limit: { requests: 1, seconds: 3600 } },
  { ...machine, client_id: 'used', client_secret: SECRET, quota: { tokens: 1, per: 'month' } },
]
const ASKS = { grant_type: 'client_credentials', resource: API }
const TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

describe.each(['Redis', 'embedded'] as const)('with %s', (kind) => {
  let server: Server
  let as: ClientRequests
  let ann: Person
  let count = 0

  beforeAll(async () => {
    const stores = kind === 'Redis' ? await realStores() : 'embedded'
    server = await startServer({ stores, settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...CLIENTS] } })
    as = clientRequests(server.issuer)
    ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  })
  afterAll(() => server?.close())

  const referenceOf = ({ headers }: TokenAnswer) => String(headers.get('x-request-id'))
  const explained = async (reference: string) => {
    // What a process has noted is written within a second.
    for (let tries = 0; ; tries++) {
      const { code, stdout } = await server.run('audit', 'explain', reference, '--json')
      if (code === 0) return JSON.parse(stdout)
      if (tries === 60) return { reason: `nothing is known of ${reference}` }
      await sleep(50)
    }
  }
  const token = (fields: Fields, headers: { [name: string]: string } = {}) =>
    postForm(`${server.issuer}/token`, { ...ASKS, ...fields }, headers)
  const assertion = (changes: object = {}, head: object = {}, key = privateKey) => {
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: 'keyed', sub: 'keyed', aud: server.issuer, jti: `${++count}`, iat: now, exp: now + 60 }
    return jws({ alg: 'ES256', kid: 'k', ...head }, { ...claims, ...changes }, es256With(key))
  }
  const present = (client_assertion: string) => token({ client_assertion_type: TYPE, client_assertion })
  const twice = async (ask: () => Promise<TokenAnswer>) => {
    expect((await ask()).status).toBe(200)
    return ask()
  }
  const make = async (...command: string[]) => {
    const { stdout, code } = await server.run('clients', ...command, '--json')
    expect(code).toBe(0)
    return String(JSON.parse(stdout).client_secret)
  }
  const created = (id: string) =>
    make('create', id, '--grant-type', 'client_credentials', '--resource', API, '--scope', 'orders:read')

  /** What is sent, the one answer of the wire, and the reason behind it. */
  const CASES: readonly (readonly [reason: string, error: string, ask: () => Promise<TokenAnswer>])[] = [
    ['client_unknown', 'invalid_client', () => token({}, basic('nobody'))],
    ['request_malformed', 'invalid_request', () => token({}, basic('a\u0000b'))],
    ['secret_wrong', 'invalid_client', () => token({}, basic('machine', 'wrong'))],
    ['auth_method_mismatch', 'invalid_client', () => token({}, basic('keyed'))],
    [
      'client_disabled',
      'invalid_client',
      async () => {
        const secret = await created('disabled')
        expect((await token({}, basic('disabled', secret))).status).toBe(200)
        await server.run('clients', 'disable', 'disabled')
        return token({}, basic('disabled', secret))
      },
    ],
    [
      'secret_expired',
      'invalid_client',
      async () => {
        const before = await created('rotated')
        const after = await make('rotate-secret', 'rotated')
        expect((await token({}, basic('rotated', after))).status).toBe(200)
        return token({}, basic('rotated', before))
      },
    ],
    ['assertion_audience', 'invalid_client', () => present(assertion({ aud: 'https://evil.example' }))],
    ['assertion_expired', 'invalid_client', () => present(assertion({ exp: 1 }))],
    ['assertion_not_yet_valid', 'invalid_client', () => present(assertion({ nbf: 9_999_999_999 }))],
    ['assertion_malformed', 'invalid_client', () => present(assertion({ jti: undefined }))],
    ['assertion_key_unknown', 'invalid_client', () => present(assertion({}, { kid: 'other' }))],
    ['assertion_algorithm', 'invalid_client', () => present(assertion({}, { alg: 'HS256' }))],
    [
      'assertion_signature',
      'invalid_client',
      () => present(assertion({}, {}, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)),
    ],
    [
      'assertion_replayed',
      'invalid_client',
      () => {
        const shown = assertion()
        return twice(() => present(shown))
      },
    ],
    ['rate_limited', 'temporarily_unavailable', () => twice(() => token({}, basic('busy')))],
    ['quota_used', 'temporarily_unavailable', () => twice(() => token({}, basic('used')))],
    ['grant_type_not_allowed', 'unauthorized_client', () => as.refresh('machine', 'x')],
    ['scope_not_allowed', 'invalid_scope', () => as.token('machine', { ...ASKS, scope: 'orders:write' })],
    ['resource_not_allowed', 'invalid_target', () => as.token('machine', { ...ASKS, resource: 'https://x.example' })],
    ['code_unknown', 'invalid_grant', async () => as.redeem({ ...(await ann.code('own')), code: 'x'.repeat(43) })],
    ['code_of_another_client', 'invalid_grant', async () => as.redeem(await ann.code('own'), {}, 'other')],
    ['pkce_mismatch', 'invalid_grant', async () => as.redeem({ ...(await ann.code('own')), verifier: 'x'.repeat(43) })],
    [
      'redirect_uri_mismatch',
      'invalid_grant',
      async () => as.redeem({ ...(await ann.code('own')), redirectUri: 'https://own.test.example/other' }),
    ],
    [
      'code_reused',
      'invalid_grant',
      async () => {
        const code = await ann.code('own')
        return twice(() => as.redeem(code))
      },
    ],
    ['refresh_token_unknown', 'invalid_grant', () => as.refresh('own', 'x'.repeat(43))],
    [
      'grant_revoked',
      'invalid_grant',
      async () => {
        const { refresh } = tokensOf(await as.redeem(await ann.code('own', OFFLINE)))
        const next = tokensOf(await as.refresh('own', refresh))
        await as.revoke('own', next.refresh)
        const other = tokensOf(await as.redeem(await ann.code('own', OFFLINE)))
        expect((await as.refresh('own', other.refresh)).status).toBe(200)
        return as.refresh('own', refresh)
      },
    ],
    ['token_unknown', 'invalid_token', () => as.userinfo('x'.repeat(43))],
    ['token_of_another_client', 'invalid_request', async () => as.revoke('other', (await ann.tokens('own')).access)],
    ['request_malformed', 'invalid_request', () => as.introspect('machine', '')],
    [
      'request_malformed',
      'invalid_request',
      () => postForm(`${server.issuer}/request`, { response_type: 'code', scope: 'admin' }, basic('own')),
    ],
  ]

  it('every refusal has a reason of its own, and the wire says nothing of it', async () => {
    const answers: { reason: string; reference: string }[] = []
    const wire = new Map<string, Set<string>>()
    for (const [reason, error, ask] of CASES) {
      const answer = await ask()
      expect([reason, answer.body.error]).toEqual([reason, error])
      expect(answer.headers.get('x-request-id')).toMatch(/^[\w-]{20,}$/)
      if (error === 'invalid_client' || error === 'invalid_grant') {
        const said = wire.get(error) ?? new Set()
        wire.set(error, said.add(JSON.stringify([answer.status, answer.body])))
      }
      answers.push({ reason, reference: referenceOf(answer) })
    }
    expect([...wire].map(([error, said]) => [error, said.size])).toEqual([
      ['invalid_client', 1],
      ['invalid_grant', 1],
    ])
    const told: string[] = []
    for (const { reference } of answers) told.push((await explained(reference)).reason)
    expect(told).toEqual(answers.map(({ reason }) => reason))
  }, 60_000)

  it('the reference tells client, endpoint, time and what to do, and the log line has it too', async () => {
    const answer = await token({}, basic('machine', 'wrong'))
    const reference = referenceOf(answer)
    const told = await explained(reference)
    expect(told).toMatchObject({ reference, reason: 'secret_wrong', endpoint: 'token', client: 'machine' })
    expect([told.answer, told.hint.length > 10, told.count > 0]).toEqual(['invalid_client', true, true])
    expect(Math.abs(Date.parse(told.minute) - Date.now())).toBeLessThan(120_000)
    const lines = server.logs().filter((line) => line.includes(reference))
    expect(lines.some((line) => line.includes('"reason":"secret_wrong"') && line.includes('request refused'))).toBe(
      true,
    )
    expect(lines.join('\n')).not.toMatch(/wrong"[^}]*client_secret|Basic /)
    const text = await server.run('audit', 'explain', reference)
    expect(text.stdout).toMatch(/the secret is none of the client/)
  })

  it('a refusal at the authorization endpoint is explained by the reference of its page', async () => {
    const { url } = authorizationRequest(server.issuer, 'own', { redirect_uri: 'https://evil.example/' })
    const response = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } })
    const page = await response.text()
    const reference = String(response.headers.get('x-request-id'))
    expect(page).toContain(reference)
    expect(await explained(reference)).toMatchObject({
      ...{ reason: 'redirect_uri_mismatch', endpoint: 'authorization', client: 'own' },
    })
  })

  it('a token for another resource server is inactive, and its asker is told why by the reference', async () => {
    const { access } = await ann.tokens('own')
    expect((await as.introspect('own', access)).body.active).toBe(true)
    const answer = await as.introspect('api', access)
    expect(answer.body).toEqual({ active: false })
    expect(await explained(referenceOf(answer))).toMatchObject({ reason: 'wrong_audience', client: 'api' })
    // A JWT for the API, introspected by somebody else.
    const jwt = String((await as.token('machine', ASKS)).body.access_token)
    expect((await as.introspect('api', jwt)).body.active).toBe(true)
    const foreign = await as.introspect('own', jwt)
    expect(await explained(referenceOf(foreign))).toMatchObject({ reason: 'wrong_audience', client: 'own' })
  })

  it('a flood leaves a few rows, and is counted', async () => {
    const flood: TokenAnswer[] = []
    for (let round = 0; round < 3; round++) {
      const ask = (_: unknown, i: number) => token({}, basic(`nobody-${round}-${i}`))
      flood.push(...(await Promise.all(Array.from({ length: 40 }, ask))))
    }
    expect(new Set(flood.map(({ status }) => status))).toEqual(new Set([401]))
    const last = await token({}, basic('api', 'wrong'))
    expect((await explained(referenceOf(last))).reason).toBe('secret_wrong')
    let found = 0
    // A few at a time: each opens connections of its own to a PostgreSQL that other tests use as well.
    for (let from = 0; from < flood.length; from += 5) {
      const some = flood.slice(from, from + 5)
      const ran = await Promise.all(some.map((answer) => server.run('audit', 'explain', referenceOf(answer))))
      found += ran.filter(({ code }) => code === 0).length
    }
    // Forty of a minute keep their references, those of tests before this among them, and a minute may have begun meanwhile.
    expect(found).toBeGreaterThanOrEqual(30)
    expect(found).toBeLessThanOrEqual(80)
  }, 60_000)

  it('what is no reference is said to be none', async () => {
    const good = await answerOf(
      await fetch(`${server.issuer}/token`, {
        method: 'POST',
        headers: basic('machine'),
        body: new URLSearchParams(ASKS),
      }),
    )
    expect(good.status).toBe(200)
    for (const reference of [referenceOf(good), 'unknown-reference', "' or 1=1 --", 'x'.repeat(500)]) {
      const { code, stderr } = await server.run('audit', 'explain', reference)
      expect([code, stderr]).toEqual([1, expect.stringContaining('no refusal is known by that reference')])
    }
  })
})
