import { join } from 'node:path'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createAssets } from '../../src/http/assets.ts'
import { createViews } from '../../src/platform/views.ts'
import { type KoaServer, serveKoa } from '../support/koa_server.ts'

const views = createViews({ viewsDir: join(process.cwd(), 'views') })
const text = (name: string) => views.assets.find((asset) => asset.path === views.asset(name))?.body.toString() ?? ''

let server: KoaServer
beforeAll(async () => {
  server = await serveKoa(createAssets({ assets: views.assets }))
})
afterAll(() => server.close())

const get = (path: string, encoding = 'identity', method = 'GET') =>
  fetch(server.origin + path, { method, headers: { 'Accept-Encoding': encoding } })

describe('assets over HTTP', () => {
  it.each([
    ['genkan.css', 'text/css; charset=utf-8'],
    ['genkan.js', 'text/javascript; charset=utf-8'],
    ['favicon.svg', 'image/svg+xml'],
  ])('%s is kept for ever under its hashed name', async (name, type) => {
    const response = await get(views.asset(name))
    expect(response.status).toBe(200)
    expect(response.headers.get('Content-Type')).toBe(type)
    expect(response.headers.get('Cache-Control')).toBe('public, max-age=31536000, immutable')
    expect(response.headers.get('Vary')).toBe('Accept-Encoding')
    expect(await response.text()).toBe(text(name))
  })

  it('are compressed as the browser asks', async () => {
    const { request } = await import('node:http')
    const raw = (encoding: string) =>
      new Promise<{ encoding: string | undefined; body: Buffer }>((resolve, reject) => {
        request(server.origin + views.asset('genkan.css'), { headers: { 'Accept-Encoding': encoding } }, (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('end', () =>
            resolve({ encoding: response.headers['content-encoding'], body: Buffer.concat(chunks) }),
          )
        })
          .on('error', reject)
          .end()
      })
    const brotli = await raw('gzip, deflate, br')
    expect(brotli.encoding).toBe('br')
    expect(brotliDecompressSync(brotli.body).toString()).toBe(text('genkan.css'))
    const gzip = await raw('gzip')
    expect(gzip.encoding).toBe('gzip')
    expect(gunzipSync(gzip.body).toString()).toBe(text('genkan.css'))
    expect((await raw('*;q=0')).encoding).toBeUndefined()
  })

  it('answer HEAD, and nothing else than GET', async () => {
    expect((await get(views.asset('genkan.js'), 'identity', 'HEAD')).status).toBe(200)
    expect((await get(views.asset('genkan.js'), 'identity', 'POST')).status).toBe(404)
  })

  it.each([
    '/assets/genkan.css',
    '/assets/genkan.000000000000.css',
    '/assets/../layout.njk',
    '/assets/%2e%2e/layout.njk',
    '/assets/',
  ])('%s is not there', async (path) => {
    expect((await get(path)).status).toBe(404)
  })
})

describe('the stylesheet', () => {
  const css = text('genkan.css')

  it('is small, and so is the script', () => {
    expect(css.length).toBeLessThan(20_000)
    expect(text('genkan.js').length).toBeLessThan(3_000)
  })

  it('loads nothing and knows no left or right', () => {
    expect(css).not.toMatch(/@import|url\(|expression\(/)
    const physical =
      /(?<![-\w])(left|right|top|bottom|width|height|(margin|padding|border)-(left|right|top|bottom))\s*:/g
    expect(css.match(physical)).toBeNull()
  })

  it.each([
    ['ink', 'canvas', 7],
    ['ink', 'sheet', 7],
    ['ink', 'floor', 7],
    ['muted', 'sheet', 4.5],
    ['muted', 'canvas', 4.5],
    ['muted', 'floor', 4.5],
    ['accent', 'sheet', 4.5],
    ['accent', 'wash', 4.5],
    ['accent', 'canvas', 4.5],
    ['accent-strong', 'wash', 4.5],
    ['on-accent', 'accent', 4.5],
    ['on-accent', 'accent-strong', 4.5],
    ['bad', 'sheet', 4.5],
    ['bad', 'bad-wash', 4.5],
    ['good', 'good-wash', 4.5],
    ['ink', 'good-wash', 4.5],
    ['ink', 'warn-wash', 4.5],
    ['ink', 'wash', 4.5],
    ['edge', 'sheet', 3],
  ])('has contrast of %s on %s of at least %d, light and dark (WCAG 1.4.3, 1.4.11)', (front, back, least) => {
    for (const scheme of [0, 1])
      expect(contrast(token(front, scheme), token(back, scheme))).toBeGreaterThanOrEqual(least)
  })

  function token(name: string, scheme: number): string {
    const colors = new RegExp(`--${name}: light-dark\\((#[0-9a-f]{6}), (#[0-9a-f]{6})\\)`).exec(css)
    return colors?.[scheme + 1] ?? ''
  }
})

/** WCAG 2.2 contrast ratio of two colours. */
function contrast(a: string, b: string): number {
  const [x = 0, y = 0] = [luminance(a), luminance(b)].sort((one, other) => other - one)
  return (x + 0.05) / (y + 0.05)
}

function luminance(color: string): number {
  const [r = Number.NaN, g = 0, b = 0] = [1, 3, 5]
    .map((at) => Number.parseInt(color.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}
