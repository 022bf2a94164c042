/**
 * Serves the static files of a single-page application; everything else happens in the browser (public/app.js).
 * Settings: ISSUER, CLIENT_ID, BASE_URL (this application's own origin).
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const { ISSUER = 'http://localhost:3000', CLIENT_ID = 'demo-spa', BASE_URL = 'http://localhost:4002' } = process.env
const read = (path: string) => readFileSync(new URL(path, import.meta.url))

const files: { readonly [path: string]: { type: string; body: Buffer | string } } = {
  '/': { type: 'text/html', body: read('public/index.html') },
  '/callback.html': { type: 'text/html', body: read('public/callback.html') },
  '/app.js': { type: 'text/javascript', body: read('public/app.js') },
  '/callback.js': { type: 'text/javascript', body: read('public/callback.js') },
  '/user_manager.js': { type: 'text/javascript', body: read('public/user_manager.js') },
  '/oidc-client-ts.js': {
    type: 'text/javascript',
    body: read('../../node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js'),
  },
  '/style.css': { type: 'text/css', body: read('../style.css') },
  '/config.json': { type: 'application/json', body: JSON.stringify({ authority: ISSUER, client_id: CLIENT_ID }) },
}

const headers = {
  'cache-control': 'no-cache',
  // Scripts of this origin only: tokens live in this page, so nothing foreign may run in it or receive from it.
  'content-security-policy': `default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ${ISSUER}; base-uri 'none'; frame-ancestors 'none'`,
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

const server = createServer((req, res) => {
  const file = req.method === 'GET' ? files[new URL(req.url ?? '/', BASE_URL).pathname] : undefined
  res.writeHead(file ? 200 : 404, { ...headers, 'content-type': `${file?.type ?? 'text/plain'}; charset=utf-8` })
  res.end(file?.body ?? 'There is no such file.\n')
})
server.listen(Number(new URL(BASE_URL).port), '127.0.0.1', () => process.stdout.write(`spa example: ${BASE_URL}\n`))
