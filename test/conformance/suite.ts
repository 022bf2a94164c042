/** The REST interface of the conformance suite, as far as a run needs it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Plan } from './plans.ts'

export interface Module {
  readonly testModule: string
  readonly variant?: { readonly [parameter: string]: string }
}

export type Result = 'PASSED' | 'WARNING' | 'REVIEW' | 'SKIPPED' | 'FAILED' | 'INTERRUPTED' | 'UNKNOWN'

export interface LogEntry {
  readonly src?: string
  readonly msg?: string
  readonly result?: string
}

export interface SuiteOptions {
  /** Without a slash at the end. */
  readonly url: string
  /** For a suite that asks who comes. */
  readonly token?: string | undefined
  /** Milliseconds between two questions how a module is. */
  readonly pollMs?: number
  /** After so many a module that has not ended is given up. */
  readonly moduleMs?: number
  readonly fetch?: typeof fetch
}

interface Info {
  readonly status: 'CREATED' | 'CONFIGURED' | 'RUNNING' | 'WAITING' | 'FINISHED' | 'INTERRUPTED'
  readonly result?: Result
}

export type Suite = ReturnType<typeof createSuite>

export function createSuite({ url, token, pollMs = 1000, moduleMs = 300_000, fetch: ask = fetch }: SuiteOptions) {
  const headers = {
    'content-type': 'application/json',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  }
  /** @throws Error with the suite's words when it answers with a fault */
  async function call<T>(method: string, path: string, query: object = {}, body?: unknown): Promise<T> {
    const target = new URL(`${url}/api/${path}`)
    for (const [name, value] of Object.entries(query)) target.searchParams.set(name, String(value))
    const response = await ask(target, { method, headers, body: body === undefined ? null : JSON.stringify(body) })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${target.pathname}: ${response.status} ${text.slice(0, 500)}`)
    return (text === '' ? undefined : JSON.parse(text)) as T
  }

  async function ended(id: string): Promise<Result> {
    const until = Date.now() + moduleMs
    let started = false
    for (;;) {
      const { status, result = 'UNKNOWN' } = await call<Info>('GET', `info/${id}`)
      if (status === 'FINISHED') return result
      if (status === 'INTERRUPTED') return 'INTERRUPTED'
      // A module that wants something done before it goes on (a rotation of keys, for one) waits for this.
      if (status === 'CONFIGURED' && !started) {
        started = true
        await call('POST', `runner/${id}`)
      }
      if (Date.now() > until) return 'UNKNOWN'
      await sleep(pollMs)
    }
  }

  return {
    /** Makes the plan. @returns its id and its modules */
    async create({ name, variant, config }: Plan): Promise<{ id: string; modules: readonly Module[] }> {
      return call('POST', 'plan', { planName: name, variant: JSON.stringify(variant) }, config)
    },

    /** Runs one module of a plan to its end. */
    async run(planId: string, { testModule, variant }: Module): Promise<{ id: string; result: Result }> {
      const query = { test: testModule, plan: planId, ...(variant && { variant: JSON.stringify(variant) }) }
      const { id } = await call<{ id: string }>('POST', 'runner', query)
      return { id, result: await ended(id) }
    },

    /** What a module has written down. */
    log: (id: string): Promise<readonly LogEntry[]> => call('GET', `log/${id}`),
  }
}
