/**
 * What a request is, decided once: its id, who sent it, in which language, and under which origin it counts. The origin is
 * always the issuer's: Host and forwarded headers never shape a URL (A20, A81), and the sender's address is taken from
 * X-Forwarded-For only as far as trusted proxies vouch for it (A37), its country only from one of them.
 */
import { randomBytes } from 'node:crypto'
import { BlockList, isIP } from 'node:net'
import type { Context, Middleware, Next } from 'koa'
import { AppError } from '../errors.ts'
import { newId } from '../platform/ids.ts'
import { runInRequest } from '../platform/request_scope.ts'
import type { Languages } from './language.ts'

export interface RequestContextDeps {
  readonly issuer: string
  readonly trustedProxies: readonly string[]
  /** By which trusted proxies say the country of the sender's address; they must not pass on what the sender put there. */
  readonly countryHeader?: string | undefined
  /** The same of the autonomous system that announces the address. */
  readonly asnHeader?: string | undefined
  /** The header of clients' certificates, and the other origin at which they are asked for (RFC 8705 §5). */
  readonly mtls?: { readonly certificateHeader: string; readonly origin: string | undefined } | undefined
  readonly languages: Pick<Languages, 'of'>
}

/** User-assigned codes by which proxies and databases say that they do not know (ISO 3166-1 §8.1.3). */
const UNKNOWN_COUNTRIES = ['XX', 'ZZ']

/** Endpoints of programs that look at proofs and answer without addresses: only there the name of the other origin counts. */
const ALIASED = /^\/(?:token|request|me|backchannel)(?:[/?]|$)/

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
export function createRequestContext({
  issuer,
  trustedProxies,
  countryHeader,
  asnHeader,
  mtls,
  languages,
}: RequestContextDeps): Middleware {
  const { host, protocol } = new URL(issuer)
  const aliasHost = mtls?.origin === undefined ? undefined : new URL(mtls.origin).host
  const trusted = blockList(trustedProxies)
  return (ctx: Context, next: Next) => {
    const { req } = ctx
    const ip = clientAddress(req.socket.remoteAddress ?? '', ctx.get('X-Forwarded-For'), trusted)
    const vouched = isTrusted(plain(req.socket.remoteAddress ?? ''), trusted)
    const told = (header: string | undefined) => (vouched && header !== undefined ? ctx.get(header) : '')
    const country = countryCode(told(countryHeader))
    const asn = asNumber(told(asnHeader))
    for (const name of FORWARDED) delete req.headers[name]
    // A certificate is believed from a trusted proxy alone: anybody else would write down another's.
    if (!vouched && mtls !== undefined) delete req.headers[mtls.certificateHeader]
    // The one other host is the operator's own word too: proofs of DPoP name the address that was asked. Pages and documents
    // are the issuer's at either.
    const atAlias = aliasHost !== undefined && req.headers.host === aliasHost && ALIASED.test(req.url ?? '')
    req.headers.host = atAlias ? aliasHost : host
    req.headers['x-forwarded-proto'] = protocol.slice(0, -1)
    req.headers['x-forwarded-for'] = ip
    const requestId = newId()
    ctx.state = createState({ requestId, ip, country, localeOf: () => languages.of(ctx) })
    ctx.res.setHeader('X-Request-Id', requestId)
    return runInRequest({ requestId, ip, asn, userAgent: ctx.get('User-Agent').slice(0, 512) }, next)
  }
}

interface RequestState {
  readonly requestId: string
  readonly ip: string
  readonly country: string | undefined
  readonly localeOf: () => string
  madeNonce?: string
  knownLocale?: string
}

/**
 * Only pages ask for nonce and locale: protocol endpoints need not work them out. One prototype for all requests, since V8 puts
 * accessors of single objects where only a full collection looks, and all that they reach with them.
 */
const LAZILY = {
  get nonce(): string {
    const state = this as unknown as RequestState
    state.madeNonce ??= randomBytes(16).toString('base64')
    return state.madeNonce
  },
  get locale(): string {
    const state = this as unknown as RequestState
    state.knownLocale ??= state.localeOf()
    return state.knownLocale
  },
  set locale(chosen: string) {
    ;(this as unknown as RequestState).knownLocale = chosen
  },
}

/** What the chain knows of a request. */
function createState(state: RequestState): RequestState & typeof LAZILY {
  return Object.assign(Object.create(LAZILY), state)
}

/**
 * Refuses an absolute-form target (RFC 9112 §3.2.2), which would make its own host the base of every URL (A20), and a NUL in
 * the path of an account page: nothing of ours is called so, and PostgreSQL takes none.
 */
export function refuseStrangeTarget(ctx: Context, next: Next): Promise<void> {
  if (!ctx.req.url?.startsWith('/')) throw new AppError('invalid_request', { detail: 'request target must be a path' })
  if (ctx.path.includes('%00') && ctx.path.startsWith('/account/')) throw new AppError('not_found')
  return next()
}

/** The nearest address that no trusted proxy stands behind, read from the right. */
export function clientAddress(peer: string, forwardedFor: string, trusted: BlockList): string {
  let address = plain(peer)
  if (!isTrusted(address, trusted)) return address
  const hops = forwardedFor.length > 2048 ? [] : forwardedFor.split(',').map((hop) => plain(hop.trim()))
  while (isTrusted(address, trusted)) {
    const hop = hops.pop()
    if (hop === undefined || isIP(hop) === 0) break
    address = hop
  }
  return address
}

/** ISO 3166-1 alpha-2; undefined for anything else, and for the codes that mean "not known". */
function countryCode(value: string): string | undefined {
  const code = value.toUpperCase()
  return /^[A-Z]{2}$/.test(code) && !UNKNOWN_COUNTRIES.includes(code) ? code : undefined
}

/** "AS64500" and "64500" are one number (RFC 5396 asplain); undefined for anything else. */
function asNumber(value: string): string | undefined {
  return /^(?:AS)?0*([1-9]\d{0,9})$/i.exec(value)?.[1]
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
