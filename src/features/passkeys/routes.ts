/** The account pages of passkeys, and the documents that browsers and password managers look for. */
import Router, { type RouterContext } from '@koa/router'
import { AppError } from '../../errors.ts'
import { providerOf } from '../../platform/aaguids.ts'
import { agoIn, dayIn } from '../../platform/locales.ts'
import { type AccountArea, requestOf, signalsOf } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import { PASSKEYS_CODES } from './errors.ts'
import { newPasskeyForm, renameForm } from './schema.ts'
import type { PasskeyService } from './service.ts'
import type { Passkey } from './types.ts'

export interface PasskeyRouteDeps {
  readonly passkeys: PasskeyService
  readonly area: AccountArea
  readonly issuer: string
  readonly rpName: () => Promise<string>
  readonly clock: { now(): Date }
}

const STATUS: { readonly [code: string]: number } = PASSKEYS_CODES
const LIST = '/account/passkeys'
const NEW = '/account/passkeys/new'

export function createPasskeyRouter(deps: PasskeyRouteDeps): Router {
  const router = new Router()
  listing(router, deps)
  adding(router, deps)
  changing(router, deps)
  return router
}

function listing(router: Router, deps: PasskeyRouteDeps): void {
  const { area } = deps
  router.get(LIST, async (ctx) => {
    const me = await area.gate.enter(ctx, LIST)
    if (me !== undefined) area.show(ctx, me, 'passkeys/passkeys', await listed(deps, me, requestOf(ctx).locale))
  })
}

/** Who may add one must have shown the most they have, a moment ago (A48). */
function adding(router: Router, { passkeys, area, rpName }: PasskeyRouteDeps): void {
  const { gate, show, fail, done, form, need } = area
  router.get(NEW, async (ctx) => {
    const me = await gate.enterFresh(ctx, NEW)
    if (me !== undefined) show(ctx, me, 'passkeys/new_passkey', {})
  })

  router.post('/account/passkeys/challenge', async (ctx) => {
    await form(ctx)
    const me = await gate.enterFresh(ctx, NEW)
    if (me === undefined) return
    ctx.body = await passkeys.creationOptions({ id: me.sessionUid }, me.account, await rpName())
    ctx.set('Cache-Control', 'no-store')
  })

  router.post(NEW, async (ctx) => {
    const { credential } = need(newPasskeyForm, await form(ctx))
    const me = await gate.enterFresh(ctx, NEW)
    if (me === undefined) return
    const change = { page: requestOf(ctx), sessionUid: me.sessionUid }
    const made = await passkeys.register(credential, { id: me.sessionUid }, me.account, change)
    if (made.ok) return done(ctx, LIST, 'passkey_added')
    fail(ctx, me, 'passkeys/new_passkey', { ...made, status: STATUS[made.code] }, {})
  })
}

function changing(router: Router, deps: PasskeyRouteDeps): void {
  const { passkeys, area } = deps
  const { gate, show, fail, done, form, parse } = area

  /** One of the account's own; whatever else is asked for is not there (A49). */
  async function own(ctx: RouterContext, me: SignedIn) {
    const passkey = (await passkeys.list(me.accountId)).find(({ id }) => id === ctx.params.id)
    if (passkey === undefined) throw new AppError('not_found')
    return rowOf(deps, passkey, requestOf(ctx).locale)
  }
  const pathOf = (ctx: RouterContext) => `${LIST}/${encodeURIComponent(ctx.params.id ?? '')}`

  router.get('/account/passkeys/:id', async (ctx) => {
    const me = await gate.enterFresh(ctx, pathOf(ctx))
    if (me !== undefined) show(ctx, me, 'passkeys/one_passkey', { passkey: await own(ctx, me) })
  })

  router.post('/account/passkeys/:id/name', async (ctx) => {
    const fields = await form(ctx)
    const me = await gate.enterFresh(ctx, pathOf(ctx))
    if (me === undefined) return
    const passkey = await own(ctx, me)
    const { data } = parse(renameForm, fields)
    if (data === undefined) {
      return fail(ctx, me, 'passkeys/one_passkey', { code: 'claim_invalid', field: 'name' }, { passkey })
    }
    await passkeys.rename(me.accountId, passkey.id, data.name)
    done(ctx, LIST, 'passkey_renamed')
  })

  router.post('/account/passkeys/:id/remove', async (ctx) => {
    await form(ctx)
    const me = await gate.enterFresh(ctx, pathOf(ctx))
    if (me === undefined) return
    const passkey = await own(ctx, me)
    const change = { page: requestOf(ctx), sessionUid: me.sessionUid }
    const removed = await passkeys.remove(me.account, passkey.id, change)
    if (removed === 'absent') throw new AppError('not_found')
    if (removed === 'removed') return done(ctx, LIST, 'passkey_removed')
    fail(ctx, me, 'passkeys/one_passkey', { code: removed, status: STATUS[removed] }, { passkey })
  })
}

async function listed(deps: PasskeyRouteDeps, me: SignedIn, locale: string) {
  const own = await deps.passkeys.list(me.accountId)
  return {
    passkeys: own.map((passkey) => rowOf(deps, passkey, locale)),
    signals: signalsOf(
      deps.issuer,
      me,
      own.map(({ credentialId }) => credentialId),
    ),
  }
}

function rowOf({ clock }: Pick<PasskeyRouteDeps, 'clock'>, passkey: Passkey, locale: string) {
  const { id, name, aaguid, backedUp, createdAt, usedAt } = passkey
  return {
    ...{ id, name, backedUp, provider: providerOf(aaguid) ?? '', since: dayIn(locale, createdAt) },
    used: usedAt === undefined ? '' : agoIn(locale, usedAt, clock.now()),
  }
}

/**
 * Where passkeys are made and managed (W3C Passkey Endpoints), and the other origins that may use this host's (WebAuthn L3
 * §5.11.1). Answered without a redirect.
 */
export function createPasskeyDocuments(deps: { issuer: string; relatedOrigins: readonly string[]; pages: boolean }) {
  const router = new Router()
  if (deps.pages) {
    const endpoints = { enroll: `${deps.issuer}${NEW}`, manage: `${deps.issuer}${LIST}` }
    router.get('/.well-known/passkey-endpoints', (ctx) => {
      ctx.body = endpoints
    })
  }
  if (deps.relatedOrigins.length > 0) {
    router.get('/.well-known/webauthn', (ctx) => {
      ctx.body = { origins: deps.relatedOrigins }
    })
  }
  return router
}
