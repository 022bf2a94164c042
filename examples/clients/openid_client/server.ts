/**
 * A server-rendered application on openid-client: code flow with PKCE, state and nonce, userinfo, refresh, sign-out.
 * Settings: ISSUER, CLIENT_ID, CLIENT_SECRET, BASE_URL (this application's own origin).
 */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import * as client from 'openid-client'

const { ISSUER = '', CLIENT_ID = '', CLIENT_SECRET = '', BASE_URL = '' } = process.env

const config = await client.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, {
  // For an issuer on this machine; with a real one, https, this is the line to delete.
  execute: ISSUER.startsWith('http:') ? [client.allowInsecureRequests] : [],
})
client.enableNonRepudiationChecks(config) // verifies the ID token's signature, too

/** What a browser's cookie stands for: a sign-in under way, or who is signed in. Use your framework's store instead. */
type Session =
  | { readonly checks: client.AuthorizationCodeGrantChecks }
  | { readonly sub: string; readonly idToken: string; accessToken: string; refreshToken: string | undefined }
const sessions = new Map<string, Session>()

const routes: { readonly [path: string]: (req: IncomingMessage, res: ServerResponse, url: URL) => Promise<void> } = {
  '/': async (req, res) => {
    const session = sessionOf(req)
    if (session === undefined || !('sub' in session)) return answer(res, 401, { signed_in: false, start: '/login' })
    answer(res, 200, await client.fetchUserInfo(config, session.accessToken, session.sub))
  },

  '/login': async (_req, res) => {
    const [pkceCodeVerifier, expectedState] = [client.randomPKCECodeVerifier(), client.randomState()]
    const checks = { pkceCodeVerifier, expectedState, expectedNonce: client.randomNonce(), idTokenExpected: true }
    const location = client.buildAuthorizationUrl(config, {
      redirect_uri: `${BASE_URL}/callback`,
      // A refresh token for whoever agrees to it (OpenID Connect Core §11).
      scope: 'openid profile email offline_access',
      prompt: 'consent',
      state: checks.expectedState,
      nonce: checks.expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
      code_challenge_method: 'S256',
    })
    begin(res, { checks })
    res.writeHead(302, { location: location.href }).end()
  },

  '/callback': async (req, res, url) => {
    const session = sessionOf(req)
    if (session === undefined || !('checks' in session)) throw new Error('this sign-in was not started here')
    end(req)
    const tokens = await client.authorizationCodeGrant(config, url, session.checks)
    const sub = tokens.claims()?.sub ?? ''
    const { access_token: accessToken, refresh_token: refreshToken, id_token: idToken = '' } = tokens
    begin(res, { sub, idToken, accessToken, refreshToken })
    res.writeHead(302, { location: '/' }).end()
  },

  '/refresh': async (req, res) => {
    const session = sessionOf(req)
    if (session === undefined || !('sub' in session)) throw new Error('nobody is signed in')
    const tokens = await client.refreshTokenGrant(config, session.refreshToken ?? '')
    session.accessToken = tokens.access_token
    session.refreshToken = tokens.refresh_token ?? session.refreshToken
    res.writeHead(302, { location: '/' }).end()
  },

  '/logout': async (req, res) => {
    const session = sessionOf(req)
    const idToken = session !== undefined && 'sub' in session ? session.idToken : ''
    end(req)
    const parameters = { id_token_hint: idToken, post_logout_redirect_uri: `${BASE_URL}/` }
    res.writeHead(302, { location: client.buildEndSessionUrl(config, parameters).href }).end()
  },
}

function idOf(req: IncomingMessage): string {
  return /(?:^|; )openid_client=([\w-]+)/.exec(req.headers.cookie ?? '')?.[1] ?? ''
}

function sessionOf(req: IncomingMessage): Session | undefined {
  return sessions.get(idOf(req))
}

/** A new id at each step, against session fixation. */
function begin(res: ServerResponse, session: Session): void {
  const id = randomUUID()
  sessions.set(id, session)
  const secure = BASE_URL.startsWith('https:') ? '; Secure' : ''
  res.setHeader('set-cookie', `openid_client=${id}; HttpOnly; SameSite=Lax; Path=/${secure}`)
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
    // An OAuth error (RFC 6749 §5.2) is the cause; its description is for whoever sets the application up.
    answer(res, 400, { error: message, cause })
  })
})
server.listen(Number(new URL(BASE_URL).port), '127.0.0.1', () => console.log(`openid-client: ${BASE_URL}`))
