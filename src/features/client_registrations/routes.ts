/** Where clients register and manage themselves (RFC 7591 §3, RFC 7592 §2). No browser comes here, and none may read it. */
import Router from '@koa/router'
import type { Context, Middleware } from 'koa'
import { AppError } from '../../errors.ts'
import { readText } from '../../http/form.ts'
import { networkOf } from '../../platform/client_network.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import { RegistrationError } from './errors.ts'
import type { Information } from './rules.ts'
import type { RegistrationService } from './service.ts'

const BODY_BYTES = 64 * 1024
const WINDOW_SECONDS = 600
const DESCRIPTION_CHARACTERS = 500

export interface RegistrationRoutes {
  readonly service: Pick<RegistrationService, 'register' | 'read' | 'replace' | 'remove'>
  readonly kv: Pick<KeyValue, 'hit'>
  /** In ten minutes. */
  readonly perAddress: number
}

export function createRegistrationRouter({ service, kv, perAddress }: RegistrationRoutes): Router {
  const router = new Router()
  const limit = limited(kv, perAddress)
  router.post('/reg', limit, answering, async (ctx) => {
    tell(ctx, 201, await service.register(bearer(ctx), () => readJson(ctx)))
  })
  router.get('/reg/:clientId', limit, answering, async (ctx) => {
    tell(ctx, 200, await service.read(ctx.params.clientId ?? '', bearer(ctx)))
  })
  router.put('/reg/:clientId', limit, answering, async (ctx) => {
    tell(ctx, 200, await service.replace(ctx.params.clientId ?? '', bearer(ctx), () => readJson(ctx)))
  })
  router.delete('/reg/:clientId', limit, answering, async (ctx) => {
    await service.remove(ctx.params.clientId ?? '', bearer(ctx))
    ctx.status = 204
  })
  return router
}

/** Counted before a token is looked at: none can be guessed, and nobody is kept busy by trying. */
function limited(kv: Pick<KeyValue, 'hit'>, limit: number): Middleware {
  return async (ctx, next) => {
    const { ip } = ctx.state as { ip: string }
    const key = `{client_registrations}:${networkOf(ip)}`
    const { allowed, retryAfter } = await kv.hit([{ key, limit, windowSeconds: WINDOW_SECONDS }])
    if (!allowed) throw new AppError('too_many_requests', { retryAfter })
    return next()
  }
}

/** RFC 7591 §3.2, RFC 6750 §3: errors as clients read them; nothing is ever stored by a cache. */
const answering: Middleware = async (ctx, next) => {
  ctx.set('Cache-Control', 'no-store')
  try {
    await next()
  } catch (error) {
    if (!(error instanceof RegistrationError)) throw error
    const described = plain(error.message)
    ctx.status = error.status
    ctx.body = { error: error.code, error_description: described }
    if (error.status === 401) {
      // RFC 6750 §3.1: whoever showed nothing is told nothing.
      const reason = bearer(ctx) === undefined ? '' : ` error="invalid_token", error_description="${described}"`
      ctx.set('WWW-Authenticate', `Bearer${reason}`)
    }
  }
}

function tell(ctx: Context, status: number, information: Information): void {
  ctx.status = status
  ctx.body = information
}

async function readJson(ctx: Context): Promise<string> {
  if (!ctx.is('application/json')) throw new AppError('unsupported_media_type')
  return readText(ctx, BODY_BYTES)
}

function bearer(ctx: Context): string | undefined {
  return /^Bearer +([\w.~+/-]{1,200}=*)$/i.exec(ctx.get('Authorization'))?.[1]
}

/** RFC 6749 §5.2: characters that a description may have. It repeats what a client sent. */
function plain(text: string): string {
  return text
    .replaceAll('"', "'")
    .replace(/[^\x20-\x7E]|\\/g, '?')
    .slice(0, DESCRIPTION_CHARACTERS)
}
