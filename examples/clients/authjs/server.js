/**
 * Auth.js, by its core, behind Node's own http server; in Next.js, SvelteKit and the like the same `config` goes to their package.
 * Settings: ISSUER, CLIENT_ID, CLIENT_SECRET, BASE_URL (this application's own origin), AUTH_SECRET.
 */
import { createServer } from 'node:http'
import { Auth } from '@auth/core'

const { ISSUER = '', CLIENT_ID = '', CLIENT_SECRET = '', BASE_URL = '', AUTH_SECRET = '' } = process.env

const config = {
  basePath: '/auth',
  secret: AUTH_SECRET,
  trustHost: true,
  providers: [
    {
      id: 'genkan',
      name: 'Genkan',
      type: 'oidc',
      issuer: ISSUER,
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      checks: ['pkce', 'state', 'nonce'],
      // Profile and address are at userinfo (OpenID Connect Core §5.4); left alone, Auth.js looks into the ID token only.
      idToken: false,
      authorization: { params: { scope: 'openid profile email' } },
    },
  ],
  callbacks: {
    session: ({ session, token }) => ({ ...session, sub: token.sub }),
    jwt: ({ token, profile }) => ({ ...token, sub: profile?.sub ?? token.sub ?? '' }),
  },
}

async function answer(req, res) {
  const url = new URL(req.url ?? '/', BASE_URL)
  const headers = new Headers(Object.entries(req.headers).map(([name, value]) => [name, String(value)]))
  if (url.pathname === '/') {
    const response = await Auth(new Request(new URL('/auth/session', BASE_URL), { headers }), config)
    const session = await response.json()
    res.writeHead(session?.sub === undefined ? 401 : 200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(session?.sub === undefined ? { signed_in: false, start: '/auth/signin' } : session))
    return
  }
  const parts = []
  for await (const part of req) parts.push(part)
  const { method = 'GET' } = req
  const body = method === 'POST' ? { body: Buffer.concat(parts) } : {}
  const response = await Auth(new Request(url, { method, headers, ...body }), config)
  const cookies = response.headers.getSetCookie()
  const others = [...response.headers].filter(([name]) => name !== 'set-cookie')
  res.writeHead(response.status, {
    ...Object.fromEntries(others),
    ...(cookies.length > 0 ? { 'set-cookie': cookies } : {}),
  })
  res.end(Buffer.from(await response.arrayBuffer()))
}

const server = createServer((req, res) => {
  answer(req, res).catch((error) => res.writeHead(500).end(String(error)))
})
server.listen(Number(new URL(BASE_URL).port), '127.0.0.1', () => console.log(`Auth.js: ${BASE_URL}`))
