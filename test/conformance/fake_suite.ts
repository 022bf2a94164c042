/** A small stand-in of the conformance suite: its REST interface. */
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { PlanConfig } from './plans.ts'
import type { LogEntry, Module, Result } from './suite.ts'

export interface Played {
  readonly result: Result
  readonly log?: readonly LogEntry[]
  /** Whether it waits to be told to begin. */
  readonly waits?: boolean
}

export interface FakeSuiteOptions {
  /** The token that requests have to show. */
  readonly token: string
  readonly modulesOf: (planName: string) => readonly Module[]
  readonly play: (module: Module, config: PlanConfig) => Promise<Played>
}

export interface FakeSuite {
  readonly url: string
  /** What plans were made with, by the suite's names. */
  readonly plans: readonly { readonly name: string; readonly variant: unknown; readonly config: PlanConfig }[]
  stop(): Promise<void>
}

interface Instance {
  state: 'CONFIGURED' | 'RUNNING' | 'FINISHED'
  played: Played | undefined
}

export async function startFakeSuite({ token, modulesOf, play }: FakeSuiteOptions): Promise<FakeSuite> {
  const plans: { name: string; variant: unknown; config: PlanConfig }[] = []
  const instances: Instance[] = []

  function begin(query: URLSearchParams): object {
    const plan = plans[Number(query.get('plan'))]
    const module = { testModule: query.get('test') ?? '', variant: JSON.parse(query.get('variant') ?? '{}') }
    if (plan === undefined) throw new Error('no such plan')
    const instance: Instance = { state: 'RUNNING', played: undefined }
    const failed = (error: unknown): Played => ({ result: 'FAILED', log: [{ msg: String(error), result: 'FAILURE' }] })
    void play(module, plan.config)
      .catch(failed)
      .then((played) => {
        Object.assign(instance, { played, state: played.waits === true ? 'CONFIGURED' : 'FINISHED' })
      })
    return { id: String(instances.push(instance) - 1), name: module.testModule }
  }

  async function answer(request: IncomingMessage, { pathname, searchParams }: URL): Promise<unknown> {
    const [, , kind, id] = pathname.split('/')
    const instance = id === undefined ? undefined : instances[Number(id)]
    if (request.method === 'POST' && kind === 'plan') {
      const config = JSON.parse((await buffer(request)).toString()) as PlanConfig
      const name = searchParams.get('planName') ?? ''
      const index = plans.push({ name, variant: JSON.parse(searchParams.get('variant') ?? 'null'), config }) - 1
      return { id: String(index), modules: modulesOf(name) }
    }
    if (request.method === 'POST' && kind === 'runner' && id === undefined) return begin(searchParams)
    if (instance === undefined) return undefined
    if (request.method === 'POST' && kind === 'runner') {
      instance.state = 'FINISHED'
      return {}
    }
    if (kind === 'info') return { status: instance.state, result: instance.played?.result }
    return kind === 'log' ? (instance.played?.log ?? []) : undefined
  }

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '', 'http://suite')
    if (request.headers.authorization !== `Bearer ${token}`) {
      response.writeHead(401).end('who are you?')
      return
    }
    const body = await answer(request, url).catch((error: unknown) => ({ error: String(error) }))
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body ?? {}))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    plans,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
