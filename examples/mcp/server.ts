/**
 * An MCP server that Genkan protects: it says where tokens for it come from (RFC 9728), believes JWT access tokens that are
 * meant for it alone (RFC 8707, RFC 9068), and asks for more scope only when a tool needs it (RFC 6750 §3.1).
 * Settings: ISSUER, BASE_URL (of this server; its resource identifier is BASE_URL/mcp).
 */
import { createServer } from 'node:http'
import { toNodeHandler } from '@modelcontextprotocol/node'
import {
  type AuthInfo,
  createMcpHandler,
  getOAuthProtectedResourceMetadataUrl,
  McpServer,
  OAuthError,
  OAuthErrorCode,
  type OAuthMetadata,
  oauthMetadataResponse,
  requireBearerAuth,
  requireScopes,
} from '@modelcontextprotocol/server'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { z } from 'zod'

const { ISSUER = 'http://localhost:3000', BASE_URL = 'http://localhost:4004' } = process.env
const RESOURCE = new URL('/mcp', BASE_URL)

const metadata = (await (await fetch(`${ISSUER}/.well-known/oauth-authorization-server`)).json()) as OAuthMetadata & {
  jwks_uri: string
}
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri))
const orders = [{ id: 1, item: 'A pair of indoor slippers' }]

/** RFC 9068 §4: an access token of this issuer, for this server. Anything else is no token here. */
async function verifyAccessToken(token: string): Promise<AuthInfo> {
  try {
    const { payload } = await jwtVerify(token, keys, {
      typ: 'at+jwt',
      issuer: ISSUER,
      audience: RESOURCE.href,
      algorithms: ['ES256', 'EdDSA', 'RS256'],
      requiredClaims: ['exp', 'sub', 'client_id'],
    })
    return {
      token,
      clientId: String(payload.client_id),
      scopes: String(payload.scope ?? '').split(' '),
      expiresAt: payload.exp ?? 0,
      resource: RESOURCE,
      extra: { sub: payload.sub, act: payload.act },
    }
  } catch (cause) {
    throw Object.assign(new OAuthError(OAuthErrorCode.InvalidToken, 'not a token for this server'), { cause })
  }
}

/** Made anew for each request: nothing is kept between two. */
function createTools(): McpServer {
  const server = new McpServer({ name: 'orders', version: '1.0.0' })
  const text = (value: unknown) => ({ content: [{ type: 'text' as const, text: JSON.stringify(value) }] })
  server.registerTool('list_orders', { description: 'The orders of whoever signed in.' }, () => text(orders))
  server.registerTool(
    'place_order',
    {
      description: 'Orders something for whoever signed in.',
      inputSchema: z.object({ item: z.string().min(1).max(100) }),
      // An agent that only reads never asks a person for more than reading.
      scopeChallenge: requireScopes('orders:write'),
    },
    ({ item }) => text(orders[orders.push({ id: orders.length + 1, item }) - 1]),
  )
  return server
}

const described = {
  oauthMetadata: metadata,
  resourceServerUrl: RESOURCE,
  resourceName: 'Orders',
  scopesSupported: ['orders:read'],
  dangerouslyAllowInsecureIssuerUrl: ISSUER.startsWith('http://localhost'),
}
const gate = requireBearerAuth({
  verifier: { verifyAccessToken },
  expectedResource: RESOURCE,
  requiredScopes: ['orders:read'],
  resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(RESOURCE),
})
const mcp = createMcpHandler(createTools)

const handler = toNodeHandler({
  async fetch(request: Request): Promise<Response> {
    const document = oauthMetadataResponse(request, described)
    if (document !== undefined) return document
    if (new URL(request.url).pathname !== RESOURCE.pathname) return new Response('not found\n', { status: 404 })
    const who = await gate(request)
    return who instanceof Response ? who : mcp.fetch(request, { authInfo: who })
  },
})

const { port } = new URL(BASE_URL)
// The library's words for a request leave out that Node's may be without a method.
type Incoming = Parameters<typeof handler>[0]
createServer((req, res) => void handler(req as Incoming, res)).listen(Number(port), '127.0.0.1')
