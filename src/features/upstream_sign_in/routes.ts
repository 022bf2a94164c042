/**
 * The callback of each provider, and the account page that lists identities and what was verified, connects one, takes one away,
 * and sends people to whoever verifies them. The callback may be reached by another site's POST, without our cookies: it decides
 * nothing.
 */
import Router from '@koa/router'
import type { Context } from 'koa'
import { AppError } from '../../errors.ts'
import { readForm } from '../../http/form.ts'
import { agoIn, dayIn } from '../../platform/locales.ts'
import { type AccountArea, requestOf } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import type { Identifications } from '../identifications/types.ts'
import type { Identities } from '../identities/types.ts'
import type { Proofings } from '../proofings/types.ts'
import type { LiveUpstream } from '../upstreams/types.ts'
import { UPSTREAM_SIGN_IN_CODES } from './errors.ts'
import { upstreamForm } from './schema.ts'
import type { UpstreamSignInService } from './service.ts'
import type { UpstreamStepDeps } from './step.ts'
import type { Target } from './types.ts'

/** A signed SAML response with its certificates is larger than any form of ours. */
const ANSWER_BYTES = 256 * 1024

export interface CallbackDeps {
  readonly service: Pick<UpstreamSignInService, 'receive'>
  readonly upstreams: { find(name: string): Promise<LiveUpstream | undefined> }
}

/**
 * `GET` or `POST /upstream/<name>/callback`: the answer is put aside, and the browser sent to fetch it. `GET
 * /upstream/<name>/metadata`: what the provider is given to trust us.
 */
export function createCallbackRouter({ service, upstreams }: CallbackDeps): Router {
  const router = new Router()
  router.get('/upstream/:name/metadata', async (ctx) => {
    const published = await (await upstreams.find(ctx.params.name ?? ''))?.driver.publish?.()
    if (published === undefined) throw new AppError('not_found')
    ctx.type = published.type
    ctx.body = published.body
  })
  const path = '/upstream/:name/callback'
  const receive = async (ctx: Context, name: string, method: 'GET' | 'POST', parameters: Parameters) => {
    redirect(ctx, await service.receive(name, { method, parameters }))
  }
  router.get(path, (ctx) => receive(ctx, ctx.params.name ?? '', 'GET', queryOf(ctx)))
  router.post(path, async (ctx) => receive(ctx, ctx.params.name ?? '', 'POST', await readForm(ctx, ANSWER_BYTES)))
  return router
}

type Parameters = { readonly [name: string]: string }

/** Each parameter once: of two values nobody could say which one was signed or checked. */
function queryOf(ctx: Context): Parameters {
  const entries = [...new URLSearchParams(ctx.querystring)]
  const names = new Set(entries.map(([name]) => name))
  if (names.size !== entries.length) throw new AppError('invalid_request', { detail: 'a parameter was sent twice' })
  return Object.fromEntries(entries)
}

function redirect(ctx: Context, url: string): void {
  ctx.redirect(url)
  ctx.status = 303
  ctx.set('Cache-Control', 'no-store')
}

export interface IdentityRouteDeps {
  readonly service: UpstreamSignInService
  readonly identities: Pick<Identities, 'list' | 'unlink'>
  readonly identifications: Pick<Identifications, 'current'>
  readonly proofings: Proofings
  readonly upstreams: UpstreamStepDeps['upstreams']
  readonly area: AccountArea
  readonly clock: { now(): Date }
}

const PAGE = '/account/identities'
const STATUS: { readonly [code: string]: number } = UPSTREAM_SIGN_IN_CODES

/** Whoever connects or disconnects must have shown the most they have, a moment ago (A48). */
export function createIdentityRouter(deps: IdentityRouteDeps): Router {
  const { service, identities, proofings, area } = deps
  const { gate, show, fail, done, form, need } = area
  const router = new Router()
  const failed = async (ctx: Context, me: SignedIn, failure: { readonly code: string; readonly retryAfter?: number }) =>
    fail(
      ctx,
      me,
      'upstream_sign_in/identities',
      { status: STATUS[failure.code], ...failure },
      await shown(deps, ctx, me),
    )

  router.get(PAGE, async (ctx) => {
    const me = await gate.enterFresh(ctx, PAGE)
    if (me !== undefined) show(ctx, me, 'upstream_sign_in/identities', await shown(deps, ctx, me))
  })

  router.post(`${PAGE}/link`, async (ctx) => {
    const { provider } = need(upstreamForm, await form(ctx))
    const me = await gate.enterFresh(ctx, PAGE)
    if (me === undefined) return
    const from = { ...requestOf(ctx), email: me.account.email, fresh: 'where_possible' as const }
    const departed = await service.depart(provider, targetOf(me), from)
    if (departed.ok) redirect(ctx, departed.url)
    else await failed(ctx, me, departed)
  })

  router.get(`${PAGE}/arrive`, async (ctx) => {
    const { answer } = ctx.query
    const me = await gate.enterFresh(ctx, PAGE)
    if (me === undefined) return
    const came = typeof answer === 'string' ? await service.arrive(answer, targetOf(me)) : undefined
    if (came === undefined) return area.redirect(ctx, PAGE)
    if (!came.ok) return failed(ctx, me, came)
    const linked = await service.link(came.arrived, me.account, requestOf(ctx))
    if (linked === 'linked') return done(ctx, PAGE, 'identity_linked')
    await failed(ctx, me, { code: linked === 'disabled' ? 'upstream_disabled' : `identity_${linked}` })
  })

  router.post(`${PAGE}/prove`, async (ctx) => {
    const { provider } = need(upstreamForm, await form(ctx))
    const me = await gate.enterFresh(ctx, PAGE)
    if (me === undefined) return
    const begun = await proofings.begin(provider, me.accountId)
    if (begun.ok) redirect(ctx, begun.url)
    else if (begun.code === 'absent') throw new AppError('not_found')
    else await failed(ctx, me, begun)
  })

  router.post(`${PAGE}/unprove`, async (ctx) => {
    const { provider } = need(upstreamForm, await form(ctx))
    const me = await gate.enterFresh(ctx, PAGE)
    if (me === undefined) return
    if (!(await proofings.forget(provider, me.accountId))) throw new AppError('not_found')
    done(ctx, PAGE, 'identification_removed')
  })

  router.post(`${PAGE}/:id/remove`, async (ctx) => {
    await form(ctx)
    const me = await gate.enterFresh(ctx, PAGE)
    if (me === undefined) return
    const change = { page: requestOf(ctx), sessionUid: me.sessionUid }
    const unlinked = await identities.unlink(me.account, ctx.params.id ?? '', change)
    if (unlinked === 'absent') throw new AppError('not_found')
    if (unlinked === 'unlinked') return done(ctx, PAGE, 'identity_removed')
    await failed(ctx, me, { code: unlinked })
  })
  return router
}

async function shown(
  { identities, identifications, proofings, upstreams, clock }: IdentityRouteDeps,
  ctx: Context,
  { accountId }: SignedIn,
) {
  const { locale } = requestOf(ctx)
  const own = await identities.list(accountId)
  const [offered, identified, checks] = await Promise.all([
    upstreams.offered(undefined),
    identifications.current(accountId),
    proofings.offered(accountId),
  ])
  return {
    identified: identified.map(({ upstream, title, claims, verifiedAt, expiresAt }) => ({
      ...{ provider: title, claims, since: dayIn(locale, verifiedAt), until: dayIn(locale, expiresAt) },
      // What a sign-in has verified goes with its connection.
      removable: proofings.isProvider(upstream) ? upstream : '',
    })),
    checks,
    identities: await Promise.all(
      own.map(async ({ id, upstream, label, linkedAt, usedAt }) => ({
        ...{ id, label, provider: await upstreams.title(upstream) },
        since: dayIn(locale, linkedAt),
        used: usedAt === undefined ? '' : agoIn(locale, usedAt, clock.now()),
      })),
    ),
    providers: offered.filter(({ name }) => !own.some(({ upstream }) => upstream === name)),
  }
}

function targetOf({ sessionUid, accountId }: SignedIn): Target {
  return { kind: 'account', sessionUid, accountId }
}
