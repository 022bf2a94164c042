/** The account pages of the authenticator app. Who may change it must have shown the most they have, a moment ago (A48). */
import Router from '@koa/router'
import { dayIn } from '../../platform/locales.ts'
import { type AccountArea, requestOf } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import { TOTP_CODES } from './errors.ts'
import { totpForm } from './schema.ts'
import type { TotpService } from './service.ts'

export interface TotpRouteDeps {
  readonly totp: TotpService
  readonly area: AccountArea
  readonly issuerName: () => Promise<string>
  /** Where whoever has set up a factor goes on: to their first recovery codes, when they have none. */
  readonly afterSetUp: (me: SignedIn, page: { readonly locale: string }) => Promise<string>
}

const STATUS: { readonly [code: string]: number } = TOTP_CODES
const PAGE = '/account/totp'
const NEW = '/account/totp/new'

export function createTotpRouter({ totp, area, issuerName, afterSetUp }: TotpRouteDeps): Router {
  const router = new Router()
  const { gate, show, fail, done, form, need, redirect } = area
  const pending = async (me: SignedIn) =>
    totp.pending(holderOf(me), { issuer: await issuerName(), label: me.account.email })

  router.get(PAGE, async (ctx) => {
    const me = await gate.enterFresh(ctx, PAGE)
    if (me === undefined) return
    const values = await shown(totp, me, requestOf(ctx).locale)
    if (values === undefined) return redirect(ctx, NEW)
    show(ctx, me, 'totp/app', values)
  })

  router.get(NEW, async (ctx) => {
    const me = await gate.enterFresh(ctx, NEW)
    if (me === undefined) return
    show(ctx, me, 'totp/new_app', { ...(await pending(me)), replaces: (await totp.find(me.accountId)) !== undefined })
  })

  router.post(NEW, async (ctx) => {
    const { code } = need(totpForm, await form(ctx))
    const me = await gate.enterFresh(ctx, NEW)
    if (me === undefined) return
    const replaces = (await totp.find(me.accountId)) !== undefined
    const change = { page: requestOf(ctx), sessionUid: me.sessionUid }
    const checked = await totp.confirm(holderOf(me), me.account, code, change)
    if (checked.ok) return done(ctx, await afterSetUp(me, requestOf(ctx)), replaces ? 'totp_updated' : 'totp_added')
    const field = checked.code === 'too_many_requests' ? undefined : 'code'
    fail(ctx, me, 'totp/new_app', { ...checked, field }, { ...(await pending(me)), replaces })
  })

  router.post('/account/totp/remove', async (ctx) => {
    await form(ctx)
    const me = await gate.enterFresh(ctx, PAGE)
    if (me === undefined) return
    const removed = await totp.remove(me.account, { page: requestOf(ctx), sessionUid: me.sessionUid })
    const values = removed === 'last_factor' ? await shown(totp, me, requestOf(ctx).locale) : undefined
    if (values === undefined) return done(ctx, '/account/security', 'totp_removed')
    fail(ctx, me, 'totp/app', { code: 'last_factor', status: STATUS.last_factor }, values)
  })
  return router
}

async function shown(totp: Pick<TotpService, 'find'>, { accountId }: SignedIn, locale: string) {
  const found = await totp.find(accountId)
  if (found === undefined) return undefined
  return {
    since: dayIn(locale, found.confirmedAt),
    used: found.usedAt === undefined ? '' : dayIn(locale, found.usedAt),
  }
}

function holderOf({ sessionUid, accountId }: SignedIn) {
  return { id: sessionUid, accountId }
}
