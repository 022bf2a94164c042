/** The account pages of the phone. Who may change it must have shown the most they have, a moment ago (A48). */
import Router from '@koa/router'
import type { Context } from 'koa'
import { dayIn } from '../../platform/locales.ts'
import { CODE_MINUTES } from '../../platform/one_time_codes.ts'
import { type AccountArea, requestOf } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import { SMS_CODES } from './errors.ts'
import { type SmsSetupForm, smsSetupForm } from './schema.ts'
import type { SmsCodeService } from './service.ts'
import { type Done, fieldOf, type Holder } from './types.ts'

export interface SmsRouteDeps {
  readonly sms: SmsCodeService
  readonly area: AccountArea
  /** Where whoever has set up a factor goes on: to their first recovery codes, when they have none. */
  readonly afterSetUp: (me: SignedIn, page: { readonly locale: string }) => Promise<string>
}

const STATUS: { readonly [code: string]: number } = SMS_CODES
const PAGE = '/account/phone'
const NEW = '/account/phone/new'

export function createSmsRouter(deps: SmsRouteDeps): Router {
  const router = new Router()
  const { sms, area } = deps
  const { gate, show, fail, done, form, need, redirect } = area

  router.get(PAGE, async (ctx) => {
    const me = await gate.enterFresh(ctx, PAGE)
    if (me === undefined) return
    const values = await shown(sms, me, requestOf(ctx).locale)
    if (values === undefined) return redirect(ctx, NEW)
    show(ctx, me, 'sms_codes/phone', values)
  })

  router.get(NEW, async (ctx) => {
    const me = await gate.enterFresh(ctx, NEW)
    if (me !== undefined) show(ctx, me, 'sms_codes/new_phone', await waiting(sms, me))
  })

  router.post(NEW, async (ctx) => {
    const fields = need(smsSetupForm, await form(ctx))
    const me = await gate.enterFresh(ctx, NEW)
    if (me === undefined) return
    const replaces = (await sms.find(me.accountId)) !== undefined
    const acted = await act(sms, ctx, me, fields)
    if (!acted.ok) {
      const failed = { ...acted, field: fieldOf(acted), status: STATUS[acted.code] }
      return fail(ctx, me, 'sms_codes/new_phone', failed, { ...(await waiting(sms, me)), value: fields.phone })
    }
    if (fields.action === 'resend') return done(ctx, NEW, 'code_sent')
    if (fields.action !== undefined) return redirect(ctx, NEW)
    done(ctx, await deps.afterSetUp(me, requestOf(ctx)), replaces ? 'phone_updated' : 'phone_added')
  })

  router.post('/account/phone/remove', async (ctx) => {
    await form(ctx)
    const me = await gate.enterFresh(ctx, PAGE)
    if (me === undefined) return
    const removed = await sms.remove(me.account, { page: requestOf(ctx), sessionUid: me.sessionUid })
    const values = removed === 'last_factor' ? await shown(sms, me, requestOf(ctx).locale) : undefined
    if (values === undefined) return done(ctx, '/account/security', 'phone_removed')
    fail(ctx, me, 'sms_codes/phone', { code: 'last_factor', status: STATUS.last_factor }, values)
  })
  return router
}

function act(sms: SmsCodeService, ctx: Context, me: SignedIn, { action, code, phone }: SmsSetupForm): Promise<Done> {
  const [holder, request] = [holderOf(me), requestOf(ctx)]
  switch (action) {
    case 'send':
      return sms.propose(holder, phone, request)
    case 'resend':
      return sms.resendPending(holder, request)
    case 'change':
      return sms.forget(holder).then(() => ({ ok: true }))
    default:
      return sms.confirm(holder, me.account, code, { page: request, sessionUid: me.sessionUid })
  }
}

async function waiting(sms: SmsCodeService, me: SignedIn) {
  const replaces = (await sms.find(me.accountId)) !== undefined
  return { number: '', value: '', resendIn: 0, minutes: CODE_MINUTES, replaces, ...(await sms.pending(holderOf(me))) }
}

async function shown(sms: Pick<SmsCodeService, 'find'>, { accountId }: SignedIn, locale: string) {
  const found = await sms.find(accountId)
  if (found === undefined) return undefined
  return {
    masked: found.masked,
    since: dayIn(locale, found.confirmedAt),
    used: found.usedAt === undefined ? '' : dayIn(locale, found.usedAt),
  }
}

function holderOf({ sessionUid, accountId }: SignedIn): Holder {
  return { id: sessionUid, accountId }
}
