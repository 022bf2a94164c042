/** RFC 8693: a service acts for a person at the next service, and every token says so. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import {
  ACCESS_TOKEN,
  EXCHANGE_SETTINGS,
  exchangeRequests,
  LEDGER,
  TOKEN_EXCHANGE,
  VAULT,
} from '../../support/exchange_room.ts'
import { API } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, type Person } from '../../support/people.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import {
  basic,
  type ClientRequests,
  clientRequests,
  type Fields,
  payloadOf,
  tokensOf,
} from '../../support/token_requests.ts'

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))(
  'token exchange on %s',
  (kind) => {
    let server: Server
    let client: ClientRequests
    let ann: Person
    let room: ReturnType<typeof exchangeRequests>

    beforeAll(async () => {
      const stores = kind === 'embedded' ? kind : await realStores()
      server = await startServer({ settings: EXCHANGE_SETTINGS, stores })
      client = clientRequests(server.issuer)
      room = exchangeRequests(client)
      ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
    })
    afterAll(() => server.close())

    const errorOf = async (by: string, token: string, fields: Fields = {}) => {
      const { status, body } = await room.exchange(by, token, fields)
      expect(body).not.toHaveProperty('access_token')
      return [status, body.error]
    }

    it('an API gets a token for the next one that a resource server verifies, with act (§4.1)', async () => {
      const { access, id } = await room.token(ann)
      const answer = await room.exchange('orders', access)
      expect(answer.body).toMatchObject({
        ...{ issued_token_type: ACCESS_TOKEN, token_type: 'Bearer', scope: 'ledger:read' },
      })
      expect(answer.headers.get('cache-control')).toContain('no-store')
      expect(answer.body).not.toHaveProperty('refresh_token')
      const keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`))
      const { payload } = await jwtVerify(tokensOf(answer).access, keys, {
        ...{ issuer: server.issuer, audience: LEDGER, typ: 'at+jwt' },
      })
      const subject = payloadOf(access)
      expect(payload).toMatchObject({
        ...{ sub: payloadOf(id).sub, client_id: 'orders', act: { sub: 'orders' }, scope: 'ledger:read' },
        ...{ acr: subject.acr, amr: subject.amr, auth_time: subject.auth_time },
      })
      expect(Number(payload.exp)).toBeLessThanOrEqual(Number(subject.exp))
    })

    it('a chain names everybody, who acts now first, and ends at four (§4.1)', async () => {
      const { access } = await room.token(ann)
      const first = tokensOf(await room.exchange('orders', access)).access
      const second = tokensOf(await room.exchange('ledger', first, { resource: VAULT })).access
      expect((await client.introspect('vault', second)).body).toMatchObject({
        ...{ active: true, aud: VAULT, act: { sub: 'ledger', act: { sub: 'orders' } } },
      })
      const third = tokensOf(await room.exchange('vault', second)).access
      const fourth = tokensOf(await room.exchange('ledger', third, { resource: API })).access
      const act = { sub: 'ledger', act: { sub: 'vault', act: { sub: 'ledger', act: { sub: 'orders' } } } }
      expect(payloadOf(fourth).act).toEqual(act)
      expect(await errorOf('orders', fourth)).toEqual([400, 'invalid_request'])
      // Who acts already is not named once more.
      const again = tokensOf(await room.exchange('ledger', fourth, { resource: API })).access
      expect(payloadOf(again).act).toEqual(act)
    })

    it('introspection tells act, of a JWT and of an opaque token (§4.1, RFC 7662 §2.2)', async () => {
      const { access } = await room.token(ann)
      for (const resource of [LEDGER, VAULT]) {
        const token = tokensOf(await room.exchange('orders', access, { resource })).access
        expect(token.includes('.')).toBe(resource === LEDGER)
        for (const asker of ['ledger', 'orders']) {
          expect((await client.introspect(asker, token)).body).toMatchObject({
            ...{ active: true, sub: payloadOf(access).sub, client_id: 'orders', act: { sub: 'orders' } },
          })
        }
        expect((await client.introspect('idle', token)).body).toEqual({ active: false })
      }
    })

    it('takes opaque tokens, and what was issued to the client itself', async () => {
      const opaque = await room.token(ann, 'opaque', API)
      expect(opaque.access).not.toContain('.')
      const exchanged = tokensOf(await room.exchange('orders', opaque.access)).access
      expect(payloadOf(exchanged)).toMatchObject({ act: { sub: 'orders' }, sub: payloadOf(opaque.id).sub })
      expect(payloadOf(exchanged)).toHaveProperty('acr')
      const own = tokensOf(await room.exchange('orders', exchanged, { resource: VAULT })).access
      expect((await client.introspect('orders', own)).body).toMatchObject({ active: true, act: { sub: 'orders' } })
    })

    it('lives five minutes at the most, by the row less, and never beyond the token shown', async () => {
      const { access } = await room.token(ann, 'opaque', API)
      const shown = Number((await client.introspect('opaque', access)).body.exp)
      expect(shown - Date.now() / 1000).toBeGreaterThan(1000)
      const jwt = payloadOf(tokensOf(await room.exchange('orders', access)).access)
      expect(Number(jwt.exp) - Number(jwt.iat)).toBe(300)
      const answer = await room.exchange('orders', access, { resource: VAULT })
      expect(answer.body.expires_in).toBe(60)
      const once = tokensOf(answer).access
      const twice = await room.exchange('ledger', once, { resource: API })
      expect(Number(payloadOf(tokensOf(twice).access).exp)).toBeLessThanOrEqual(
        Number((await client.introspect('vault', once)).body.exp),
      )
    })

    describe('scopes only become fewer', () => {
      it('than the token shown, the row and the resource server have (A77)', async () => {
        const { access } = await room.token(ann)
        const all = await room.exchange('orders', access, { resource: VAULT })
        expect(String(all.body.scope).split(' ').sort()).toEqual(['ledger:read', 'orders:read'])
        const less = await room.exchange('orders', access, { resource: VAULT, scope: 'orders:read' })
        expect(less.body.scope).toBe('orders:read')
        for (const scope of [
          'ledger:write',
          'orders:read',
          'orders:write',
          'openid',
          'ledger:read ledger:write',
          ' ',
        ]) {
          expect(await errorOf('orders', access, { scope })).toEqual([400, 'invalid_scope'])
        }
      })

      it('and a token without any that fit is none', async () => {
        const { access } = await room.token(ann, 'web', API, 'openid orders:write')
        expect(await errorOf('orders', access)).toEqual([400, 'invalid_scope'])
      })
    })

    describe('targets (§2.1, RFC 8707)', () => {
      it('may be named by audience; the one that there is need not be named', async () => {
        const { access } = await room.token(ann)
        expect((await room.exchange('orders', access, { resource: undefined, audience: LEDGER })).status).toBe(200)
        expect((await room.exchange('keys', access, { resource: undefined })).status).toBe(200)
        expect(await errorOf('orders', access, { resource: undefined })).toEqual([400, 'invalid_target'])
      })

      it.each(['https://evil.example', API, `${LEDGER}/`, 'urn:x', 'not a uri'])('%s is not one', async (resource) => {
        const { access } = await room.token(ann)
        expect(await errorOf('orders', access, { resource })).toEqual([400, 'invalid_target'])
      })

      it('two are refused, and never the last taken (A78)', async () => {
        const { access } = await room.token(ann)
        const send = async (more: readonly (readonly [string, string])[]) => {
          const fields = [
            ['grant_type', TOKEN_EXCHANGE],
            ...[
              ['subject_token', access],
              ['subject_token_type', ACCESS_TOKEN],
            ],
            ...more,
          ]
          const body = new URLSearchParams(fields as [string, string][])
          const answer = await fetch(`${server.issuer}/token`, { method: 'POST', headers: basic('orders'), body })
          return [answer.status, ((await answer.json()) as { error?: string }).error]
        }
        expect(await send([['resource', LEDGER]])).toEqual([200, undefined])
        expect(
          await send([
            ['resource', LEDGER],
            ['resource', LEDGER],
          ]),
        ).toEqual([200, undefined])
        expect(
          await send([
            ['resource', LEDGER],
            ['resource', VAULT],
          ]),
        ).toEqual([400, 'invalid_target'])
        expect(
          await send([
            ['resource', LEDGER],
            ['audience', VAULT],
          ]),
        ).toEqual([400, 'invalid_target'])
        for (const name of ['subject_token', 'scope', 'subject_token_type', 'actor_token']) {
          const twice: [string, string][] = [
            ['resource', LEDGER],
            [name, 'x'],
            [name, 'y'],
          ]
          expect(await send(twice)).toEqual([400, 'invalid_request'])
        }
        expect(
          await send([
            ['resource[]', LEDGER],
            ['resource', VAULT],
            ['scope[]', 'ledger:write'],
          ]),
        ).toEqual([200, undefined])
      })
    })

    describe('requests that are none (§2.1)', () => {
      it.each([
        ['no subject token', { subject_token: undefined }],
        ['no type of it', { subject_token_type: undefined }],
        ['a type that is not taken', { subject_token_type: 'urn:ietf:params:oauth:token-type:jwt' }],
        ['a type that there is not', { subject_token_type: 'access_token' }],
        ['a result that is not given', { requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }],
        ['an ID token as result', { requested_token_type: 'urn:ietf:params:oauth:token-type:id_token' }],
        ['a type of no actor token', { actor_token_type: ACCESS_TOKEN }],
        ['an actor token of no type', { actor_token: 'x' }],
        ['an empty subject token', { subject_token: '' }],
      ])('%s', async (_name, fields) => {
        const { access } = await room.token(ann)
        expect(await errorOf('orders', access, fields)).toEqual([400, 'invalid_request'])
      })
    })

    describe('who may', () => {
      it('a client without the grant may not', async () => {
        const { access } = await room.token(ann)
        expect(await errorOf('idle', access)).toEqual([400, 'unauthorized_client'])
        expect(await errorOf('web', access)).toEqual([400, 'unauthorized_client'])
      })

      it('only those that the sign-in names may act, when it names some (§4.4)', async () => {
        const guarded = (await room.token(ann, 'guarded')).access
        expect(payloadOf(guarded).may_act).toEqual({ sub: 'orders' })
        const exchanged = tokensOf(await room.exchange('orders', guarded)).access
        expect(payloadOf(exchanged)).toMatchObject({ act: { sub: 'orders' }, may_act: { sub: 'orders' } })
        expect(await errorOf('keys', guarded)).toEqual([400, 'invalid_request'])
        // It holds for the whole chain.
        expect(await errorOf('ledger', exchanged, { resource: VAULT })).toEqual([400, 'invalid_request'])
        const watched = (await room.token(ann, 'watched')).access
        expect(payloadOf(watched).may_act).toEqual({ sub: ['bot', 'nobody'] })
        expect(await errorOf('orders', watched)).toEqual([400, 'invalid_request'])
        expect((await client.introspect('orders', watched)).body).toHaveProperty('may_act')
      })

      it('an actor token names another actor, which the row must name (§2.1)', async () => {
        const { access } = await room.token(ann)
        const bot = await room.machine('bot', API)
        const actor = { actor_token: bot, actor_token_type: ACCESS_TOKEN }
        const exchanged = tokensOf(await room.exchange('gateway', access, actor)).access
        expect(payloadOf(exchanged)).toMatchObject({ client_id: 'gateway', act: { sub: 'bot' } })
        // Without it the client itself acts, which this row does not name.
        expect(await errorOf('gateway', access)).toEqual([400, 'invalid_request'])
        expect(await errorOf('orders', access, actor)).toEqual([400, 'invalid_request'])
        const watched = (await room.token(ann, 'watched')).access
        expect(payloadOf(tokensOf(await room.exchange('gateway', watched, actor)).access).act).toEqual({ sub: 'bot' })
      })

      it('an actor token is an access token of a machine, and no other', async () => {
        const tokens = await room.token(ann)
        const type = ACCESS_TOKEN
        const bad = [
          tokens.access,
          tokens.id,
          tokens.refresh,
          'x',
          await room.machine('foreign'),
          await room.machine('bot', LEDGER),
        ]
        for (const actor_token of bad) {
          expect(await errorOf('gateway', tokens.access, { actor_token, actor_token_type: type })).toEqual([
            ...[400, 'invalid_request'],
          ])
        }
      })
    })

    it('counts them, and states who acted for whom (R27)', async () => {
      const { access, id } = await room.token(ann)
      await room.exchange('orders', access)
      const metrics = await (await fetch(`${server.managementOrigin}/metrics`)).text()
      expect(metrics).toMatch(/genkan_tokens_issued_total\{grant="token_exchange"\} [1-9]/)
      const { stdout } = await server.run('audit', 'export')
      const facts = stdout.split('\n').filter((line) => line.includes('token.exchanged'))
      const last = JSON.parse(facts.at(-1) ?? '{}')
      expect(last).toMatchObject({
        ...{ type: 'token.exchanged', account_id: payloadOf(id).sub, client_id: 'orders' },
        actor: 'client:orders',
        data: { audience: LEDGER, scopes: ['ledger:read'], actors: ['orders'], from: 'web' },
      })
    })
  },
)
