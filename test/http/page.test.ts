import { join } from 'node:path'
import { afterEach, describe, expect, it } from '@jest/globals'
import { createPages } from '../../src/http/page.ts'
import { createSecurityHeaders } from '../../src/http/security_headers.ts'
import { createViews } from '../../src/platform/views.ts'
import { type KoaServer, serveKoa } from '../support/koa_server.ts'

const views = createViews({ viewsDir: join(process.cwd(), 'views') })
const pages = createPages({ views })

let server: KoaServer | undefined
afterEach(() => server?.close())

async function get(state: object, context: object, status?: number): Promise<Response> {
  server = await serveKoa(createSecurityHeaders({ issuer: 'https://id.example' }), async (ctx) => {
    Object.assign(ctx.state, state)
    pages.render(ctx, 'interaction/expired', { restartUrl: '/account', ...context }, status)
  })
  return fetch(server.origin)
}

describe('pages', () => {
  it('are never stored, and say their language and what they vary by', async () => {
    const response = await get({ locale: 'fi', nonce: 'abc' }, {}, 400)
    expect(response.status).toBe(400)
    expect(response.headers.get('Content-Type')).toBe('text/html; charset=utf-8')
    expect(response.headers.get('Cache-Control')).toBe('no-store')
    expect(response.headers.get('Content-Language')).toBe('fi')
    expect(response.headers.get('Vary')).toBe('Accept-Language, Cookie')
    expect(await response.text()).toContain('<html lang="fi"')
  })

  it('carry the nonce of their own policy', async () => {
    const response = await get({ nonce: 'r4nd0m+/==' }, {})
    expect(response.headers.get('Content-Security-Policy')).toContain("script-src 'nonce-r4nd0m+/=='")
    expect(await response.text()).toContain('nonce="r4nd0m+/=="')
  })

  it('render when the request was never described, with a nonce that nobody can guess', async () => {
    const first = await get({}, {})
    const nonce = /'nonce-([\w-]{22})'/.exec(first.headers.get('Content-Security-Policy') ?? '')?.[1]
    expect(nonce).toBeDefined()
    expect(await first.text()).toContain(`nonce="${nonce}"`)
    await server?.close()
    const second = await get({}, {})
    expect(second.headers.get('Content-Security-Policy')).not.toContain(`${nonce}`)
  })

  it('may show the logo of their client and no other picture', async () => {
    const response = await get({}, { client: { name: 'Demo', logoUri: 'https://cdn.example:8443/a/logo.png?x=1' } })
    expect(response.headers.get('Content-Security-Policy')).toContain("img-src 'self' data: https://cdn.example:8443;")
  })

  it.each(["x'; script-src *", 'javascript:alert(1)', 'data:text/html,x', 'https://a.example; script-src *', 7])(
    'A97: a logo of %j adds nothing to the policy',
    async (logoUri) => {
      const response = await get({}, { client: { name: 'Demo', logoUri } })
      expect(response.headers.get('Content-Security-Policy')).toContain("img-src 'self' data:;")
      expect(response.headers.get('Content-Security-Policy')?.match(/script-src/g)).toHaveLength(1)
    },
  )

  it('give texts by key in the language of the request', () => {
    expect(pages.has('error.not_found')).toBe(true)
    expect(pages.has('error.no_such')).toBe(false)
    expect(pages.text({ state: { locale: 'fi' } } as never, 'common.email')).toBe('Sähköposti')
    expect(pages.text({ state: {} } as never, 'common.email')).toBe('E-mail')
  })
})
