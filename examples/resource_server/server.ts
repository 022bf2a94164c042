/**
 * A resource server: an API that trusts the issuer's JWT access tokens and asks nobody else.
 * Settings: ISSUER, AUDIENCE (this API's resource identifier, RFC 8707), BASE_URL.
 */
import { createServer } from 'node:http'
import { createRemoteJWKSet } from 'jose'
import { createAuthorizer, Refused } from './access_token.ts'

const {
  ISSUER = 'http://localhost:3000',
  AUDIENCE = 'https://api.demo.example',
  BASE_URL = 'http://localhost:4003',
} = process.env

const PAYING = { acrs: ['urn:genkan:acr:mfa', 'phr'], maxAge: 300 }
const orders = [{ id: 1, item: 'A pair of indoor slippers' }]

/** Keys are fetched at the first token and again when an unknown key id appears: key rotation needs no restart. */
const authorize = createAuthorizer({
  issuer: ISSUER,
  audience: AUDIENCE,
  keys: createRemoteJWKSet(new URL(await jwksUri())),
})

const server = createServer(async (req, res) => {
  const answer = (status: number, body: unknown, headers: { readonly [name: string]: string } = {}) =>
    res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(`${JSON.stringify(body)}\n`)
  try {
    const route = `${req.method} ${new URL(req.url ?? '/', BASE_URL).pathname}`
    if (route === 'GET /orders') {
      await authorize(req.headers.authorization, 'orders:read')
      answer(200, { orders })
    } else if (route === 'POST /orders') {
      const { clientId } = await authorize(req.headers.authorization, 'orders:write')
      orders.push({ id: orders.length + 1, item: `Something for ${clientId}` })
      answer(201, orders.at(-1))
    } else if (route === 'POST /payments') {
      // Money moves: whoever has an access token must have shown a second factor a moment ago.
      const { sub, acr } = await authorize(req.headers.authorization, 'orders:pay', PAYING)
      answer(201, { payer: sub, amount: '49.00 EUR', acr })
    } else {
      answer(404, { error: 'not_found' })
    }
  } catch (error) {
    if (error instanceof Refused)
      answer(error.status, { error: error.message }, { 'www-authenticate': error.challenge })
    else answer(503, { error: 'temporarily_unavailable' })
  }
})
server.listen(Number(new URL(BASE_URL).port), '127.0.0.1', () => process.stdout.write(`resource server: ${BASE_URL}\n`))

/** RFC 8414 §3.3: metadata that names another issuer is not the issuer's. */
async function jwksUri(): Promise<string> {
  const answer = await fetch(`${ISSUER}/.well-known/openid-configuration`)
  const metadata = (await answer.json()) as { issuer?: string; jwks_uri?: string }
  if (metadata.issuer !== ISSUER || metadata.jwks_uri === undefined) throw new Error(`${ISSUER} is not the issuer`)
  return metadata.jwks_uri
}
