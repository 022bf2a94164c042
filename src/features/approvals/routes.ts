/** The pages on which people answer what clients ask of them, and the hook of the conformance suite. */
import Router from '@koa/router'
import { z } from 'zod'
import { AppError } from '../../errors.ts'
import { agoIn } from '../../platform/locales.ts'
import { type AccountArea, requestOf } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import type { ApprovalService } from './service.ts'
import type { By } from './types.ts'

export interface ApprovalRouteDeps {
  readonly approvals: Pick<ApprovalService, 'list' | 'find' | 'decide'>
  readonly area: AccountArea
  /** How a sign-in was made (RFC 8176). */
  readonly amrOf: (sessionUid: string) => Promise<readonly string[]>
  readonly clock: { now(): Date }
}

const PAGE = '/account/approvals'
/** `unexpected` says no, and that somebody else is behind it. */
const answerSchema = z.object({ answer: z.enum(['allow', 'deny', 'unexpected']) })

export function createApprovalRouter({ approvals, area, amrOf, clock }: ApprovalRouteDeps): Router {
  const { gate, show, done, form, need, fail } = area
  const router = new Router()
  const byOf = async ({ accountId, sessionUid, acr, authTime }: SignedIn): Promise<By> => ({
    accountId,
    proof: { sessionUid, acr, amr: await amrOf(sessionUid), authTime: Math.floor(authTime.getTime() / 1000) },
  })
  const asked = (locale: string, at: Date) => agoIn(locale, at, clock.now())

  router.get(PAGE, async (ctx) => {
    const me = await gate.enter(ctx, PAGE)
    if (me === undefined) return
    const { locale } = requestOf(ctx)
    const rows = (await approvals.list(me.accountId)).map(({ id, client, askedAt, bindingMessage = '' }) => ({
      ...{ client, asked: asked(locale, askedAt), message: bindingMessage, link: `${PAGE}/${id}` },
    }))
    show(ctx, me, 'approvals/approvals', { approvals: rows })
  })

  const page = async (me: SignedIn, id: string, locale: string) => {
    const approval = await approvals.find(me.accountId, id)
    if (approval === undefined) return undefined
    const { client, permissions, bindingMessage = '', askedAt } = approval
    return { action: `${PAGE}/${id}`, client, permissions, message: bindingMessage, asked: asked(locale, askedAt) }
  }

  router.get(`${PAGE}/:id`, async (ctx) => {
    const id = ctx.params.id ?? ''
    const me = await gate.enterFresh(ctx, `${PAGE}/${id}`)
    if (me === undefined) return
    const context = await page(me, id, requestOf(ctx).locale)
    if (context === undefined) return show(ctx, me, 'approvals/gone', {}, 404)
    ctx.state.brand = context.client.brand
    show(ctx, me, 'approvals/approval', context)
  })

  router.post(`${PAGE}/:id`, async (ctx) => {
    const id = ctx.params.id ?? ''
    const { answer } = need(answerSchema, await form(ctx))
    // Whoever finds an open browser may say no in its owner's place, but not yes.
    const enter = answer === 'allow' ? gate.enterFresh : gate.enter
    const me = await enter(ctx, `${PAGE}/${id}`)
    if (me === undefined) return
    const decision = answer === 'allow' ? 'granted' : 'denied'
    const decided = await approvals.decide(id, await byOf(me), decision, answer === 'unexpected')
    if (decided === 'done') return done(ctx, PAGE, decision === 'granted' ? 'approval_granted' : 'approval_denied')
    const context = decided === 'level' ? await page(me, id, requestOf(ctx).locale) : undefined
    if (context === undefined) return show(ctx, me, 'approvals/gone', {}, 409)
    ctx.state.brand = context.client.brand
    fail(ctx, me, 'approvals/approval', { code: 'approval_level', status: 403 }, context)
  })
  return router
}

const hookSchema = z.object({ auth_req_id: z.string().min(1).max(200), action: z.enum(['allow', 'deny']) })

/** `automated_ciba_approval_url` of the OpenID Foundation's suite: answers in the place of the person, without any. */
export function createHookRouter({ decideRequest }: Pick<ApprovalService, 'decideRequest'>): Router {
  const router = new Router()
  router.get('/conformance/ciba', async (ctx) => {
    const parsed = hookSchema.safeParse({ ...ctx.query })
    if (!parsed.success) throw new AppError('invalid_request')
    const { auth_req_id: id, action } = parsed.data
    const decided = await decideRequest(id, action === 'allow' ? 'granted' : 'denied')
    if (decided !== 'done') throw new AppError('not_found')
    ctx.set('Cache-Control', 'no-store')
    ctx.status = 204
  })
  return router
}
