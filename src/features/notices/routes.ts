/** The pages behind the links of notices: one that asks, one that says what was done. A GET changes nothing (A30). */
import Router from '@koa/router'
import type { Context } from 'koa'
import { readForm } from '../../http/form.ts'
import { NOTICE_CODES } from './errors.ts'
import { purposeSchema, tokenSchema } from './schema.ts'
import type { NoticeService } from './service.ts'
import type { LinkPurpose } from './types.ts'

export interface NoticeRouteDeps {
  readonly notices: Pick<NoticeService, 'isLive' | 'use'>
  readonly csrf: { check(ctx: Context, token: string | undefined): void }
  readonly pages: {
    render(ctx: Context, template: string, context: { readonly [name: string]: unknown }, status?: number): void
  }
  /** Where a new password is chosen; undefined where people cannot choose one by themselves. */
  readonly recoverPath: string | undefined
  /** The path at which people sign in when no client leads them there. */
  readonly home: string
}

export function createNoticeRouter({ notices, csrf, pages, recoverPath, home }: NoticeRouteDeps): Router {
  const router = new Router()
  const gone = (ctx: Context) =>
    pages.render(ctx, 'notices/gone', { client: undefined, signInUrl: home }, NOTICE_CODES.notice_link_gone)
  const purposeOf = (ctx: Context): LinkPurpose | undefined => purposeSchema.safeParse(ctx.params.purpose).data

  router.get('/notices/:purpose', async (ctx) => {
    const purpose = purposeOf(ctx)
    const token = tokenSchema.safeParse(ctx.query.token).data
    if (purpose === undefined || token === undefined || !(await notices.isLive(token, purpose))) return gone(ctx)
    pages.render(ctx, 'notices/link', { purpose, token, client: undefined })
  })

  router.post('/notices/:purpose', async (ctx) => {
    const form = await readForm(ctx)
    csrf.check(ctx, form.csrf)
    const purpose = purposeOf(ctx)
    const token = tokenSchema.safeParse(form.token).data
    if (purpose === undefined || token === undefined) return gone(ctx)
    const used = await notices.use(token, purpose, { locale: (ctx.state as { locale: string }).locale })
    if (!used.ok && used.code === 'notice_link_gone') return gone(ctx)
    if (!used.ok) {
      const context = { purpose, token, error: { code: used.code }, client: undefined }
      return pages.render(ctx, 'notices/link', context, NOTICE_CODES[used.code])
    }
    ctx.set('Cache-Control', 'no-store')
    ctx.redirect(`/notices/${purpose}/done`)
    ctx.status = 303
  })

  router.get('/notices/:purpose/done', (ctx) => {
    const purpose = purposeOf(ctx)
    if (purpose === undefined) return gone(ctx)
    const recoverUrl = purpose === 'keep_factors' ? undefined : recoverPath
    pages.render(ctx, 'notices/done', { purpose, recoverUrl, client: undefined })
  })
  return router
}
