/** Clients that register themselves (RFC 7591, RFC 7592), as they do it: by JSON over http. */
import { API } from './journeys.ts'
import type { Server } from './server.ts'
import { answerOf, type TokenAnswer } from './token_requests.ts'

/** Policies of the tests: `web` is wide, `mcp` is for programs on people's machines, `narrow` has one place and no scopes. */
export const POLICIES = {
  web: {
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    token_endpoint_auth_methods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    scope: 'openid profile email offline_access orders:read',
    resources: [API],
    redirect_hosts: ['*.test.example'],
    clients_per_token: 10_000,
  },
  mcp: {
    token_endpoint_auth_methods: ['none'],
    scope: 'openid offline_access orders:read',
    resources: [API],
    loopback_redirects: true,
    redirect_schemes: ['com.example.app'],
    client_days: 30,
    clients_per_token: 2,
  },
  vetted: {
    token_endpoint_auth_methods: ['none'],
    redirect_hosts: ['vetted.test.example'],
    unverified_banner: false,
  },
} as const

export type Metadata = { readonly [member: string]: unknown }

/** What a client that is fine by the policy `web` asks for. */
export const WEB_CLIENT: Metadata = {
  client_name: 'Garden Planner',
  redirect_uris: ['https://garden.test.example/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'client_secret_basic',
}

/** And by the policy `mcp`. */
export const MCP_CLIENT: Metadata = {
  client_name: 'Notes Assistant',
  application_type: 'native',
  redirect_uris: ['http://127.0.0.1/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'none',
}

/** Makes an initial access token by the command line. */
export async function initialToken(server: Server, policy: string, uses = 1000, expires = '1d'): Promise<string> {
  const flags = ['--policy', policy, '--uses', String(uses), '--expires', expires, '--json']
  const { stdout, stderr } = await server.run('clients', 'registration-token', 'create', ...flags)
  if (stderr !== '') throw new Error(stderr)
  return String((JSON.parse(stdout) as { registration_token: string }).registration_token)
}

export type Registrar = ReturnType<typeof registrar>

/** Requests to the registration endpoint at `origin`, where the server listens. */
export function registrar(origin: string) {
  const send = (
    method: string,
    path: string,
    token: string | undefined,
    body?: Metadata | string,
    headers: { readonly [name: string]: string } = {},
  ): Promise<TokenAnswer> =>
    fetch(`${origin}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    }).then(answerOf)
  return {
    send,
    register: (token: string | undefined, body: Metadata | string, headers = {}) =>
      send('POST', '/reg', token, body, headers),
    read: (clientId: string, token: string | undefined) => send('GET', `/reg/${clientId}`, token),
    replace: (clientId: string, token: string | undefined, body: Metadata | string) =>
      send('PUT', `/reg/${clientId}`, token, body),
    remove: (clientId: string, token: string | undefined) => send('DELETE', `/reg/${clientId}`, token),
  }
}

export interface RegisteredClient {
  readonly id: string
  readonly secret: string
  /** What it manages itself by. */
  readonly token: string
  readonly body: Metadata
}

/** What a registration answered; throws when it was refused. */
export function registered({ status, body }: TokenAnswer): RegisteredClient {
  if (status !== 200 && status !== 201) throw new Error(`not registered: ${status} ${JSON.stringify(body)}`)
  const text = (name: string) => String(body[name] ?? '')
  return { id: text('client_id'), secret: text('client_secret'), token: text('registration_access_token'), body }
}
