/**
 * Requests that the server makes to addresses others named (key sets, back-channel logout). The address is resolved and
 * checked here and the connection goes to exactly the checked address, so no name, redirect or rebinding reaches the
 * network behind us.
 */
import { lookup as dnsLookup, type LookupAddress } from 'node:dns'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { createAddressRules } from './address_rules.ts'

/** Why a request was not made, or its answer not taken. The text names no address: it may reach a log or a client. */
export class OutboundError extends Error {
  readonly code: 'url_refused' | 'address_refused' | 'response_too_large' | 'timed_out' | 'unreachable'
  constructor(code: OutboundError['code'], options?: { cause?: unknown }) {
    super(`outbound request failed: ${code}`, options)
    this.name = 'OutboundError'
    this.code = code
  }
}

export interface HttpClient {
  /** Like `fetch`, guarded: no redirects, the whole answer within the time and size limits. Rejects with `OutboundError`. */
  fetch(url: string | URL, options?: RequestInit): Promise<Response>
}

interface Options {
  /** CIDR ranges behind us that may be reached all the same, also by plain http. */
  readonly allowedNetworks: readonly string[]
  readonly timeoutMs?: number | undefined
  readonly maxBytes?: number | undefined
  /** Extra certificate authorities in PEM, for private networks. */
  readonly ca?: string | undefined
  /** Resolves a name to its addresses; the system's resolver by default. */
  readonly resolve?: ((hostname: string) => Promise<readonly LookupAddress[]>) | undefined
}

/** Whoever waits for one of these has an answer within five seconds. */
const TIMEOUT_MS = 4000
const MAX_BYTES = 64 * 1024
const HEADER_BYTES = 16 * 1024

/** Makes the client. Each request has its own connection: none is ever reused for another name. */
export function createHttpClient(options: Options): HttpClient {
  const { timeoutMs = TIMEOUT_MS, maxBytes = MAX_BYTES, resolve = systemResolve } = options
  const rules = createAddressRules(options.allowedNetworks)

  const checkedAddresses = async (url: URL): Promise<LookupAddress[]> => {
    const hostname = url.hostname.replace(/^\[|\]$/g, '')
    const family = isIP(hostname)
    const addresses = family === 0 ? await resolve(hostname) : [{ address: hostname, family }]
    // One bad address refuses the name: a mixed answer is how rebinding begins.
    const refused = addresses.some(({ address }) => !rules.mayConnect(address))
    if (addresses.length === 0 || refused) throw new OutboundError('address_refused')
    if (url.protocol === 'http:' && !addresses.every(({ address }) => rules.listed(address))) {
      throw new OutboundError('url_refused')
    }
    return [...addresses]
  }

  return {
    async fetch(target, init = {}) {
      const url = parse(target)
      const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(init.signal ? [init.signal] : [])])
      try {
        // The platform's Request turns every kind of body and headers into bytes and a content type.
        const { method = 'GET', headers, body } = init
        const prepared = new Request(url, { method, ...(headers ? { headers } : {}), ...(body ? { body } : {}) })
        const bytes = Buffer.from(await prepared.arrayBuffer())
        const addresses = await orAbort(checkedAddresses(url), signal)
        const response = await send(url, prepared, bytes, addresses, signal, options.ca)
        return await read(response, maxBytes)
      } catch (error) {
        if (error instanceof OutboundError) throw error
        throw new OutboundError(signal.aborted ? 'timed_out' : 'unreachable', { cause: error })
      }
    },
  }
}

function parse(target: string | URL): URL {
  const url = URL.canParse(String(target)) ? new URL(target) : undefined
  const web = url?.protocol === 'https:' || url?.protocol === 'http:'
  if (url === undefined || !web || url.username !== '' || url.password !== '') throw new OutboundError('url_refused')
  return url
}

function send(
  url: URL,
  prepared: Request,
  body: Buffer,
  addresses: LookupAddress[],
  signal: AbortSignal,
  ca: string | undefined,
): Promise<IncomingMessage> {
  // Node asks for addresses once more when it connects: it is told the checked ones, not asked to resolve again.
  const lookup: LookupFunction = (_hostname, how, callback) => {
    const [first] = addresses
    if (how.all) callback(null, addresses)
    else callback(null, first?.address ?? '', first?.family)
  }
  const headers: Record<string, string> = Object.fromEntries(prepared.headers)
  headers['accept-encoding'] = 'identity'
  headers['user-agent'] = 'genkan'
  if (body.length > 0) headers['content-length'] = String(body.length)
  return new Promise((resolve, reject) => {
    const options = { method: prepared.method, headers, lookup, signal, agent: false, maxHeaderSize: HEADER_BYTES }
    const request = url.protocol === 'https:' ? httpsRequest(url, { ...options, ca }) : httpRequest(url, options)
    request.once('response', resolve).once('error', reject)
    request.end(body)
  })
}

/** The whole answer as a WHATWG `Response`. Redirects (3xx) are answers like any other. */
async function read(response: IncomingMessage, maxBytes: number): Promise<Response> {
  const chunks: Buffer[] = []
  let received = 0
  try {
    if (Number(response.headers['content-length'] ?? 0) > maxBytes) throw new OutboundError('response_too_large')
    for await (const chunk of response as AsyncIterable<Buffer>) {
      received += chunk.length
      if (received > maxBytes) throw new OutboundError('response_too_large')
      chunks.push(chunk)
    }
  } finally {
    response.destroy()
  }
  const headers = new Headers()
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value)
  }
  const status = response.statusCode ?? 0
  const empty = status === 204 || status === 205 || status === 304
  return new Response(empty ? null : Buffer.concat(chunks), { status, headers })
}

function systemResolve(hostname: string): Promise<readonly LookupAddress[]> {
  return new Promise((resolve, reject) => {
    dnsLookup(hostname, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)))
  })
}

function orAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}
