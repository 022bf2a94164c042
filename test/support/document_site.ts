/** A web site whose documents are clients (OAuth Client ID Metadata Document): what each path answers, and how often it was asked. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface DocumentAnswer {
  readonly status?: number
  readonly headers?: { readonly [name: string]: string }
  /** An object is sent as JSON; its client_id is the address unless it has another. */
  readonly body?: { readonly [member: string]: unknown } | string
  /** Says so much and then nothing more. */
  readonly stalls?: boolean
}

export interface DocumentSite {
  readonly origin: string
  readonly host: string
  /** Puts an answer at a path and returns its address. */
  put(path: string, answer: DocumentAnswer): string
  calls(path: string): number
  allCalls(): number
  stop(): Promise<void>
}

export async function startDocumentSite(): Promise<DocumentSite> {
  const answers = new Map<string, DocumentAnswer>()
  const calls = new Map<string, number>()
  let origin = ''
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    calls.set(path, (calls.get(path) ?? 0) + 1)
    const { status = 200, headers, body = '', stalls } = answers.get(path) ?? { status: 404 }
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    if (stalls) return void response.write('{')
    response.end(typeof body === 'string' ? body : JSON.stringify({ client_id: `${origin}${path}`, ...body }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    origin,
    host: new URL(origin).host,
    put(path, answer) {
      answers.set(path, answer)
      return `${origin}${path}`
    },
    calls: (path) => calls.get(path) ?? 0,
    allCalls: () => [...calls.values()].reduce((sum, count) => sum + count, 0),
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
