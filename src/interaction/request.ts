/** What steps may know of a request beside its form. */
import type { Context } from 'koa'
import type { DeviceCookie } from '../http/device_cookie.ts'
import type { RequestFacts } from './step.ts'

export function requestOf(
  { deviceCookie }: { readonly deviceCookie: Pick<DeviceCookie, 'read'> },
  ctx: Context,
): RequestFacts {
  const { ip, locale, requestId } = ctx.state as { ip: string; locale: string; requestId: string }
  const userAgent = ctx.get('User-Agent').slice(0, 512)
  return { ip, locale, requestId, userAgent, deviceToken: deviceCookie.read(ctx) }
}
