/**
 * A relying party with redirect login: authorization code + PKCE, userinfo, RP-initiated and back-channel logout.
 * Settings: ISSUER, CLIENT_ID, CLIENT_SECRET, BASE_URL (this application's own origin), RESOURCE_SERVER (takes payments).
 */
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRemoteJWKSet } from 'jose'
import * as client from 'openid-client'
import { createLogoutTokenVerifier } from './logout_token.ts'
import { paidPage, problemPage, signedInPage, userinfoPage, welcomePage } from './pages.ts'
import { type Attempt, createSessions, type Session } from './sessions.ts'
import { stepUpOf } from './step_up.ts'

const {
  ISSUER = 'http://localhost:3000',
  CLIENT_ID = 'demo-web',
  CLIENT_SECRET = '',
  BASE_URL = 'http://localhost:4001',
  RESOURCE_SERVER = 'http://localhost:4003',
} = process.env
/** One more trip for a token that the payment service takes. */
const PAYMENT = { scope: 'openid orders:pay', resource: 'https://api.demo.example' }
const COOKIE = 'demo_web_session'
const stylesheet = readFileSync(new URL('../style.css', import.meta.url))
const sessions = createSessions()

/** What the provider can do and where: its discovery document, read at the first use and again after a failure. */
const provider = once(async () => {
  const config = await client.discovery(
    new URL(ISSUER),
    CLIENT_ID,
    undefined,
    client.ClientSecretBasic(CLIENT_SECRET),
    {
      // The demo's issuer is http on this machine; with a real https issuer this is the line to delete.
      execute: ISSUER.startsWith('http:') ? [client.allowInsecureRequests] : [],
    },
  )
  client.enableNonRepudiationChecks(config) // verifies the ID token's signature, too
  const { issuer, jwks_uri = '' } = config.serverMetadata()
  const keys = createRemoteJWKSet(new URL(jwks_uri))
  return { config, verifyLogoutToken: createLogoutTokenVerifier({ issuer, clientId: CLIENT_ID, keys }) }
})

const routes: {
  readonly [route: string]: (req: IncomingMessage, res: ServerResponse, url: URL) => Promise<void> | void
} = {
  'GET /': (req, res) => {
    const signedIn = currentSession(req)?.signedIn
    sendPage(res, 200, signedIn === undefined ? welcomePage() : signedInPage(signedIn))
  },

  'GET /login': (req, res) => leave(res, currentSession(req) ?? sessions.create(), { scope: 'openid profile email' }),

  // An act at another service that wants to know how strongly, and how recently, the person signed in.
  'POST /pay': async (req, res) => {
    const session = currentSession(req)
    if (session?.signedIn === undefined) return redirect(res, new URL('/login', BASE_URL))
    if (req.headers.origin !== BASE_URL) return sendPage(res, 403, problemPage('Pay from this site, please.'))
    if (session.paymentToken === undefined) return leave(res, session, PAYMENT, { steppedUp: false })
    return pay(res, session, session.paymentToken, { steppedUp: false })
  },

  'GET /callback': async (req, res, url) => {
    const session = currentSession(req)
    const state = url.searchParams.get('state') ?? ''
    const attempt = session?.attempts.get(state)
    // An answer that this browser never asked for signs nobody in (login CSRF).
    if (session === undefined || attempt === undefined) {
      sendPage(res, 400, problemPage('This sign-in was not started here, or it was finished already.'))
      return
    }
    session.attempts.delete(state)
    const { config } = await provider()
    const tokens = await client.authorizationCodeGrant(config, url, {
      expectedState: state,
      expectedNonce: attempt.nonce,
      pkceCodeVerifier: attempt.codeVerifier,
      idTokenExpected: true,
    })
    const claims = tokens.claims()
    if (claims === undefined) throw new Error('no ID token')
    if (attempt.payment !== undefined) {
      // Whoever came back must be who is signed in here: nobody pays with another person's second factor.
      if (claims.sub !== session.signedIn?.claims.sub) throw new Error('another person signed in')
      session.paymentToken = tokens.access_token
      return pay(res, session, tokens.access_token, attempt.payment)
    }
    sessions.end(session)
    const signedIn = { claims, idToken: tokens.id_token ?? '', accessToken: tokens.access_token }
    redirect(res, new URL('/', BASE_URL), sessions.create(signedIn))
  },

  'GET /userinfo': async (req, res) => {
    const signedIn = currentSession(req)?.signedIn
    if (signedIn === undefined) return redirect(res, new URL('/login', BASE_URL))
    const { config } = await provider()
    sendPage(res, 200, userinfoPage(await client.fetchUserInfo(config, signedIn.accessToken, signedIn.claims.sub)))
  },

  'POST /logout': async (req, res) => {
    const session = currentSession(req)
    if (session?.signedIn === undefined) return redirect(res, new URL('/', BASE_URL))
    if (req.headers.origin !== BASE_URL) return sendPage(res, 403, problemPage('Sign out from this site, please.'))
    const { config } = await provider()
    sessions.end(session)
    const destination = client.buildEndSessionUrl(config, {
      id_token_hint: session.signedIn.idToken,
      post_logout_redirect_uri: `${BASE_URL}/`,
    })
    redirect(res, destination)
  },

  'POST /backchannel-logout': async (req, res) => {
    res.setHeader('cache-control', 'no-store')
    try {
      const { verifyLogoutToken } = await provider()
      sessions.endBy(await verifyLogoutToken((await readForm(req)).get('logout_token') ?? ''))
      res.writeHead(200).end()
    } catch (error) {
      const body = { error: 'invalid_request', error_description: (error as Error).message }
      res.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }
  },

  'GET /style.css': (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/css' }).end(stylesheet)
  },
}

const server = createServer(async (req, res) => {
  const url = new URL(req.url ?? '/', BASE_URL)
  try {
    const route = routes[`${req.method} ${url.pathname}`]
    if (route === undefined) sendPage(res, 404, problemPage('There is no such page.'))
    else await route(req, res, url)
  } catch (error) {
    if (res.headersSent) return void res.destroy()
    sendPage(res, 502, problemPage(explain(error)))
  }
})
server.listen(Number(new URL(BASE_URL).port), '127.0.0.1', () => process.stdout.write(`web example: ${BASE_URL}\n`))

/** Sends the browser to the provider, with what this trip asks for. */
async function leave(
  res: ServerResponse,
  session: Session,
  asked: { readonly [parameter: string]: string },
  payment?: Attempt['payment'],
): Promise<void> {
  const { config } = await provider()
  const [state, nonce, codeVerifier] = [client.randomState(), client.randomNonce(), client.randomPKCECodeVerifier()]
  session.attempts.set(state, { nonce, codeVerifier, payment })
  const destination = client.buildAuthorizationUrl(config, {
    redirect_uri: `${BASE_URL}/callback`,
    code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...asked,
  })
  redirect(res, destination, session)
}

/**
 * Pays. The payment service may answer that the sign-in behind the token is not enough: then the person is asked for just
 * that and comes back here (RFC 9470 §4). Once: a second refusal is an answer.
 */
async function pay(res: ServerResponse, session: Session, token: string, { steppedUp }: { steppedUp: boolean }) {
  const headers = { authorization: `Bearer ${token}` }
  const answer = await fetch(`${RESOURCE_SERVER}/payments`, { method: 'POST', headers })
  if (answer.ok) return sendPage(res, 200, paidPage(await answer.json()))
  const missing = answer.status === 401 ? stepUpOf(answer.headers.get('www-authenticate')) : undefined
  delete session.paymentToken
  if (missing !== undefined && !steppedUp) return leave(res, session, { ...PAYMENT, ...missing }, { steppedUp: true })
  sendPage(
    res,
    502,
    problemPage(`The payment service refused: ${answer.headers.get('www-authenticate') ?? answer.status}`),
  )
}

function explain(error: unknown): string {
  if (error instanceof client.AuthorizationResponseError) {
    if (error.error === 'access_denied') return 'You did not allow this application to sign you in.'
    if (error.error === 'unmet_authentication_requirements') return 'This needs a second factor, which was not shown.'
    return `The provider answered ${error.error}: ${error.error_description ?? 'no description'}`
  }
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
  return `The provider could not be asked: ${(error as Error).message}`
}

function currentSession(req: IncomingMessage): Session | undefined {
  const cookies = (req.headers.cookie ?? '').split('; ')
  return sessions.find(cookies.find((cookie) => cookie.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1))
}

function redirect(res: ServerResponse, to: URL, session?: Session): void {
  const secure = BASE_URL.startsWith('https:') ? '; Secure' : ''
  if (session) res.setHeader('set-cookie', `${COOKIE}=${session.id}; Path=/; HttpOnly; SameSite=Lax${secure}`)
  res.writeHead(303, { location: to.href, 'cache-control': 'no-store' }).end()
}

function sendPage(res: ServerResponse, status: number, body: string): void {
  res.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    'referrer-policy': 'same-origin', // with no-referrer, browsers would send "Origin: null" with the sign-out form
  })
  res.end(body)
}

async function readForm(req: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > 16_384) throw new Error('too long')
    chunks.push(chunk)
  }
  return new URLSearchParams(Buffer.concat(chunks).toString())
}

/** Runs `work` at the first call and keeps its result; a failure is not kept. */
function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined
  return () => {
    result ??= work().catch((error) => {
      result = undefined
      throw error
    })
    return result
  }
}
