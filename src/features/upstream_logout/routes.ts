/** Where a provider tells that somebody has signed out there (OIDC Back-Channel Logout 1.0 §2.5). No browser comes here. */
import Router from '@koa/router'
import type { Context } from 'koa'
import { AppError } from '../../errors.ts'
import { readForm } from '../../http/form.ts'
import type { UpstreamLogoutService } from './service.ts'

/** A token that holds an RSA signature and is encrypted to us is a quarter of it. */
const BODY_BYTES = 16 * 1024

export function createUpstreamLogoutRouter(service: Pick<UpstreamLogoutService, 'receive'>): Router {
  const router = new Router()
  router.post('/upstream/:name/backchannel-logout', async (ctx) => {
    ctx.set('Cache-Control', 'no-store')
    const form = await formOf(ctx)
    if (form === undefined) return refuse(ctx, 'the body is no form of one logout_token')
    const { ip } = ctx.state as { ip: string }
    const outcome = await service.receive(ctx.params.name ?? '', form.logout_token, ip)
    if (outcome.ok) {
      // Also when nobody was signed in: to be signed out is what was asked for (§2.7).
      ctx.body = ''
      ctx.status = 200
      return
    }
    if (outcome.code === 'refused') return refuse(ctx, 'the logout token was not accepted')
    if (outcome.code === 'absent') throw new AppError('not_found')
    const { code, retryAfter = RETRY_SECONDS } = outcome
    throw new AppError(code, { retryAfter })
  })
  return router
}

const RETRY_SECONDS = 10

async function formOf(ctx: Context) {
  try {
    return await readForm(ctx, BODY_BYTES)
  } catch (error) {
    if (error instanceof AppError && error.status < 500) return undefined
    throw error
  }
}

/** §2.8: whatever is wrong with it is a 400. */
function refuse(ctx: Context, error_description: string): void {
  ctx.status = 400
  ctx.body = { error: 'invalid_request', error_description }
}
