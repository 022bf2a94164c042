import { join } from 'node:path'
import { afterEach, describe, expect, it } from '@jest/globals'
import Router from '@koa/router'
import coBody from 'co-body'
import type { Middleware } from 'koa'
import { AppError } from '../../src/errors.ts'
import { createErrorHandler, createOAuthErrorPage } from '../../src/http/error_handler.ts'
import { createPages } from '../../src/http/page.ts'
import { createSecurityHeaders } from '../../src/http/security_headers.ts'
import { createViews } from '../../src/platform/views.ts'
import { type KoaServer, serveKoa } from '../support/koa_server.ts'

const views = createViews({ viewsDir: join(process.cwd(), 'views') })
const pages = createPages({ views })

let server: KoaServer | undefined
afterEach(() => server?.close())

interface Line {
  readonly level: string
  readonly facts: Record<string, unknown>
}

interface Setup {
  readonly lines?: Line[]
  readonly path?: string
  readonly init?: RequestInit
  readonly locale?: string
  readonly handlerPages?: typeof pages
}

const html = { Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }

async function answer(
  work: Middleware,
  { lines = [], path = '/', init = {}, locale = 'en', handlerPages = pages }: Setup = {},
) {
  const log = (level: string) => (facts: object) => lines.push({ level, facts: facts as Record<string, unknown> })
  server = await serveKoa(
    async (ctx, next) => {
      Object.assign(ctx.state, { requestId: 'req-1', locale })
      await next()
    },
    createSecurityHeaders({ issuer: 'https://id.example' }),
    createErrorHandler({
      pages: handlerPages,
      logger: { error: log('error'), warn: log('warn') },
      unavailable: (error) => ['ECONNREFUSED', '25006'].includes((error as { code?: string }).code ?? ''),
      readOnly: (error) => (error as { code?: string }).code === '25006',
    }),
    work,
  )
  return fetch(server.origin + path, { redirect: 'manual', ...init })
}

const fail = (error: unknown): Middleware => {
  return async () => {
    throw error
  }
}

describe('error handler', () => {
  it('gives programs problem details (RFC 9457 §3.1)', async () => {
    const response = await answer(fail(new AppError('already_exists', { detail: 'client_id is taken' })))
    expect(response.status).toBe(409)
    expect(response.headers.get('Content-Type')).toMatch(/^application\/problem\+json/)
    expect(response.headers.get('Cache-Control')).toBe('no-store')
    expect(await response.json()).toEqual({
      type: 'urn:genkan:error:already_exists',
      title: 'Conflict',
      status: 409,
      detail: 'client_id is taken',
      code: 'already_exists',
      request_id: 'req-1',
    })
  })

  it('gives people a page in their language, with the request id', async () => {
    const response = await answer(fail(new AppError('forbidden')), { init: { headers: html }, locale: 'fi' })
    expect(response.status).toBe(403)
    expect(response.headers.get('Content-Security-Policy')).toContain("script-src 'nonce-")
    const body = await response.text()
    expect(body).toContain(views.t('fi', 'error.forbidden'))
    expect(body).toContain('<code>req-1</code>')
  })

  it('A107: an unknown failure shows nothing of itself, and is found in the log', async () => {
    const lines: Line[] = []
    const error = new Error('password=hunter2 at /srv/genkan/db.ts')
    for (const headers of [html, { Accept: 'application/json' }]) {
      const response = await answer(fail(error), { lines, init: { headers } })
      expect(response.status).toBe(500)
      const body = await response.text()
      expect(body).not.toMatch(/hunter2|\/srv\//)
      expect(body).toContain('req-1')
      await server?.close()
    }
    expect(lines.map(({ level, facts }) => [level, facts.err, facts.requestId])).toEqual([
      ['error', error, 'req-1'],
      ['error', error, 'req-1'],
    ])
  })

  it('hides the detail of our own faults', async () => {
    const response = await answer(fail(new AppError('internal_error', { detail: 'table accounts is broken' })))
    expect(await response.json()).not.toHaveProperty('detail')
  })

  it.each([
    new AppError('temporarily_unavailable'),
    Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }),
    new Error('the engine says so', { cause: Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }) }),
  ])('I4: %s is a 503 with Retry-After and a way to try again', async (error) => {
    const lines: Line[] = []
    const response = await answer(fail(error), { lines, path: '/auth?client_id=demo&x=%22', init: { headers: html } })
    expect(response.status).toBe(503)
    expect(response.headers.get('Retry-After')).toBe('5')
    expect(await response.text()).toContain('href="/auth?client_id=demo&amp;x=%22"')
    expect(lines.map(({ level }) => level)).toEqual(['warn'])
  })

  it('says that only changes are refused where that is so', async () => {
    const error = Object.assign(new Error('cannot execute INSERT'), { code: '25006' })
    const response = await answer(fail(error), { init: { headers: html } })
    expect([response.status, response.headers.get('Retry-After')]).toEqual([503, '5'])
    expect(await response.text()).toContain(views.t('en', 'error.read_only'))
  })

  it('tells programs when to come back, also where the engine has answered by itself', async () => {
    const engine: Middleware = (ctx) => {
      ctx.status = 503
      ctx.body = { error: 'temporarily_unavailable' }
    }
    const response = await answer(engine)
    expect([response.status, response.headers.get('Retry-After')]).toEqual([503, '5'])
    expect(await response.json()).toEqual({ error: 'temporarily_unavailable' })
  })

  it('offers no link that would repeat a form, and none to another host', async () => {
    const posted = await answer(fail(new AppError('temporarily_unavailable')), {
      init: { method: 'POST', headers: html },
    })
    expect(await posted.text()).not.toContain(views.t('en', 'common.try_again'))
    await server?.close()
    const foreign = await answer(fail(new AppError('temporarily_unavailable')), {
      path: '//evil.example/x',
      init: { headers: html },
    })
    expect(await foreign.text()).toContain('href="/evil.example/x"')
  })

  it('says how long a limit lasts', async () => {
    const response = await answer(fail(new AppError('too_many_requests', { retryAfter: 30 })), {
      init: { headers: html },
    })
    expect(response.status).toBe(429)
    expect(response.headers.get('Retry-After')).toBe('30')
    expect(await response.text()).toContain('30 seconds')
  })

  it('takes the text of a code without one from its status', async () => {
    const response = await answer(fail(new AppError<string>('odd_code', { status: 418 })), { init: { headers: html } })
    expect(response.status).toBe(418)
    expect(await response.text()).toContain(views.t('en', 'error.invalid_request'))
  })

  it('answers unmatched routes and methods', async () => {
    const router = new Router().get('/here', (ctx) => {
      ctx.body = 'here'
    })
    const routes: Middleware = (ctx, next) =>
      router.routes()(ctx as never, () => router.allowedMethods()(ctx as never, next))
    const missing = await answer(routes, { path: '/nowhere', init: { headers: html } })
    expect(missing.status).toBe(404)
    expect(await missing.text()).toContain(views.t('en', 'error.not_found'))
    await server?.close()
    const method = await answer(routes, { path: '/here', init: { method: 'DELETE' } })
    expect(method.status).toBe(405)
    expect(method.headers.get('Allow')).toBe('HEAD, GET')
    expect(await method.json()).toMatchObject({ code: 'method_not_allowed' })
    await server?.close()
    expect(await (await answer(routes, { path: '/here' })).text()).toBe('here')
  })

  it('answers HEAD without a body', async () => {
    const response = await answer(fail(new AppError('not_found')), { init: { method: 'HEAD', headers: html } })
    expect(response.status).toBe(404)
    expect(await response.text()).toBe('')
  })

  it.each<[string, RequestInit, number, string]>([
    ['a body over the limit', { body: 'a='.padEnd(4096, 'x') }, 413, 'payload_too_large'],
    ['broken JSON', { body: '{"a"', headers: { 'Content-Type': 'application/json' } }, 400, 'invalid_request'],
    [
      'an unknown charset',
      { body: '{}', headers: { 'Content-Type': 'application/json', 'Content-Encoding': 'x-odd' } },
      415,
      'unsupported_media_type',
    ],
  ])('A103: maps %s to 4xx', async (_name, init, status, code) => {
    const lines: Line[] = []
    const parse: Middleware = async (ctx) => {
      ctx.body = await coBody(ctx.req, { limit: '1kb' })
    }
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded', ...(init.headers as object) }
    const response = await answer(parse, { lines, init: { method: 'POST', ...init, headers } })
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([status, code])
    expect(lines).toEqual([])
  })

  it('A103: maps broken percent encodings to 400, and thrown oddities to 500', async () => {
    expect((await answer(async () => void decodeURIComponent('%ff'))).status).toBe(400)
    for (const odd of [null, undefined, 'text', 7, { status: 200 }, { status: 503 }, Object.create(null)]) {
      await server?.close()
      expect((await answer(fail(odd))).status).toBe(500)
    }
  })

  it('drops headers that belonged to the answer that failed', async () => {
    const response = await answer(async (ctx) => {
      ctx.set({ Location: 'https://evil.example', ETag: '"x"', 'Content-Encoding': 'br' })
      throw new AppError('invalid_request')
    })
    expect(response.status).toBe(400)
    for (const name of ['Location', 'ETag', 'Content-Encoding']) expect(response.headers.get(name)).toBeNull()
  })

  it('says the least when the page itself fails', async () => {
    const lines: Line[] = []
    const broken = {
      ...pages,
      render: () => {
        throw new Error('template broken')
      },
    }
    const response = await answer(fail(new AppError('not_found')), {
      lines,
      init: { headers: html },
      handlerPages: broken,
    })
    expect(response.status).toBe(500)
    expect(await response.json()).toMatchObject({ code: 'internal_error', request_id: 'req-1' })
    expect(lines).toHaveLength(1)
  })
})

describe('protocol error page', () => {
  const page = createOAuthErrorPage({ pages, unavailable: (error) => error === 'gone' })
  const client = { name: 'Demo <Web>', clientUri: 'https://demo.example/' }

  const shown = async (
    out: { error: string; error_description?: string },
    error: unknown = new Error(),
    by: object = client,
    status = 400,
  ) => {
    await server?.close()
    const response = await answer(async (ctx) => {
      ctx.status = status
      await page(ctx, out, error, by as typeof client)
    })
    return { response, body: await response.text() }
  }

  it('names the OAuth code, the detail for the makers and the request id (RFC 6749 §4.1.2.1)', async () => {
    const { response, body } = await shown({
      error: 'invalid_redirect_uri',
      error_description: '<i>not registered</i>',
    })
    expect(response.status).toBe(400)
    expect(response.headers.get('Location')).toBeNull()
    expect(body).toContain('<code>invalid_redirect_uri</code>')
    expect(body).toContain('&lt;i&gt;not registered&lt;/i&gt;')
    expect(body).toContain('<code>req-1</code>')
    expect(body).toContain(views.t('en', 'oauth_error.invalid_redirect_uri'))
  })

  it('leads back to the client by its registered addresses only', async () => {
    expect((await shown({ error: 'invalid_scope' })).body).toContain('href="https://demo.example/"')
    const login = { ...client, initiateLoginUri: 'https://demo.example/login' }
    expect((await shown({ error: 'invalid_scope' }, undefined, login)).body).toContain(
      'href="https://demo.example/login"',
    )
    for (const clientUri of ['javascript:alert(1)', 'com.example.app:/x', 'nonsense', undefined]) {
      expect((await shown({ error: 'invalid_scope' }, undefined, { name: 'Demo', clientUri })).body).not.toMatch(
        /class="button/,
      )
    }
  })

  it('has a text for every code, known or not', async () => {
    expect((await shown({ error: 'never_heard_of' })).body).toContain(views.t('en', 'oauth_error.other'))
  })

  it('shows no detail of our own faults, and 404 as a page not found', async () => {
    const fault = await shown({ error: 'server_error', error_description: 'oops' }, new Error(), client, 500)
    expect(fault.response.status).toBe(500)
    expect(fault.body).not.toContain('oops')
    const missing = await shown(
      { error: 'invalid_request', error_description: 'unrecognized route /call +358 40' },
      new Error(),
      {},
      404,
    )
    expect(missing.response.status).toBe(404)
    expect(missing.body).not.toContain('+358')
  })

  it.each([
    ['gone', 500],
    [new AppError('temporarily_unavailable'), 500],
    [new Error('the engine says so'), 503],
  ])('I4: says 503, Retry-After and a way to try again when a store is away (%s)', async (error, status) => {
    const { response, body } = await shown({ error: 'server_error' }, error, client, status)
    expect(response.status).toBe(503)
    expect(response.headers.get('Retry-After')).toBe('5')
    expect(body).toContain(views.t('en', 'common.try_again'))
  })
})
