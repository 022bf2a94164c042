/**
 * The account area: what the rooms that put pages under /account have in common. Owns the frame of these pages and the
 * cookie that carries the word about the last act to the next page. Who is there is the gate's to say (account_sign_in).
 */
import type { Context } from 'koa'
import { AppError } from '../../errors.ts'
import { readForm } from '../../http/form.ts'
import { type AccountArea, DONE_CODES, signalsOf } from './types.ts'

export interface AccountAreaDeps {
  readonly issuer: string
  readonly gate: AccountArea['gate']
  readonly pages: {
    render(ctx: Context, template: string, context: { readonly [name: string]: unknown }, status?: number): void
  }
  readonly csrf: { check(ctx: Context, token: string | undefined): void }
  /** A session is over after so many seconds without a request. */
  readonly idleSeconds: number
}

/** Acts after which the passkeys of the account go by another name. */
const RENAMING: readonly string[] = ['profile_saved', 'email_changed']

const COOKIE = { httpOnly: true, sameSite: 'lax', signed: false, path: '/', overwrite: true } as const

/** What every page under /account does alike: the frame, the word about the last act, forms that only our own pages send. */
export function createAccountArea({ issuer, gate, pages, csrf, idleSeconds }: AccountAreaDeps): AccountArea {
  const secure = issuer.startsWith('https:')
  const doneCookie = secure ? '__Host-genkan_done' : 'genkan_done'

  const show: AccountArea['show'] = (ctx, me, template, context, status = 200) => {
    const code = ctx.cookies.get(doneCookie, { signed: false })
    if (code !== undefined) ctx.cookies.set(doneCookie, null, { ...COOKIE, secure })
    const { email, name: fullName = '' } = me.account
    const frame = {
      account: { email, name: fullName },
      ...(RENAMING.includes(code ?? '') && { signals: signalsOf(issuer, me) }),
      done: DONE_CODES.find((known) => known === code) ?? '',
      current: template.split('/').at(-1) ?? '',
      limit: { seconds: idleSeconds, stay: '/account/stay' },
    }
    pages.render(ctx, template, { error: undefined, ...frame, ...context }, status)
  }

  function redirect(ctx: Context, url: string): void {
    ctx.set('Cache-Control', 'no-store')
    ctx.redirect(url)
    ctx.status = 303
  }

  return {
    gate,
    idleSeconds,
    show,
    redirect,
    fail(ctx, me, template, { code, field, retryAfter, status = retryAfter === undefined ? 400 : 429 }, context) {
      if (retryAfter !== undefined) ctx.set('Retry-After', String(retryAfter))
      show(ctx, me, template, { ...context, error: { code, field, retryAfter } }, status)
    },
    done(ctx, url, code) {
      ctx.cookies.set(doneCookie, code, { ...COOKIE, secure })
      redirect(ctx, url)
    },
    async form(ctx) {
      const fields = await readForm(ctx)
      csrf.check(ctx, fields.csrf)
      return fields
    },
    parse(schema, fields) {
      const result = schema.safeParse(fields)
      return result.success ? { data: result.data } : { field: String(result.error.issues[0]?.path[0] ?? '') }
    },
    need(schema, fields) {
      const result = schema.safeParse(fields)
      if (!result.success) throw new AppError('invalid_request')
      return result.data
    },
  }
}
