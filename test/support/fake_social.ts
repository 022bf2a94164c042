/**
 * GitHub and Facebook as their documents say them, as far as a sign-in goes: plain OAuth 2, an API about the person, and their
 * ways of their own (errors with status 200, an object for an error, `appsecret_proof`).
 */
import { createHash, createHmac, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

export interface FakeSocial {
  readonly origin: string
  /** What the API says of who signs in, by path. */
  answers: { [path: string]: unknown }
  /** Instead of a code. */
  refusal: { readonly [parameter: string]: string } | undefined
  /** Sent with the code, as GitHub does (RFC 9207). */
  iss: string | undefined
  /** What happens to requests of the server by path. */
  faults: { [path: string]: { status?: number; delayMs?: number; body?: string } }
  readonly requests: {
    readonly path: string
    readonly query: URLSearchParams
    readonly headers: IncomingMessage['headers']
  }[]
  close(): Promise<void>
}

export const SOCIAL = { clientId: 'social', clientSecret: 'a secret of the client at the fake' }

export async function startFakeSocial(): Promise<FakeSocial> {
  const grants = createGrants()
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const fake: FakeSocial = {
    origin: `http://127.0.0.1:${port}`,
    answers: {},
    refusal: undefined,
    iss: undefined,
    faults: {},
    requests: [],
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname: path, searchParams: query } = new URL(request.url ?? '/', fake.origin)
    fake.requests.push({ path, query, headers: request.headers })
    const fault = fake.faults[path]
    if (fault !== undefined) {
      await sleep(fault.delayMs ?? 0, undefined, { ref: false })
      if (fault.status !== undefined || fault.body !== undefined) {
        response.writeHead(fault.status ?? 200).end(fault.body)
        return
      }
    }
    const say = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }
    if (path.endsWith('/authorize') || path === '/dialog/oauth') {
      response.writeHead(302, { location: grants.authorize(query, fake) }).end()
      return
    }
    if (path === '/login/oauth/access_token') return say(200, grants.redeem(await form(request)))
    if (path === '/oauth/access_token') {
      const answer = grants.redeem(await form(request))
      const error = { message: 'Error validating', type: 'OAuthException', code: 100 }
      return 'error' in answer ? say(400, { error }) : say(200, answer)
    }
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? ''
    const proof = createHmac('sha256', SOCIAL.clientSecret).update(token).digest('hex')
    if (!grants.given(token) || (path === '/me' && query.get('appsecret_proof') !== proof)) {
      return say(401, { message: 'Bad credentials' })
    }
    say(200, fake.answers[path] ?? null)
  }

  return fake
}

const form = async (request: IncomingMessage) => new URLSearchParams(await text(request))

/** Codes and tokens that were given. */
function createGrants() {
  const codes = new Map<string, { redirectUri: string; challenge: string | undefined }>()
  const tokens = new Set<string>()
  return {
    given: (token: string) => tokens.has(token),
    /** Where the browser goes back to. */
    authorize(query: URLSearchParams, { refusal, iss }: Pick<FakeSocial, 'refusal' | 'iss'>): string {
      const back = new URL(query.get('redirect_uri') ?? '')
      const code = randomUUID()
      codes.set(code, { redirectUri: back.href, challenge: query.get('code_challenge') ?? undefined })
      const parameters = {
        ...(refusal ?? { code }),
        ...(iss === undefined ? {} : { iss }),
        state: query.get('state') ?? '',
      }
      for (const [name, value] of Object.entries(parameters)) back.searchParams.set(name, value)
      return back.href
    },
    redeem(body: URLSearchParams): object {
      const code = codes.get(body.get('code') ?? '')
      codes.delete(body.get('code') ?? '')
      if (body.get('client_id') !== SOCIAL.clientId || body.get('client_secret') !== SOCIAL.clientSecret) {
        return { error: 'incorrect_client_credentials', error_description: '<b>theirs</b>' }
      }
      if (code !== undefined && code.redirectUri !== body.get('redirect_uri')) return { error: 'redirect_uri_mismatch' }
      const verifier = createHash('sha256')
        .update(body.get('code_verifier') ?? '')
        .digest('base64url')
      if (code === undefined || (code.challenge !== undefined && code.challenge !== verifier)) {
        return { error: 'bad_verification_code', error_description: '<b>theirs</b>' }
      }
      const token = randomUUID()
      tokens.add(token)
      return { access_token: token, token_type: 'bearer', scope: 'user:email' }
    },
  }
}
