/** The page that lists browsers, and forgets them. */
import Router from '@koa/router'
import { AppError } from '../../errors.ts'
import type { DeviceCookie } from '../../http/device_cookie.ts'
import { sha256 } from '../../platform/ids.ts'
import { agoIn, dayIn } from '../../platform/locales.ts'
import { type AccountArea, requestOf } from '../account_area/types.ts'
import type { DeviceService } from './service.ts'

export interface DeviceRouteDeps {
  readonly devices: Pick<DeviceService, 'list' | 'forget' | 'forgetAll'>
  readonly area: AccountArea
  readonly deviceCookie: Pick<DeviceCookie, 'read'>
  readonly clock: { now(): Date }
}

const PAGE = '/account/devices'

export function createDeviceRouter({ devices, area, deviceCookie, clock }: DeviceRouteDeps): Router {
  const { gate, show, done, form } = area
  const router = new Router()
  router.get(PAGE, async (ctx) => {
    const me = await gate.enter(ctx, PAGE)
    if (me === undefined) return
    const { locale } = requestOf(ctx)
    const now = clock.now()
    const token = deviceCookie.read(ctx)
    const here = token === undefined ? undefined : sha256(token)
    const rows = (await devices.list(me.accountId)).map(({ id, browser, system, trustedUntil, ...device }) => ({
      ...{ id, device: { browser, system }, isThis: device.tokenHash === here },
      ...{ first: agoIn(locale, device.firstSeenAt, now), last: agoIn(locale, device.lastSeenAt, now) },
      trustedUntil: trustedUntil !== undefined && trustedUntil > now ? dayIn(locale, trustedUntil) : '',
    }))
    show(ctx, me, 'devices/devices', { devices: rows.sort((a, b) => Number(b.isThis) - Number(a.isThis)) })
  })
  router.post(`${PAGE}/forget`, async (ctx) => {
    await form(ctx)
    const me = await gate.enter(ctx, PAGE)
    if (me === undefined) return
    await devices.forgetAll(me.accountId)
    done(ctx, PAGE, 'devices_forgotten')
  })
  router.post(`${PAGE}/:id/forget`, async (ctx) => {
    await form(ctx)
    const me = await gate.enter(ctx, PAGE)
    if (me === undefined) return
    if (!(await devices.forget(me.accountId, ctx.params.id ?? ''))) throw new AppError('not_found')
    done(ctx, PAGE, 'device_forgotten')
  })
  return router
}
