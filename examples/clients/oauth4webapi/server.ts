/**
 * A server-rendered application on oauth4webapi, which has each request and each answer in a call of its own: a pushed
 * authorization request (RFC 9126), then DPoP (RFC 9449), so that a stolen token is worth nothing without this process's key.
 * Settings: ISSUER, CLIENT_ID, CLIENT_SECRET, BASE_URL (this application's own origin).
 */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import * as oauth from 'oauth4webapi'

const { ISSUER = '', CLIENT_ID = '', CLIENT_SECRET = '', BASE_URL = '' } = process.env
const CALLBACK = `${BASE_URL}/callback`
/** For an issuer on this machine; with a real one, https, leave it out. */
const HTTP = { [oauth.allowInsecureRequests]: ISSUER.startsWith('http:') }

const issuer = new URL(ISSUER)
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, HTTP))
const client: oauth.Client = { client_id: CLIENT_ID }
const authentication = oauth.ClientSecretBasic(CLIENT_SECRET)
const dpop = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
const BOUND = { ...HTTP, DPoP: dpop }

/** What a browser's cookie stands for: a sign-in under way, or who is signed in. Use your framework's store instead. */
type Session =
  | { readonly verifier: string; readonly state: string; readonly nonce: string }
  | { readonly sub: string; accessToken: string; refreshToken: string }
const sessions = new Map<string, Session>()

const routes: { readonly [path: string]: (req: IncomingMessage, res: ServerResponse, url: URL) => Promise<void> } = {
  '/': async (req, res) => {
    const session = sessionOf(req)
    if (session === undefined || !('sub' in session)) return answer(res, 401, { signed_in: false, start: '/login' })
    const { sub, accessToken } = session
    const claims = await withNonce(async () =>
      oauth.processUserInfoResponse(as, client, sub, await oauth.userInfoRequest(as, client, accessToken, BOUND)),
    )
    answer(res, 200, claims)
  },

  '/login': async (_req, res) => {
    const verifier = oauth.generateRandomCodeVerifier()
    const session = { verifier, state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce() }
    const parameters = {
      response_type: 'code',
      redirect_uri: CALLBACK,
      // A refresh token for whoever agrees to it (OpenID Connect Core §11).
      scope: 'openid profile email offline_access',
      prompt: 'consent',
      state: session.state,
      nonce: session.nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    }
    const pushed = await withNonce(async () =>
      oauth.processPushedAuthorizationResponse(
        as,
        client,
        await oauth.pushedAuthorizationRequest(as, client, authentication, parameters, BOUND),
      ),
    )
    const location = new URL(as.authorization_endpoint ?? '')
    location.search = String(new URLSearchParams({ client_id: CLIENT_ID, request_uri: pushed.request_uri }))
    begin(res, session)
    res.writeHead(302, { location: location.href }).end()
  },

  '/callback': async (req, res, url) => {
    const session = sessionOf(req)
    if (session === undefined || !('verifier' in session)) throw new Error('this sign-in was not started here')
    end(req)
    const { verifier, state, nonce } = session
    const callback = oauth.validateAuthResponse(as, client, url, state)
    const tokens = await withNonce(async () => {
      const request = [as, client, authentication, callback, CALLBACK, verifier, BOUND] as const
      const expected = { expectedNonce: nonce, requireIdToken: true }
      const response = await oauth.authorizationCodeGrantRequest(...request)
      const answer = await oauth.processAuthorizationCodeResponse(as, client, response, expected)
      await oauth.validateApplicationLevelSignature(as, response, HTTP)
      return answer
    })
    const { sub = '' } = oauth.getValidatedIdTokenClaims(tokens) ?? {}
    begin(res, { sub, accessToken: tokens.access_token, refreshToken: tokens.refresh_token ?? '' })
    res.writeHead(302, { location: '/' }).end()
  },

  '/refresh': async (req, res) => {
    const session = sessionOf(req)
    if (session === undefined || !('sub' in session)) throw new Error('nobody is signed in')
    const tokens = await withNonce(async () => {
      const { refreshToken } = session
      const response = await oauth.refreshTokenGrantRequest(as, client, authentication, refreshToken, BOUND)
      return oauth.processRefreshTokenResponse(as, client, response)
    })
    session.accessToken = tokens.access_token
    session.refreshToken = tokens.refresh_token ?? session.refreshToken
    res.writeHead(302, { location: '/' }).end()
  },

  '/logout': async (req, res) => {
    const session = sessionOf(req)
    end(req)
    if (session !== undefined && 'sub' in session) {
      const request = [as, client, authentication, session.refreshToken, HTTP] as const
      await oauth.processRevocationResponse(await oauth.revocationRequest(...request))
    }
    answer(res, 200, { signed_in: false, start: '/login' })
  },
}

/** A server may want a number of its own in each proof (RFC 9449 §8): the answer brings it, and asking again sends it. */
async function withNonce<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return ask()
  }
}

function idOf(req: IncomingMessage): string {
  return /(?:^|; )oauth4webapi=([\w-]+)/.exec(req.headers.cookie ?? '')?.[1] ?? ''
}

function sessionOf(req: IncomingMessage): Session | undefined {
  return sessions.get(idOf(req))
}

/** A new id at each step, against session fixation. */
function begin(res: ServerResponse, session: Session): void {
  const id = randomUUID()
  sessions.set(id, session)
  const secure = BASE_URL.startsWith('https:') ? '; Secure' : ''
  res.setHeader('set-cookie', `oauth4webapi=${id}; HttpOnly; SameSite=Lax; Path=/${secure}`)
}

function end(req: IncomingMessage): void {
  sessions.delete(idOf(req))
}

function answer(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

const server = createServer((req, res) => {
  const url = new URL(req.url ?? '/', BASE_URL)
  const route = routes[url.pathname]
  if (req.method !== 'GET' || route === undefined) return answer(res, 404, { error: 'there is no such page' })
  route(req, res, url).catch((error: unknown) => {
    const { message, cause } = error as Error
    answer(res, 400, { error: message, cause })
  })
})
server.listen(Number(new URL(BASE_URL).port), '127.0.0.1', () => console.log(`oauth4webapi: ${BASE_URL}`))
