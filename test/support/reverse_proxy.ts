/** A reverse proxy as operators put one in front: plain or TLS, one or several instances behind it. */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'

export interface ReverseProxyOptions {
  /** Origin that the next request goes to; called once for each request. */
  readonly target: (request: IncomingMessage) => string
  readonly port?: number
  /** Certificate and key: the proxy then speaks https. */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** Told of every exchange when it is over. */
  readonly seen?: (exchange: Exchange) => void
  /** Asks clients for a certificate, which may be anybody's, and passes it on in this header (RFC 9440). */
  readonly certificateHeader?: string
}

export interface Exchange {
  readonly method: string
  readonly path: string
  /** Origin that answered, or should have. */
  readonly target: string
  /** 0: no answer came, or not the whole of it. */
  readonly status: number
  readonly headers: IncomingMessage['headers']
  /** Of failures of the server only. */
  readonly body: string
  readonly milliseconds: number
}

export interface ReverseProxy {
  readonly port: number
  readonly origin: string
  stop(): Promise<void>
}

export async function startReverseProxy({
  target,
  port = 0,
  tls,
  certificateHeader,
  seen = () => {},
}: ReverseProxyOptions): Promise<ReverseProxy> {
  const protocol = tls === undefined ? 'http' : 'https'
  const asks = certificateHeader === undefined ? {} : { requestCert: true, rejectUnauthorized: false }
  const handle = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    if (certificateHeader !== undefined) incoming.headers[certificateHeader] = certificateOf(incoming)
    const origin = target(incoming)
    watch(forward(new URL(origin), protocol, incoming, outgoing), incoming, origin, seen)
  }
  const server =
    tls === undefined ? createServer(handle) : createTlsServer({ cert: tls.cert, key: tls.key, ...asks }, handle)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  const address = server.address() as AddressInfo
  return {
    port: address.port,
    origin: `${protocol}://localhost:${address.port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function certificateOf({ socket }: IncomingMessage): string | undefined {
  const raw: Buffer | undefined = (socket as TLSSocket).getPeerCertificate?.().raw
  return raw === undefined ? undefined : `:${raw.toString('base64')}:`
}

/** Tells `seen` how the onward request ended. */
function watch(
  onward: ReturnType<typeof request>,
  incoming: IncomingMessage,
  target: string,
  seen: (exchange: Exchange) => void,
): void {
  const started = performance.now()
  const tell = (answer?: IncomingMessage, body = '') =>
    seen({
      ...{ method: incoming.method ?? '', path: (incoming.url ?? '').split('?', 1)[0] ?? '', target, body },
      ...{ status: answer?.statusCode ?? 0, headers: answer?.headers ?? {} },
      milliseconds: performance.now() - started,
    })
  onward.once('error', () => tell())
  onward.once('response', (answer) => {
    const parts: Buffer[] = []
    const failed = (answer.statusCode ?? 0) >= 500
    answer.on('data', (part: Buffer) => failed && parts.push(part))
    answer.once('end', () => tell(answer, Buffer.concat(parts).toString()))
    answer.once('error', () => tell())
  })
}

function forward(to: URL, protocol: string, incoming: IncomingMessage, outgoing: ServerResponse) {
  const known = incoming.headers['x-forwarded-for']
  const client = incoming.socket.remoteAddress ?? ''
  const onward = request(
    { host: to.hostname, port: to.port, method: incoming.method, path: incoming.url, agent: false },
    (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      answer.pipe(outgoing)
      answer.once('error', () => outgoing.destroy())
    },
  )
  for (const [name, value] of Object.entries(incoming.headers)) if (value !== undefined) onward.setHeader(name, value)
  onward.setHeader('x-forwarded-for', known === undefined ? client : `${known}, ${client}`)
  onward.setHeader('x-forwarded-proto', protocol)
  onward.setHeader('x-forwarded-host', incoming.headers.host ?? '')
  onward.setHeader('connection', 'close')
  onward.once('error', () => {
    if (!outgoing.headersSent) outgoing.writeHead(502)
    outgoing.end()
  })
  incoming.pipe(onward)
  return onward
}
