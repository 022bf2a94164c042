/** Where a provider tells how a check has ended (Standard Webhooks). No browser comes here. */
import Router from '@koa/router'
import type { Context } from 'koa'
import { AppError } from '../../errors.ts'
import { readText } from '../../http/form.ts'
import { PROOFING_CODES } from './errors.ts'
import type { ProofingService } from './service.ts'

/** Thirty claims, and no image. */
const BODY_BYTES = 16 * 1024

export function createProofingRouter({ receive }: Pick<ProofingService, 'receive'>): Router {
  const router = new Router()
  router.post('/proofings/:name/result', async (ctx) => {
    if (!ctx.is('application/json')) throw new AppError('unsupported_media_type')
    const body = await readText(ctx, BODY_BYTES)
    const { ip } = ctx.state as { ip: string }
    const outcome = await receive(ctx.params.name ?? '', { ...signatureOf(ctx), body }, ip)
    switch (outcome.code) {
      case 'taken':
        ctx.body = ''
        ctx.status = 200
        return
      case 'unsigned':
        // RFC 9110 §15.5.2: a 401 says by what it could have been accepted.
        ctx.set('WWW-Authenticate', 'Webhook-Signature')
        throw refused('proofing_signature', 'the signature does not fit this provider, id, time and body')
      case 'unverified':
        throw refused('proofing_unverified', 'none of the claims can be recorded, or it was verified too long ago')
      case 'malformed':
        throw new AppError('invalid_request', { detail: outcome.detail })
      case 'too_many_requests':
        throw new AppError('too_many_requests', { retryAfter: outcome.retryAfter })
      default:
        throw new AppError('not_found')
    }
  })
  return router
}

function signatureOf(ctx: Context) {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature } = ctx.headers
  return { id: String(id ?? ''), timestamp: String(timestamp ?? ''), signature: String(signature ?? '') }
}

function refused(code: keyof typeof PROOFING_CODES, detail: string): AppError<keyof typeof PROOFING_CODES> {
  return new AppError(code, { status: PROOFING_CODES[code], detail, expose: true })
}
