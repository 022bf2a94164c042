/**
 * A second, independent OpenID provider in a process of its own: oidc-provider, with a page to sign in on, and switches that
 * make it lie, stumble or change its keys. `node fake_upstream_process.ts <port> <clients as JSON>`.
 */
import { createHmac, createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt, SignJWT } from 'jose'
import { type ClientMetadata, type JWK, type KoaContextWithOIDC, Provider } from 'oidc-provider'
import type { FakeKey, FakeState, Fault } from './fake_upstream.ts'

const port = Number(process.argv[2])
const clients = JSON.parse(process.argv[3] ?? '[]') as ClientMetadata[]
const issuer = `http://127.0.0.1:${port}`

const newKey = (kid: string = randomUUID()) => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return { kid, privateKey }
}
const first = newKey()
const foreign = newKey()
let key = first
const jwkOf = ({ kid, privateKey }: { kid: string; privateKey: KeyObject }) =>
  ({ ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' }) as JWK
const publicOf = ({ kty, n, e, kid, alg, use }: JWK) => ({ kty, n, e, kid, alg, use })

const AT_FIRST: FakeState = { account: 'somebody', claims: {} }
let state: FakeState = AT_FIRST
let requests: { path: string; method: string; body?: unknown; authorization?: string | undefined }[] = []

const provider = new Provider(issuer, {
  clients,
  jwks: { keys: [jwkOf(first)] },
  cookies: { keys: ['fake'] },
  conformIdTokenClaims: false,
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'given_name', 'family_name'] },
  scopes: ['openid', 'email', 'profile', 'name', 'offline_access'],
  acrValues: ['level:one', 'level:two'],
  pkce: { required: () => true },
  subjectTypes: ['public', 'pairwise'],
  pairwiseIdentifier: (_, account, client) => createHmac('sha256', client.clientId).update(account).digest('hex'),
  enabledJWA: { requestObjectSigningAlgValues: ['RS256', 'ES256', 'PS256'] },
  features: {
    devInteractions: { enabled: false },
    pushedAuthorizationRequests: { enabled: true },
    requestObjects: { enabled: true },
    encryption: { enabled: true },
    backchannelLogout: { enabled: true },
    userinfo: { enabled: true },
  },
  interactions: { url: (_, { uid }) => `/interaction/${uid}` },
  findAccount: (_, id) => ({ accountId: id, claims: async () => ({ ...state.claims, sub: id }) }),
  loadExistingGrant: async ({ oidc }) => {
    const grant = new provider.Grant({
      clientId: oidc.client?.clientId ?? '',
      accountId: oidc.session?.accountId ?? '',
    })
    grant.addOIDCScope('openid email profile name offline_access')
    await grant.save()
    return grant
  },
})

provider.use(async (ctx: KoaContextWithOIDC, next) => {
  await next()
  if (ctx.path === '/.well-known/openid-configuration') ctx.body = patched(ctx.body, state.metadata)
  if (ctx.path === '/jwks') ctx.body = { keys: [publicOf(jwkOf(key))] }
  if (ctx.path === '/me') ctx.body = patched(ctx.body, { ...state.claims, ...state.userinfo })
  const seen = requests.at(-1)
  if (ctx.oidc?.body !== undefined && seen?.path === ctx.path) seen.body = { ...ctx.oidc.body }
  if (ctx.path === '/token') ctx.body = await tokenAnswer(ctx.body)
  if (typeof ctx.body === 'string' && ctx.body.includes('<form') && state.user !== undefined) {
    const value = state.user.replaceAll('&', '&amp;').replaceAll('"', '&quot;')
    ctx.body = ctx.body.replace('</form>', `<input type="hidden" name="user" value="${value}"/></form>`)
  }
})

/** Members of `patch` over those of the body; null takes one away. */
function patched(body: unknown, patch: { readonly [name: string]: unknown } = {}) {
  const members = Object.entries({ ...(body as object), ...patch })
  return Object.fromEntries(members.filter(([name, value]) => value !== null || patch[name] === undefined))
}

async function tokenAnswer(body: unknown): Promise<unknown> {
  const answer = body as { readonly id_token?: unknown }
  const forged = state.idToken ?? {}
  if (typeof answer.id_token !== 'string' || answer.id_token.split('.').length !== 3) return answer
  const without = forged.without ?? []
  const amr = state.amr === undefined ? {} : { amr: state.amr }
  const claims = { ...decodeJwt(answer.id_token), ...amr, ...state.claims, ...forged.claims }
  const kept = Object.entries(claims).filter(([name]) => !without.includes(name))
  const idToken = await signed(Object.fromEntries(kept), forged.key ?? 'own', forged.header)
  return { ...answer, ...state.tokens, id_token: idToken }
}

async function signed(claims: object, by: FakeKey, header: object = {}): Promise<string> {
  const text = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  if (by === 'none') return `${text({ alg: 'none', ...header })}.${text(claims)}.`
  if (by === 'secret') {
    const input = `${text({ alg: 'HS256', ...header })}.${text(claims)}`
    return `${input}.${createHmac('sha256', clients[0]?.client_secret ?? '')
      .update(input)
      .digest('base64url')}`
  }
  const signer = { own: key, foreign, unknown: foreign }[by]
  const kid = { own: key.kid, foreign: key.kid, unknown: 'unknown' }[by]
  const jwt = new SignJWT({ ...claims }).setProtectedHeader({ alg: 'RS256', kid, ...header })
  return jwt.sign(createPrivateKey(signer.privateKey.export({ type: 'pkcs8', format: 'pem' })))
}

const answers = provider.callback()

createServer((request, response) => {
  handle(request, response).catch(() => response.destroy())
}).listen(port, '127.0.0.1', () => process.stdout.write('ready\n'))

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname: path } = new URL(request.url ?? '/', issuer)
  if (path === '/control') return control(request, response)
  const { method = '', headers } = request
  requests.push({ path, method, authorization: headers.authorization })
  const fault = state.faults?.[path]
  if (fault !== undefined && !(await stumbled(fault, response))) return
  if (path.startsWith('/interaction/')) return interaction(request, response)
  await answers(request, response)
}

async function control(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'POST') {
    const { rotate, reset, ...change } = (await json(request)) as Partial<FakeState> & { rotate?: true; reset?: true }
    if (reset === true) requests = []
    if (rotate === true) key = newKey()
    state = { ...(reset === true ? AT_FIRST : state), ...change }
  }
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ requests, key: jwkOf(key), foreignKey: jwkOf(foreign) }))
}

/** Whether the request goes on after it. */
async function stumbled({ status, delayMs, location, bytes, body }: Fault, response: ServerResponse): Promise<boolean> {
  if (delayMs !== undefined) await sleep(delayMs)
  if (location !== undefined) response.writeHead(302, { location }).end()
  else if (bytes !== undefined) response.writeHead(200, { 'content-type': 'application/json' }).end('['.repeat(bytes))
  else if (body !== undefined) {
    response.writeHead(status ?? 200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  } else if (status !== undefined) response.writeHead(status).end('no')
  else return true
  return false
}

/** The page to sign in on; or nobody is asked, when told so. */
async function interaction(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { searchParams, pathname } = new URL(request.url ?? '/', issuer)
  const choice = searchParams.get('choice') ?? state.automatic
  if (choice === null || choice === undefined) {
    const button = (value: string) => `<button name="choice" value="${value}">${value}</button>`
    response.writeHead(200, { 'content-type': 'text/html' })
    response.end(
      `<!doctype html><title>Fake provider</title><h1>Sign in at the fake provider</h1><form action="${pathname}">
      ${button('continue')} ${button('access_denied')}</form>`,
    )
    return
  }
  const { account: accountId, acr } = state
  const login = { accountId, remember: false, ...(acr ? { acr } : {}) }
  const result = choice === 'continue' ? { login } : { error: choice, error_description: '<b>theirs</b>' }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false })
}
