/**
 * What a request is, decided once: its id, who sent it, in which language, and under which origin it counts. The origin is
 * always the issuer's: Host and forwarded headers never shape a URL (A20, A81), and the sender's address is taken from
 * X-Forwarded-For only as far as trusted proxies vouch for it (A37).
 */
import { randomBytes } from 'node:crypto'
import { BlockList, isIP } from 'node:net'
import type { Context, Middleware, Next } from 'koa'
import { AppError } from '../errors.ts'
import { newId } from '../platform/ids.ts'
import { runInRequest } from '../platform/request_scope.ts'

export interface RequestContextDeps {
  readonly issuer: string
  readonly trustedProxies: readonly string[]
  readonly pickLocale: (candidates: readonly string[]) => string
}

export const LOCALE_COOKIE = 'genkan_locale'

const FORWARDED = [
  'forwarded',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-server',
  'x-forwarded-prefix',
  'x-host',
  'x-original-url',
  'x-rewrite-url',
]

/** Builds the first middleware of the chain. */
export function createRequestContext({ issuer, trustedProxies, pickLocale }: RequestContextDeps): Middleware {
  const { host, protocol } = new URL(issuer)
  const trusted = blockList(trustedProxies)
  return async (ctx: Context, next: Next) => {
    const { req } = ctx
    const ip = clientAddress(req.socket.remoteAddress ?? '', ctx.get('X-Forwarded-For'), trusted)
    for (const name of FORWARDED) delete req.headers[name]
    req.headers.host = host
    req.headers['x-forwarded-proto'] = protocol.slice(0, -1)
    req.headers['x-forwarded-for'] = ip
    const requestId = newId()
    let nonce: string | undefined
    let locale: string | undefined
    Object.assign(ctx.state, { requestId, ip })
    // Only pages ask for these two: protocol endpoints need not work them out.
    Object.defineProperties(ctx.state, {
      nonce: {
        get: () => {
          nonce ??= randomBytes(16).toString('base64')
          return nonce
        },
      },
      locale: {
        enumerable: true,
        get: () => {
          locale ??= pickLocale([...languages(ctx), ...brandLanguage(ctx)])
          return locale
        },
        set: (chosen: string) => {
          locale = chosen
        },
      },
    })
    ctx.set('X-Request-Id', requestId)
    await runInRequest({ requestId, ip, userAgent: ctx.get('User-Agent').slice(0, 512) }, next)
  }
}

/** Refuses an absolute-form target (RFC 9112 §3.2.2), which would make its own host the base of every URL (A20). */
export async function refuseAbsoluteTarget(ctx: Context, next: Next): Promise<void> {
  if (!ctx.req.url?.startsWith('/')) throw new AppError('invalid_request', { detail: 'request target must be a path' })
  await next()
}

function languages(ctx: Context): string[] {
  const accepted = ctx.get('Accept-Language').slice(0, 256)
  const chosen = ctx.cookies.get(LOCALE_COOKIE, { signed: false })
  return [...(chosen === undefined ? [] : [chosen]), ...byQuality(accepted)]
}

/** Last of all what the brand speaks, when whoever reads said nothing that we speak. */
function brandLanguage(ctx: Context): string[] {
  const { brand } = ctx.state as { brand?: { readonly defaultLocale?: string | undefined } }
  return brand?.defaultLocale === undefined ? [] : [brand.defaultLocale]
}

/** Language tags of an Accept-Language header, best first (RFC 9110 §12.5.4). */
export function byQuality(header: string): string[] {
  return header
    .split(',')
    .map((part, index) => {
      const [tag = '', quality = ''] = part.trim().split(/\s*;\s*q=/)
      return { tag, quality: quality === '' ? 1 : Number(quality) || 0, index }
    })
    .filter(({ tag, quality }) => /^[a-z]{2,8}(-[a-z0-9]{1,8})*$/i.test(tag) && quality > 0)
    .sort((a, b) => b.quality - a.quality || a.index - b.index)
    .map(({ tag }) => tag)
}

/** The nearest address that no trusted proxy stands behind, read from the right. */
export function clientAddress(peer: string, forwardedFor: string, trusted: BlockList): string {
  let address = plain(peer)
  const hops = forwardedFor.length > 2048 ? [] : forwardedFor.split(',').map((hop) => plain(hop.trim()))
  while (isTrusted(address, trusted)) {
    const hop = hops.pop()
    if (hop === undefined || isIP(hop) === 0) break
    address = hop
  }
  return address
}

/** IPv4-mapped IPv6 is IPv4: one address has one spelling. */
function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '').toLowerCase()
}

function isTrusted(address: string, trusted: BlockList): boolean {
  const version = isIP(address)
  return version !== 0 && trusted.check(address, version === 4 ? 'ipv4' : 'ipv6')
}

/** Parses addresses and CIDR ranges that the configuration has checked. */
export function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', bits] = range.split('/')
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  return list
}
