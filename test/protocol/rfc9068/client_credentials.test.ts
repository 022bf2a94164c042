/** RFC 6749 §4.4 with RFC 8707 and RFC 9068: whom a machine's token is for, what it may do, and whom the machine acts for. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { API, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson } from '../../support/people.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import {
  basic,
  type ClientRequests,
  clientRequests,
  type Fields,
  payloadOf,
  postForm,
  tokensOf,
} from '../../support/token_requests.ts'

const LEDGER = 'https://ledger.test.example'
const machine = (client_id: string, more: object) => ({
  ...{ client_id, client_secret: SECRET, grant_types: ['client_credentials'], scope: 'orders:read ledger:read' },
  ...more,
})
const settings = {
  resources: [
    ...SETTINGS.resources,
    { identifier: LEDGER, scopes: ['ledger:read', 'ledger:write'], access_token_format: 'opaque' },
  ],
  clients: [
    ...SETTINGS.clients.filter(({ client_id }) => client_id === 'own'),
    machine('partner', { resources: [API, LEDGER], organization_id: 'org-acme_1' }),
    machine('single', { resources: [API], scope: 'orders:read' }),
    machine('nowhere', { resource_server_for: [LEDGER] }),
    {
      ...machine('both', { resources: [API], organization_id: 'acme' }),
      ...{ grant_types: ['authorization_code', 'client_credentials'], first_party: true },
      ...{ redirect_uris: ['https://both.test.example/callback'], scope: 'openid email orders:read' },
    },
  ],
}

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))(
  'client credentials on %s',
  (kind) => {
    let server: Server
    let client: ClientRequests

    beforeAll(async () => {
      const stores = kind === 'embedded' ? kind : await realStores()
      server = await startServer({ settings, stores })
      client = clientRequests(server.issuer)
    })
    afterAll(() => server.close())

    const ask = (clientId: string, fields: Fields = {}) =>
      client.token(clientId, { grant_type: 'client_credentials', ...fields })
    const errorOf = async (clientId: string, fields: Fields = {}) => {
      const { status, body } = await ask(clientId, fields)
      expect(body).not.toHaveProperty('access_token')
      return [status, body.error]
    }

    it('name the organization of the client in a JWT', async () => {
      const { access } = tokensOf(await ask('partner', { resource: API, scope: 'orders:read' }))
      expect(payloadOf(access)).toMatchObject({ org_id: 'org-acme_1', client_id: 'partner', aud: API })
    })

    it('name it in the introspection of an opaque token, to its resource server and to the client itself', async () => {
      const { access } = tokensOf(await ask('partner', { resource: LEDGER, scope: 'ledger:read' }))
      expect(access).not.toContain('.')
      for (const asker of ['nowhere', 'partner']) {
        expect((await client.introspect(asker, access)).body).toMatchObject({
          ...{ active: true, org_id: 'org-acme_1', client_id: 'partner', aud: LEDGER, scope: 'ledger:read' },
        })
      }
    })

    it('name none for a client without one, whatever the request says', async () => {
      const forged = { org_id: 'org-acme_1', organization_id: 'org-acme_1' }
      const { access } = tokensOf(await ask('single', { resource: API, ...forged }))
      expect(payloadOf(access)).not.toHaveProperty('org_id')
    })

    if (kind === 'embedded') {
      it('and not a person, whose client has an organization', async () => {
        const ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
        const code = await ann.code('both', { scope: 'openid orders:read', resource: API })
        const tokens = tokensOf(await client.redeem(code, { resource: API }))
        expect(payloadOf(tokens.access)).toMatchObject({ client_id: 'both', sub: payloadOf(tokens.id).sub })
        for (const token of [tokens.access, tokens.id]) expect(payloadOf(token)).not.toHaveProperty('org_id')
        expect(payloadOf(tokensOf(await ask('both')).access)).toMatchObject({ sub: 'both', org_id: 'acme' })
      })
    }

    it('without a resource are for the one that the client may use', async () => {
      // An empty parameter is none (RFC 6749 §3.2).
      for (const fields of [{}, { resource: '' }]) {
        const { access } = tokensOf(await ask('single', { scope: 'orders:read', ...fields }))
        expect(payloadOf(access)).toMatchObject({ aud: API, scope: 'orders:read' })
      }
    })

    it('without a resource are refused when there are several, or none (RFC 8707 §2)', async () => {
      for (const fields of [{}, { resource: '' }, { scope: 'orders:read' }]) {
        expect(await errorOf('partner', fields)).toEqual([400, 'invalid_target'])
        expect(await errorOf('nowhere', fields)).toEqual([400, 'invalid_target'])
      }
      expect(await errorOf('nowhere', { resource: LEDGER })).toEqual([400, 'invalid_target'])
      expect(await errorOf('single', { resource: LEDGER })).toEqual([400, 'invalid_target'])
    })

    it('for two resources at once are refused', async () => {
      const body = new URLSearchParams([
        ['grant_type', 'client_credentials'],
        ['resource', API],
        ['resource', LEDGER],
      ])
      const headers = basic('partner')
      const answer = await fetch(`${server.issuer}/token`, { method: 'POST', body, headers })
      expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([400, 'invalid_target'])
    })

    it('have no scope that was not asked for', async () => {
      const answer = await ask('partner', { resource: API })
      expect(answer.body).not.toHaveProperty('scope')
      expect(payloadOf(tokensOf(answer).access)).not.toHaveProperty('scope')
    })

    it.each([
      ['that is unknown', 'admin'],
      ['of the resource server that the client may not have', 'orders:write'],
      ['of another resource server', 'orders:read ledger:read'],
      ['of people', 'openid'],
    ])('with a scope %s are refused whole', async (_, scope) => {
      expect(await errorOf('partner', { resource: API, scope })).toEqual([400, 'invalid_scope'])
      expect(await errorOf('single', { scope })).toEqual([400, 'invalid_scope'])
    })

    it('live five minutes as a JWT, and an hour where they can be revoked', async () => {
      const jwt = await ask('partner', { resource: API })
      expect(jwt.body.expires_in).toBe(300)
      expect((await ask('partner', { resource: LEDGER })).body.expires_in).toBe(3600)
      // No refresh token (RFC 6749 §4.4.3), and nothing that lengthens a life.
      expect(Object.keys(jwt.body).sort()).toEqual(['access_token', 'expires_in', 'token_type'])
      const longer = await postForm(
        `${server.issuer}/token`,
        { grant_type: 'client_credentials', resource: API, expires_in: '99999', access_token_seconds: '99999' },
        basic('partner'),
      )
      expect(longer.body.expires_in).toBe(300)
    })
  },
)
