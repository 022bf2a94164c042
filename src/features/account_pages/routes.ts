/** The account pages: who is there, is the form good, act, say so. Every act ends with a 303 to a page (PRG). */
import Router from '@koa/router'
import type { Context } from 'koa'
import { AppError } from '../../errors.ts'
import type { Languages } from '../../http/language.ts'
import type { ClientView } from '../../interaction/step.ts'
import { agoIn, countryIn, dayIn, directionOf } from '../../platform/locales.ts'
import { type AccountArea, requestOf } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import { OWN_CLAIMS } from '../accounts/types.ts'
import { ACCOUNT_PAGES_CODES } from './errors.ts'
import { deleteSchema, emailCodeSchema, emailSchema, languageSchema, passwordSchema, profileSchema } from './schema.ts'
import type { AccountActs } from './service.ts'

const STATUS: { readonly [code: string]: number } = ACCOUNT_PAGES_CODES

export interface AccountPagesRouteDeps {
  readonly acts: AccountActs
  readonly area: AccountArea
  readonly pages: {
    render(ctx: Context, template: string, context: { readonly [name: string]: unknown }, status?: number): void
  }
  readonly clock: { now(): Date }
  readonly languages: Pick<Languages, 'choose' | 'back'>
  readonly passwordMinLength: number
  /** Days after which a right that an agent does not use is taken back. */
  readonly agentIdleDays: number
}

type Routes = (router: Router, deps: AccountPagesRouteDeps, area: AccountArea) => void

export function createAccountRouter(deps: AccountPagesRouteDeps): Router {
  const router = new Router()
  const { area } = deps
  // The pages of this room by their bare names.
  const own: AccountArea = {
    ...area,
    show: (ctx, me, page, context, status) => area.show(ctx, me, `account_pages/${page}`, context, status),
    fail: (ctx, me, page, failed, context) =>
      area.fail(ctx, me, `account_pages/${page}`, { status: STATUS[failed.code], ...failed }, context),
  }
  for (const add of [overview, profile, password, email, sessions, clients, language, deletion]) {
    add(router, deps, own)
  }
  return router
}

const overview: Routes = (router, { acts }, { gate, show, form, redirect, idleSeconds }) => {
  // Asked by the script of a page whose session is nearly over: the request itself is what prolongs it.
  router.post('/account/stay', async (ctx) => {
    await form(ctx)
    if ((await gate.enter(ctx, '/account')) !== undefined) ctx.body = { seconds: idleSeconds }
  })
  router.get('/', (ctx) => redirect(ctx, '/account'))
  // A Well-Known URL for Changing Passwords (W3C).
  router.get('/.well-known/change-password', (ctx) => {
    ctx.redirect('/account/password')
  })
  router.get('/account', async (ctx) => {
    const me = await gate.enter(ctx, '/account')
    if (me === undefined) return
    const [live, connected, hasPassword, approvalCount] = await Promise.all([
      acts.sessions(me.accountId),
      acts.clients(me.accountId),
      acts.hasPassword(me),
      acts.openApprovals(me.accountId),
    ])
    show(ctx, me, 'overview', { sessionCount: live.length, clientCount: connected.length, hasPassword, approvalCount })
  })
}

const profile: Routes = (router, { acts, clock }, { gate, show, fail, done, form, parse }) => {
  router.get('/account/profile', async (ctx) => {
    const me = await gate.enter(ctx, '/account/profile')
    if (me !== undefined) show(ctx, me, 'profile', { values: profileValues(await acts.profile(me.accountId)) })
  })
  router.post('/account/profile', async (ctx) => {
    const fields = await form(ctx)
    const me = await gate.enter(ctx, '/account/profile')
    if (me === undefined) return
    const { data, field } = parse(profileSchema(clock.now().toISOString().slice(0, 10)), fields)
    if (data === undefined) {
      return fail(ctx, me, 'profile', { code: 'profile_invalid', field }, { values: profileValues(fields) })
    }
    await acts.saveProfile(me, data)
    done(ctx, '/account/profile', 'profile_saved')
  })
}

const password: Routes = (router, { acts, passwordMinLength }, { gate, show, fail, done, form, need }) => {
  const values = async (me: SignedIn) => ({ minLength: passwordMinLength, hasPassword: await acts.hasPassword(me) })
  router.get('/account/password', async (ctx) => {
    const me = await gate.enterFresh(ctx, '/account/password')
    if (me === undefined) return
    await acts.refuseInRealm(me)
    show(ctx, me, 'password', { ...(await values(me)), others: true })
  })
  router.post('/account/password', async (ctx) => {
    const fields = need(passwordSchema, await form(ctx))
    const me = await gate.enterFresh(ctx, '/account/password')
    if (me === undefined) return
    await acts.refuseInRealm(me)
    const others = fields.others === 'yes'
    const first = !(await acts.hasPassword(me))
    const act = first
      ? await acts.setPassword(me, fields.password, requestOf(ctx).locale)
      : await acts.changePassword(me, { ...fields, others }, requestOf(ctx))
    if (!act.ok) return fail(ctx, me, 'password', act, { ...(await values(me)), others: others || first })
    done(ctx, '/account', first ? 'password_set' : 'password_changed')
  })
}

const email: Routes = (router, { acts }, { gate, show, fail, done, form, need, redirect }) => {
  const CODE = '/account/email/code'
  router.get('/account/email', async (ctx) => {
    const me = await gate.enterFresh(ctx, '/account/email')
    if (me === undefined) return
    await acts.refuseInRealm(me)
    show(ctx, me, 'email', { value: '', pending: (await acts.pendingEmail(me)) ?? '' })
  })
  router.post('/account/email', async (ctx) => {
    const fields = need(emailSchema, await form(ctx))
    const me = await gate.enterFresh(ctx, '/account/email')
    if (me === undefined) return
    await acts.refuseInRealm(me)
    const act = await acts.startEmailChange(me, fields.email, requestOf(ctx))
    if (!act.ok) return fail(ctx, me, 'email', act, { value: fields.email, pending: '' })
    redirect(ctx, CODE)
  })
  router.get(CODE, async (ctx) => {
    const me = await gate.enter(ctx, CODE)
    if (me === undefined) return
    const to = await acts.pendingEmail(me)
    if (to === undefined) return redirect(ctx, '/account/email')
    show(ctx, me, 'email_code', { to, resendIn: await acts.resendIn(me, to) })
  })
  router.post(CODE, async (ctx) => {
    const { action, code } = need(emailCodeSchema, await form(ctx))
    const me = await gate.enter(ctx, CODE)
    if (me === undefined) return
    if (action === 'cancel') {
      await acts.cancelEmailChange(me)
      return redirect(ctx, '/account/email')
    }
    await acts.refuseInRealm(me)
    const sender = requestOf(ctx)
    const act =
      action === 'resend' ? await acts.resendEmailCode(me, sender) : await acts.confirmEmailChange(me, code, sender)
    if (act.ok) return action === 'resend' ? done(ctx, CODE, 'code_sent') : done(ctx, '/account', 'email_changed')
    const to = await acts.pendingEmail(me)
    if (to === undefined) return fail(ctx, me, 'email', act, { value: '', pending: '' })
    fail(ctx, me, 'email_code', act, { to, resendIn: await acts.resendIn(me, to) })
  })
}

const sessions: Routes = (router, { acts, clock }, { gate, show, done, form, redirect }) => {
  router.get('/account/sessions', async (ctx) => {
    const me = await gate.enter(ctx, '/account/sessions')
    if (me === undefined) return
    const { locale } = requestOf(ctx)
    const ago = (then: Date) => agoIn(locale, then, clock.now())
    const rows = (await acts.sessions(me.accountId)).map((session) => ({
      ...{ uid: session.uid, device: session.device, ip: session.ip ?? '', transient: session.transient },
      country: session.country === undefined ? '' : countryIn(locale, session.country),
      ...{ methods: session.methods, clients: session.clients },
      ...{ isThis: session.uid === me.sessionUid, since: ago(session.createdAt), seen: ago(session.seenAt) },
    }))
    show(ctx, me, 'sessions', { sessions: rows.sort((a, b) => Number(b.isThis) - Number(a.isThis)) })
  })
  router.get('/account/sessions/others', async (ctx) => {
    const me = await gate.enterFresh(ctx, '/account/sessions/others')
    if (me !== undefined) show(ctx, me, 'sessions_others', {})
  })
  router.post('/account/sessions/others', async (ctx) => {
    await form(ctx)
    const me = await gate.enterFresh(ctx, '/account/sessions/others')
    if (me === undefined) return
    await acts.endOthers(me)
    done(ctx, '/account/sessions', 'others_ended')
  })
  router.post('/account/sessions/:uid/end', async (ctx) => {
    await form(ctx)
    const me = await gate.enter(ctx, '/account/sessions')
    if (me === undefined) return
    const uid = ctx.params.uid ?? ''
    if (uid === me.sessionUid) return redirect(ctx, '/account/sessions')
    if (!(await acts.endSession(me, uid))) throw new AppError('not_found')
    done(ctx, '/account/sessions', 'session_ended')
  })
}

const clients: Routes = (router, { acts, clock, agentIdleDays }, { gate, show, done, form }) => {
  router.get('/account/clients', async (ctx) => {
    const me = await gate.enter(ctx, '/account/clients')
    if (me === undefined) return
    const { locale } = requestOf(ctx)
    const rows = (await acts.clients(me.accountId)).map((row) => ({
      ...row,
      since: dayIn(locale, row.since),
      details: row.details.map(({ text, locale: language, grantedAt, expiresAt }) => ({
        ...{ text, language, direction: directionOf(language), day: dayIn(locale, grantedAt) },
        until: expiresAt === undefined ? '' : dayIn(locale, expiresAt),
      })),
      used: row.usedAt === undefined ? '' : agoIn(locale, row.usedAt, clock.now()),
      until: row.client.agent?.expiresAt === undefined ? '' : dayIn(locale, new Date(row.client.agent.expiresAt)),
      action: `/account/clients/${encodeURIComponent(row.client.clientId)}/revoke`,
    }))
    const isAgent = ({ client }: { client: ClientView }) => client.agent !== undefined
    show(ctx, me, 'clients', {
      ...{ agents: rows.filter(isAgent), clients: rows.filter((row) => !isAgent(row)), idleDays: agentIdleDays },
    })
  })
  router.post('/account/clients/:clientId/revoke', async (ctx) => {
    await form(ctx)
    const me = await gate.enter(ctx, '/account/clients')
    if (me === undefined) return
    if (!(await acts.revokeClient(me, ctx.params.clientId ?? ''))) throw new AppError('not_found')
    done(ctx, '/account/clients', 'client_revoked')
  })
}

const language: Routes = (router, { acts, languages }, { gate, show, done, form, need }) => {
  router.get('/account/language', async (ctx) => {
    const me = await gate.enter(ctx, '/account/language')
    if (me !== undefined) show(ctx, me, 'language', {})
  })
  router.post('/account/language', async (ctx) => {
    const { locale, return_to: returnTo } = need(languageSchema, await form(ctx))
    const me = await gate.enter(ctx, '/account/language')
    if (me === undefined) return
    await acts.saveLocale(me, languages.choose(ctx, locale))
    done(ctx, languages.back(returnTo, '/account/language'), 'language_saved')
  })
}

const deletion: Routes = (router, { acts, pages }, { gate, show, fail, form, need, redirect }) => {
  router.get('/account/delete', async (ctx) => {
    const me = await gate.enterFresh(ctx, '/account/delete')
    if (me !== undefined) show(ctx, me, 'delete', {})
  })
  router.post('/account/delete', async (ctx) => {
    const { confirmation } = need(deleteSchema, await form(ctx))
    const me = await gate.enterFresh(ctx, '/account/delete')
    if (me === undefined) return
    const act = await acts.deleteAccount(me, confirmation, requestOf(ctx).locale)
    if (!act.ok) return fail(ctx, me, 'delete', act, {})
    gate.forget(ctx)
    redirect(ctx, '/account/deleted')
  })
  router.get('/account/deleted', (ctx) => pages.render(ctx, 'account_pages/deleted', { client: undefined }))
}

function profileValues(claims: { readonly [claim: string]: unknown }): { [field: string]: string } {
  const text = (value: unknown) => (typeof value === 'string' ? value : '')
  return Object.fromEntries(OWN_CLAIMS.map((field) => [field, text(claims[field])]))
}
