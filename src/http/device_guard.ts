/**
 * In front of the engine's page for user codes (RFC 8628 §5.1, §3.3.1): how many codes may be tried, and what a link with the
 * code in it does. It fills the field and no more: whoever was sent a link still has to look at the code and press the button.
 */
import type { Context, Middleware, Next } from 'koa'
import { AppError } from '../errors.ts'
import { networkOf, subnetOf } from '../platform/client_network.ts'
import type { KeyValue } from '../platform/key_value.ts'

const DEVICE_PATH = '/device'

/** Of 20^8 codes, ten minutes each: at this rate one subnet finds one of a thousand pending codes in two hundred years. */
const TRIES = 20
const TRIES_OF_SUBNET = 200
const WINDOW_SECONDS = 600
const CODE_LENGTH = 40

export interface DeviceGuardDeps {
  readonly keyValue: Pick<KeyValue, 'hit' | 'giveBack'>
  readonly mac: (value: string) => string
}

/**
 * Counts a try before it is looked at, so that of many at once only as many are looked at as the limit allows. A code that was
 * right is no guess, and is not counted in the end: many people may connect their devices from one address. It takes back
 * itself alone, so that whoever shows a right code of their own now and then guesses no more than others.
 */
export function createDeviceGuard({ keyValue, mac }: DeviceGuardDeps): Middleware {
  return async (ctx: Context, next: Next) => {
    if (ctx.path !== DEVICE_PATH) return next()
    if (ctx.method === 'GET') {
      const { user_code: code } = ctx.query
      // Without it the engine shows its form, and does not send one by script.
      ctx.query = {}
      if (typeof code === 'string') ctx.state.userCode = code.slice(0, CODE_LENGTH)
      return next()
    }
    const { ip } = ctx.state as { ip: string }
    const limit = (layer: string, value: string, most: number) => ({
      ...{ key: `{device_codes}:${layer}:${mac(value)}`, limit: most, windowSeconds: WINDOW_SECONDS },
    })
    const limits = [limit('network', networkOf(ip), TRIES), limit('subnet', subnetOf(ip), TRIES_OF_SUBNET)]
    const { allowed, retryAfter } = await keyValue.hit(limits)
    if (!allowed) throw new AppError('too_many_requests', { retryAfter })
    await next()
    if (ctx.status < 400) await keyValue.giveBack(limits.map(({ key }) => key))
  }
}
