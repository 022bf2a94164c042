import { afterEach, describe, expect, it } from '@jest/globals'
import { createSecurityHeaders, pagePolicy } from '../../src/http/security_headers.ts'
import { type KoaServer, serveKoa } from '../support/koa_server.ts'

let server: KoaServer | undefined
afterEach(() => server?.close())

async function headers(issuer: string, status = 200): Promise<Headers> {
  server = await serveKoa(createSecurityHeaders({ issuer }), async (ctx) => {
    ctx.status = status
    ctx.body = { keys: [] }
  })
  return (await fetch(server.origin)).headers
}

describe('security headers (A99)', () => {
  it.each([200, 303, 400, 404, 500])('are on an answer of %i', async (status) => {
    const found = await headers('https://id.example', status)
    expect(found.get('Strict-Transport-Security')).toBe('max-age=31536000; includeSubDomains')
    expect(found.get('X-Content-Type-Options')).toBe('nosniff')
    expect(found.get('X-Frame-Options')).toBe('DENY')
    expect(found.get('Referrer-Policy')).toBe('no-referrer')
    expect(found.get('Cross-Origin-Opener-Policy')).toBe('same-origin')
    expect(found.get('Permissions-Policy')).toContain('camera=()')
    expect(found.get('Content-Security-Policy')).toContain("default-src 'none'")
    expect(found.get('Content-Security-Policy')).toContain("frame-ancestors 'none'")
    expect(found.get('Content-Security-Policy')).toContain("base-uri 'none'")
    expect(found.get('Server')).toBeNull()
    expect(found.get('X-Powered-By')).toBeNull()
  })

  it('promise https only where the issuer is https (RFC 6797 §7.2)', async () => {
    expect((await headers('http://localhost:3000')).get('Strict-Transport-Security')).toBeNull()
  })

  it('keep a script-src directive on protocol answers, to which the engine adds the hash of its own script', async () => {
    const policy = (await headers('https://id.example')).get('Content-Security-Policy') ?? ''
    expect(policy).toMatch(/script-src 'report-sample'(;|$)/)
    expect(policy).not.toMatch(/unsafe|\*|https?:/)
  })
})

describe('pagePolicy', () => {
  it('lets only the script with the nonce of the page run', () => {
    expect(pagePolicy('n')).toBe(
      "default-src 'none'; script-src 'nonce-n'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
        "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    )
  })

  it('lets a widget bring scripts, frames and requests of its vendor, by our script only', () => {
    const frame = ['https://a.example', 'https://*.b.example']
    const policy = pagePolicy('n', [], { frame, connect: ['https://c.example'], style: ['https://d.example'] })
    expect(policy.split('; ')).toEqual([
      "default-src 'none'",
      "script-src 'nonce-n' 'strict-dynamic'",
      "style-src 'self' https://d.example",
      "img-src 'self' data:",
      "font-src 'self'",
      "connect-src 'self' https://c.example",
      'frame-src https://a.example https://*.b.example',
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ])
  })

  it('has no form-action, which would block the redirect to the client after a sign-in', () => {
    expect(pagePolicy('n', ['https://cdn.example'])).not.toContain('form-action')
  })
})
