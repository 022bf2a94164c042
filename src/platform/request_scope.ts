/** The request that the running code belongs to, without passing it through every argument: for facts and log lines. */
import { AsyncLocalStorage } from 'node:async_hooks'

export interface RequestScope {
  readonly requestId: string
  /** Address of the end-user's device, as the trusted proxies report it. */
  readonly ip: string
  readonly userAgent: string
}

const scope = new AsyncLocalStorage<RequestScope>()

/** Runs `work` (and everything it awaits) as part of the request. */
export function runInRequest<T>(request: RequestScope, work: () => T): T {
  return scope.run(request, work)
}

/** The request of the running code; `undefined` in jobs and commands. */
export function currentRequest(): RequestScope | undefined {
  return scope.getStore()
}
