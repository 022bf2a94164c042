/** A house where services call each other for people: a shop, the API that it calls, and the ledger behind that. */
import { API, SECRET, SETTINGS } from './journeys.ts'
import type { Person } from './people.ts'
import { type ClientRequests, type Fields, type TokenAnswer, tokensOf } from './token_requests.ts'

export const LEDGER = 'https://ledger.test.example'
export const VAULT = 'https://vault.test.example'
export const CHAT = 'https://chat.elsewhere.example'

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
export const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token'
export const REFRESH_TOKEN = 'urn:ietf:params:oauth:token-type:refresh_token'
export const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag'

const shop = (client_id: string, more: object) => ({
  ...{
    client_id,
    client_secret: SECRET,
    first_party: true,
    redirect_uris: [`https://${client_id}.test.example/callback`],
  },
  ...{ scope: 'openid email offline_access orders:read orders:write ledger:read', resources: [API, LEDGER] },
  ...more,
})

/** A service: it gets tokens of its own, too. */
export const service = (client_id: string, more: object) => ({
  ...{ client_id, client_secret: SECRET, scope: 'ledger:read', resources: [LEDGER, API] },
  ...{ grant_types: ['client_credentials', TOKEN_EXCHANGE] },
  ...more,
})

export const EXCHANGE_SETTINGS = {
  resources: [
    { identifier: API, scopes: ['orders:read', 'orders:write', 'ledger:read'] },
    { identifier: LEDGER, scopes: ['ledger:read', 'ledger:write', 'orders:read'] },
    { identifier: VAULT, scopes: ['ledger:read', 'orders:read'], access_token_format: 'opaque' },
  ],
  clients: [
    ...SETTINGS.clients.filter(({ client_id }) => client_id === 'own'),
    shop('web', {}),
    shop('opaque', { access_token_format: 'opaque' }),
    shop('guarded', { may_act: ['orders'] }),
    shop('watched', { may_act: ['bot', 'nobody'] }),
    shop('acme', {
      organization_id: 'acme',
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    }),
    service('orders', {
      resource_server_for: [API],
      token_exchange: [
        { resource: LEDGER, scopes: ['ledger:read'] },
        { resource: VAULT, scopes: ['ledger:read', 'orders:read'], max_seconds: 60 },
      ],
    }),
    service('keys', {
      resource_server_for: [API],
      token_exchange: [{ resource: LEDGER, scopes: ['ledger:read'], own_key: true }],
    }),
    service('gateway', {
      resource_server_for: [API],
      organization_id: 'acme',
      token_exchange: [{ resource: LEDGER, scopes: ['ledger:read'], actors: ['bot', 'foreign'] }],
    }),
    service('ledger', {
      resource_server_for: [LEDGER, VAULT],
      token_exchange: [
        { resource: VAULT, scopes: ['ledger:read'] },
        { resource: API, scopes: ['ledger:read'] },
      ],
    }),
    service('vault', { resource_server_for: [VAULT], token_exchange: [{ resource: LEDGER, scopes: ['ledger:read'] }] }),
    service('other', { resource_server_for: [VAULT], token_exchange: [{ resource: LEDGER, scopes: ['ledger:read'] }] }),
    service('idle', { grant_types: ['client_credentials'], resource_server_for: [API] }),
    service('bot', {
      grant_types: ['client_credentials'],
      organization_id: 'acme',
      agent: { owner: 'Billing', purpose: 'pays invoices', expires_at: '2099-01-01T00:00:00Z' },
    }),
    service('foreign', { grant_types: ['client_credentials'], organization_id: 'globex' }),
  ],
} as const

export function exchangeRequests(client: ClientRequests) {
  return {
    /** A person's token for a resource server, of a client that they signed in to. */
    async token(
      person: Person,
      clientId = 'web',
      resource = API,
      scope = 'openid orders:read ledger:read',
      headers = {},
    ) {
      const code = await person.code(clientId, { scope, resource })
      return tokensOf(await client.redeem(code, { resource }, clientId, headers))
    },
    machine: async (clientId: string, resource = API, headers = {}) =>
      tokensOf(
        await client.token(clientId, { grant_type: 'client_credentials', resource, scope: 'ledger:read' }, headers),
      ).access,
    exchange: (by: string, token: string, fields: Fields = {}, headers = {}): Promise<TokenAnswer> =>
      client.token(
        by,
        {
          ...{ grant_type: TOKEN_EXCHANGE, subject_token: token, subject_token_type: ACCESS_TOKEN, resource: LEDGER },
          ...fields,
        },
        headers,
      ),
  }
}
