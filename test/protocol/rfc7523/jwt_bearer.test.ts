/** RFC 7521 §4.1, RFC 7523 §2.1 and §3: the signed word of a trusted issuer as a grant. Attacks A64, A69, A77, A78. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import {
  type AssertionRoom,
  type Claims,
  LEDGER,
  PLATFORM,
  startAssertionRoom,
  TWIN,
} from '../../support/assertion_room.ts'
import { type Canary, startCanary } from '../../support/canary.ts'
import { dpopKey } from '../../support/dpop_key.ts'
import { es256With, forgeries, jws } from '../../support/forged_jwts.ts'
import { API } from '../../support/journeys.ts'
import { mutations } from '../../support/mutations.ts'
import { refusalReason } from '../../support/refusals.ts'
import { sample, sampleKinds } from '../../support/sample.ts'
import { realStores } from '../../support/server.ts'
import { basic, type Fields, headerOf, payloadOf, tokensOf } from '../../support/token_requests.ts'

const now = () => Math.floor(Date.now() / 1000)
const INVALID = [400, 'invalid_grant']

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))(
  'assertions as grants on %s',
  (kind) => {
    let room: AssertionRoom
    let canary: Canary
    let ann: string

    beforeAll(async () => {
      room = await startAssertionRoom({ stores: kind === 'embedded' ? kind : await realStores() })
      canary = await startCanary()
      ann = await room.come('ann')
    })
    afterAll(async () => {
      await room?.close()
      await canary?.stop()
    })

    let reference = ''
    const outcome = async (assertion: string, fields: Fields = {}, by = 'partner') => {
      const { status, body, headers } = await room.present(assertion, fields, by)
      reference = headers.get('x-request-id') ?? ''
      if (status !== 200) expect(body).not.toHaveProperty('access_token')
      return status === 200 ? 200 : [status, body.error]
    }
    const lastReason = () => refusalReason(room.server, reference)

    describe('about a person', () => {
      it('gives a token of whoever has connected the provider, without a refresh token', async () => {
        const answer = await room.present(await room.word({ auth_time: now() - 5 }), { scope: 'orders:read' })
        expect(answer.body).toMatchObject({ token_type: 'Bearer', scope: 'orders:read' })
        expect([299, 300]).toContain(answer.body.expires_in)
        expect(answer.body).not.toHaveProperty('refresh_token')
        expect(answer.body).not.toHaveProperty('id_token')
        const keys = createRemoteJWKSet(new URL(`${room.server.issuer}/jwks`))
        const { payload } = await jwtVerify(tokensOf(answer).access, keys, {
          ...{ issuer: room.server.issuer, audience: API, typ: 'at+jwt' },
        })
        expect(payload).toMatchObject({ sub: ann, client_id: 'partner', scope: 'orders:read' })
        // Its word for how the person signed in counts only where the operator has said what it means.
        for (const claim of ['acr', 'amr', 'auth_time']) expect(payload).not.toHaveProperty(claim)
        const strong = await room.present(await room.word({ acr: 'level:two', auth_time: 1_700_000_000 }))
        expect(payloadOf(tokensOf(strong).access)).toMatchObject({
          acr: 'urn:genkan:acr:mfa',
          auth_time: 1_700_000_000,
        })
      })

      it('says who alone may act for the people of the client (RFC 8693 §4.4)', async () => {
        const { access } = tokensOf(await room.present(await room.word(), {}, 'shop'))
        expect(payloadOf(access).may_act).toEqual({ sub: 'partner' })
      })

      it('is as opaque as the resource server wants it, and dies with the account', async () => {
        const bob = await room.come('bob')
        const answer = await room.present(await room.word({ sub: 'bob' }), { resource: LEDGER })
        const { access } = tokensOf(answer)
        expect([answer.body.expires_in, answer.body.scope]).toEqual([120, 'ledger:read'])
        expect((await room.client.introspect('partner', access)).body).toMatchObject({
          active: true,
          sub: bob,
          aud: LEDGER,
        })
        await room.server.run('accounts', 'end-sessions', bob)
        expect((await room.client.introspect('partner', access)).body).toEqual({ active: false })
        expect(await outcome(await room.word({ sub: 'bob' }))).toBe(200)
        await room.server.run('accounts', 'disable', bob)
        expect(await outcome(await room.word({ sub: 'bob' }))).toEqual(INVALID)
      })

      it('whom nobody has connected, or another provider names so, is nobody', async () => {
        expect(await outcome(await room.word({ sub: 'nobody' }))).toEqual(INVALID)
        expect(await lastReason()).toBe('assertion_subject')
        expect(await outcome(await room.word({ sub: ann }))).toEqual(INVALID)
        // Who has come by the same provider under another name has not connected this one.
        await room.come('tim', TWIN)
        expect(await outcome(await room.word({ sub: 'tim' }))).toEqual(INVALID)
        expect(await outcome(await room.word({ sub: 'ann@acme.example' }))).toEqual(INVALID)
        expect(await outcome(await room.word())).toBe(200)
      })
    })

    describe('about a machine', () => {
      it("gives the client's own token, for the subjects of its row alone", async () => {
        const { access } = tokensOf(await room.present(room.machine(), {}, 'runner'))
        expect(payloadOf(access)).toMatchObject({ sub: 'runner', client_id: 'runner', org_id: 'acme', aud: API })
        expect(await outcome(room.machine({ sub: 'job:deploy' }), {}, 'runner')).toBe(200)
        expect(await outcome(room.machine({ sub: 'job:other' }), {}, 'runner')).toEqual(INVALID)
        expect(await outcome(room.machine(), {}, 'stranger')).toEqual(INVALID)
      })

      it('of an issuer that the client has no row for is refused', async () => {
        expect(await outcome(room.machine())).toEqual(INVALID)
        expect(await lastReason()).toBe('assertion_issuer')
        expect(await outcome(await room.word(), {}, 'runner')).toEqual(INVALID)
        expect(await outcome(room.machine(), {}, 'machine')).toEqual([400, 'unauthorized_client'])
      })
    })

    describe('targets and scopes', () => {
      it('are those of the rows; the only one need not be named', async () => {
        expect(await outcome(await room.word(), { resource: undefined }, 'single')).toBe(200)
        expect(await outcome(await room.word(), { resource: undefined })).toEqual([400, 'invalid_target'])
        expect(await outcome(await room.word(), { resource: LEDGER }, 'single')).toEqual([400, 'invalid_target'])
        expect(await outcome(await room.word(), { resource: 'https://evil.example' })).toEqual([400, 'invalid_target'])
      })

      it('never grow (A77)', async () => {
        expect(await outcome(await room.word(), { scope: 'orders:write' })).toBe(200)
        for (const scope of ['ledger:read', 'openid', 'orders:read ledger:read', ' ']) {
          expect(await outcome(await room.word(), { scope })).toEqual([400, 'invalid_scope'])
        }
        expect(await outcome(await room.word(), { scope: 'orders:write' }, 'single')).toEqual([400, 'invalid_scope'])
      })
    })

    describe('a claim', () => {
      const bad: readonly (readonly [string, () => Claims])[] = [
        ['aud of another', () => ({ aud: 'https://evil.example' })],
        ['aud with another beside ours', () => ({ aud: [room.server.issuer, 'https://evil.example'] })],
        ['aud of the token endpoint', () => ({ aud: `${room.server.issuer}/token` })],
        ['aud with a slash', () => ({ aud: `${room.server.issuer}/` })],
        ['aud empty', () => ({ aud: [] })],
        ['aud missing', () => ({ aud: undefined })],
        ['exp in the past', () => ({ exp: now() - 60 })],
        ['exp missing', () => ({ exp: undefined })],
        ['exp as a string', () => ({ exp: String(now() + 60) })],
        ['exp in ten minutes', () => ({ exp: now() + 600 })],
        ['exp in milliseconds', () => ({ exp: Date.now() + 60_000 })],
        ['nbf in an hour', () => ({ nbf: now() + 3600 })],
        ['iat in an hour', () => ({ iat: now() + 3600 })],
        ['iat as a string', () => ({ iat: String(now()) })],
        ['jti missing', () => ({ jti: undefined })],
        ['jti as a number', () => ({ jti: 7 })],
        ['jti empty', () => ({ jti: '' })],
        ['jti very long', () => ({ jti: 'x'.repeat(300) })],
        ['sub missing', () => ({ sub: undefined })],
        ['sub as a number', () => ({ sub: 7 })],
        ['sub as an object', () => ({ sub: { ann: true } })],
        ['iss of another', () => ({ iss: 'https://evil.example' })],
        ['iss of another trusted one', () => ({ iss: PLATFORM })],
        ['iss as a list', () => ({ iss: [room.fake.issuer] })],
        ['iss with a slash', () => ({ iss: `${room.fake.issuer}/` })],
        ['iss missing', () => ({ iss: undefined })],
        ['scope as a list', () => ({ scope: ['orders:read'] })],
        ['an actor', () => ({ act: { sub: 'bot' } })],
        ['a key that nobody shows', () => ({ cnf: { jkt: 'x' } })],
        ['a confirmation of another kind', () => ({ cnf: { kid: 'x' } })],
      ]
      it.each(bad)('%s is refused', async (_name, changes) => {
        expect(await outcome(await room.word(changes()))).toEqual(INVALID)
      })

      it('and beside them stand good ones', async () => {
        const good = [{}, { aud: [room.server.issuer] }, { exp: now() + 299 }, { exp: now() - 5 }, { iat: undefined }]
        for (const claims of good) expect(await outcome(await room.word(claims))).toBe(200)
      })
    })

    it('a type that is another thing of the same issuer is refused (RFC 8725 §3.11)', async () => {
      for (const typ of ['at+jwt', 'logout+jwt', 'dpop+jwt', 'secevent+jwt', 'client-authentication+jwt', 'JOSE', '']) {
        expect([typ, await outcome(await room.word({}, { typ }))]).toEqual([typ, INVALID])
      }
      for (const typ of ['JWT', 'jwt', undefined, 'authorization-grant+jwt']) {
        expect(await outcome(await room.word({}, { typ }))).toBe(200)
      }
    })

    it('an ID token of the issuer for its own client is none', async () => {
      expect(await outcome(await room.word({ aud: 'genkan', nonce: 'x' }))).toEqual(INVALID)
    })

    it('no forged or respelt one is taken, and nothing that it names is fetched (A68, A69)', async () => {
      const good = room.machine()
      const { jti: _, ...claims } = payloadOf(good)
      const publicJwk = room.platform.publicKey.export({ format: 'jwk' })
      const key = es256With(room.platform.privateKey)
      const honest = (header: Claims, said: Claims) =>
        jws({ ...header, alg: 'ES256' }, { ...said, jti: crypto.randomUUID() }, key)
      const forged = forgeries({
        header: headerOf(good),
        claims: { ...claims, jti: 'forged' },
        publicJwk,
        honest,
        canary: canary.origin,
      })
      for (const { name, jwt } of forged) expect([name, await outcome(jwt, {}, 'runner')]).toEqual([name, INVALID])
      for (const mutation of sample(mutations(good, 200), { least: 20 })) {
        expect(await outcome(mutation, {}, 'runner')).toEqual(INVALID)
      }
      expect(canary.calls()).toBe(0)
      expect(await outcome(good, {}, 'runner')).toBe(200)
    })

    it('serves once, also of many at once, whoever brings it (A64)', async () => {
      const assertion = await room.word()
      expect(await outcome(assertion)).toBe(200)
      expect(await outcome(assertion)).toEqual(INVALID)
      expect(await lastReason()).toBe('assertion_replayed')
      expect(await outcome(assertion, {}, 'single')).toEqual(INVALID)
      const other = await room.word()
      const answers = await Promise.all(Array.from({ length: 12 }, () => room.present(other)))
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
      // What was refused for another reason has used nothing up.
      const third = await room.word()
      expect(await outcome(third, { scope: 'openid' })).toEqual([400, 'invalid_scope'])
      expect(await outcome(third)).toBe(200)
    })

    it('is bound to a key where it says so, and the token to the key that is shown', async () => {
      const key = dpopKey(room.server.issuer)
      const bound = await room.word({ cnf: { jkt: key.jkt } })
      expect(await outcome(bound)).toEqual(INVALID)
      const other = await room.present(bound, {}, 'partner', dpopKey(room.server.issuer).proof())
      expect([other.status, other.body.error]).toEqual(INVALID)
      const answer = await room.present(bound, {}, 'partner', key.proof())
      expect(answer.body.token_type).toBe('DPoP')
      expect(payloadOf(tokensOf(answer).access).cnf).toEqual({ jkt: key.jkt })
    })

    it.each([
      ['no assertion', { assertion: undefined }],
      ['an empty one', { assertion: '' }],
    ])('%s is invalid_request', async (_name, fields) => {
      expect(await outcome('', fields)).toEqual([400, 'invalid_request'])
    })

    it('a parameter given twice is refused (A78)', async () => {
      const fields = [
        ['grant_type', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
        ['client_id', 'partner'],
      ]
      const send = async (more: string[][]) => {
        const body = new URLSearchParams([...fields, ...more] as [string, string][])
        const answer = await fetch(`${room.server.issuer}/token`, { method: 'POST', body, headers: basic('partner') })
        return [answer.status, ((await answer.json()) as { error?: string }).error]
      }
      const word = await room.word()
      expect(
        await send([
          ['assertion', word],
          ['assertion', word],
          ['resource', API],
        ]),
      ).toEqual([400, 'invalid_request'])
      expect(
        await send([
          ['assertion', word],
          ['resource', API],
          ['resource', LEDGER],
        ]),
      ).toEqual([400, 'invalid_target'])
      expect(
        await send([
          ['assertion', word],
          ['resource', API],
        ]),
      ).toEqual([200, undefined])
    })

    it('states whose word was taken for whom, and counts it', async () => {
      await room.present(await room.word())
      const { stdout } = await room.server.run('audit', 'export', '--client', 'partner')
      const facts = stdout.split('\n').filter((line) => line.includes('assertion.accepted'))
      expect(JSON.parse(facts.at(-1) ?? '{}')).toMatchObject({
        ...{ type: 'assertion.accepted', account_id: ann, client_id: 'partner', actor: 'client:partner' },
        data: { issuer: room.fake.issuer, profile: 'jwt', audience: API },
      })
      const metrics = await (await fetch(`${room.server.managementOrigin}/metrics`)).text()
      expect(metrics).toMatch(/genkan_tokens_issued_total\{grant="jwt_bearer"\} [1-9]/)
    })

    describe('keys at a jwks_uri (A70)', () => {
      it('that cannot be read are a 503, and the assertion is good afterwards', async () => {
        await room.server.shiftDate(700)
        const later = { iat: now() + 700, exp: now() + 760 }
        await room.fake.tell({ faults: { '/jwks': { status: 500 } } })
        const word = await room.word(later)
        expect(await outcome(word)).toEqual([503, 'temporarily_unavailable'])
        await room.fake.tell({ faults: { '/jwks': { status: 302, location: `${canary.origin}/jwks` } } })
        expect(await outcome(word)).toEqual([503, 'temporarily_unavailable'])
        expect(canary.calls()).toBe(0)
        await room.fake.tell({ faults: {} })
        expect(await outcome(word)).toBe(200)
      })

      it('are fetched anew for a key that appeared a moment ago', async () => {
        await room.server.shiftDate(800)
        const later = () => ({ iat: now() + 800, exp: now() + 860 })
        const before = await room.word(later())
        await room.fake.tell({ rotate: true })
        expect(await outcome(await room.word(later()))).toBe(200)
        expect(await outcome(before)).toEqual(INVALID)
      })

      it('of a provider that was switched off count for nobody', async () => {
        const later = () => ({ iat: now() + 800, exp: now() + 860 })
        expect(await outcome(await room.word(later()))).toBe(200)
        await room.server.run('upstreams', 'disable', 'acme')
        expect(await outcome(await room.word(later()))).toEqual(INVALID)
      })
    })
  },
)
