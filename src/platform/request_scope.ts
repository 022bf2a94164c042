/** The request or command that the running code belongs to, without passing it through every argument: for facts and log lines. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { networkOf } from './client_network.ts'
import { createNotes } from './notes.ts'

export interface RequestScope {
  readonly requestId: string
  /** Address of the end-user's device, as the trusted proxies report it; a command has none. */
  readonly ip?: string | undefined
  /** Number of the autonomous system that announces the address, where a trusted proxy tells it. */
  readonly asn?: string | undefined
  readonly userAgent?: string | undefined
}

const scope = new AsyncLocalStorage<RequestScope>()

/** Runs `work` (and everything it awaits) as part of the request. */
export function runInRequest<T>(request: RequestScope, work: () => T): T {
  return scope.run(request, work)
}

/** The request or command of the running code; `undefined` in jobs. */
export function currentRequest(): RequestScope | undefined {
  return scope.getStore()
}

/** Whose share of something scarce the running code takes: its request's, whoever calls. Commands and jobs have none. */
export function networkOfRequest(): string | undefined {
  const ip = currentRequest()?.ip
  return ip === undefined || ip === '' ? undefined : networkOf(ip)
}

/** Asks once a request for each id, and each time outside of one. What a request was told holds until it has ended. */
export function onceARequest<T>(ask: (id: string) => Promise<T>): (id: string) => Promise<T> {
  const answers = createNotes<RequestScope, Map<string, Promise<T>>>()
  return (id) => {
    const request = currentRequest()
    if (request === undefined) return ask(id)
    const known = answers.get(request) ?? new Map<string, Promise<T>>()
    answers.set(request, known)
    const answer = known.get(id) ?? ask(id)
    known.set(id, answer)
    return answer
  }
}
