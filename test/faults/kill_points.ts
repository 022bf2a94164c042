/** A process that dies in the middle of an act, at any of the points where it says something to a store. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Stage } from './case.ts'
import { attempt, type End } from './cases/attempt.ts'
import { type Instance, readiness, until } from './world.ts'

export interface Flow<Prepared> {
  readonly name: string
  prepare(stage: Stage): Promise<Prepared>
  /** What the process dies in. */
  act(stage: Stage, prepared: Prepared): Promise<unknown>
  /** Looks at what is left; another instance serves. */
  probe(stage: Stage, prepared: Prepared, end: End<unknown>): Promise<void>
  /** Points that are tried besides random ones: what is said to Redis or PostgreSQL right there. */
  readonly patterns?: readonly { readonly store: 'redis' | 'postgres'; readonly pattern: RegExp }[]
}

interface Point {
  readonly store: 'redis' | 'postgres'
  readonly fault:
    | { readonly kind: 'hold'; readonly pattern: RegExp }
    | { readonly kind: 'hold_nth'; readonly nth: number }
  /** Whether what was held still arrives: the network had it, or the process never wrote it. */
  readonly arrives: boolean
}

/** Kills at the named points and at `count` random ones. */
export async function killIn<Prepared>(stage: Stage, flow: Flow<Prepared>, count: number): Promise<void> {
  const said = await listen(stage, flow)
  const named = (flow.patterns ?? []).flatMap(({ store, pattern }) =>
    [true, false].map((arrives): Point => ({ store, fault: { kind: 'hold', pattern }, arrives })),
  )
  const random = Array.from({ length: stage.quick ? 1 : count }, () => pointIn(stage, said))
  let turn = 0
  for (const point of [...(stage.quick ? named.slice(0, 1) : named), ...random]) {
    const victim = stage.world.instances[turn++ % stage.world.instances.length]
    if (victim === undefined) throw new Error('nobody to kill')
    await killOnce(stage, flow, victim, point)
  }
  await until(stage.world.ready, 30_000, 'ready again')
}

/** How much the act says to each store, when nobody dies. */
async function listen<Prepared>(stage: Stage, flow: Flow<Prepared>): Promise<{ redis: number; postgres: number }> {
  const { world } = stage
  const prepared = await flow.prepare(stage)
  const [first] = world.instances
  if (first === undefined) throw new Error('nobody to listen to')
  world.route(first)
  for (const store of ['redis', 'postgres'] as const) first[store].set({ kind: 'none' })
  const end = await attempt(flow.act(stage, prepared))
  const said = { redis: first.redis.requests(), postgres: first.postgres.requests() }
  world.route()
  stage.check(end.error === undefined, `${flow.name}, and nobody died: ${end.error}`)
  return said
}

function pointIn(stage: Stage, said: { redis: number; postgres: number }): Point {
  const at = Math.floor(stage.random() * (said.redis + said.postgres)) + 1
  const arrives = stage.random() < 0.5
  if (at <= said.redis) return { store: 'redis', fault: { kind: 'hold_nth', nth: at }, arrives }
  return { store: 'postgres', fault: { kind: 'hold_nth', nth: at - said.redis }, arrives }
}

async function killOnce<Prepared>(stage: Stage, flow: Flow<Prepared>, victim: Instance, point: Point): Promise<void> {
  const { world } = stage
  await until(async () => (await readiness(victim.server)) === 200, 30_000, 'the victim is up')
  const prepared = await flow.prepare(stage)
  world.route(victim)
  const proxy = victim[point.store]
  proxy.set(point.fault)
  const acting = attempt(flow.act(stage, prepared))
  await Promise.race([proxy.caught(), acting, sleep(3000)])
  await victim.server.kill()
  victim.up = false
  world.route()
  if (point.arrives) proxy.release()
  else proxy.drop()
  const end = await acting
  const restarted = victim.server.restart()
  const what = `${flow.name}, killed at ${point.store} ${describe(point)}`
  try {
    await flow.probe({ ...stage, check: (ok, otherwise) => stage.check(ok, `${what}: ${otherwise}`) }, prepared, end)
  } catch (error) {
    stage.check(false, `${what}: ${String(error)}`)
  }
  await restarted
}

function describe({ fault, arrives }: Point): string {
  const where = fault.kind === 'hold' ? String(fault.pattern) : `message ${fault.nth}`
  return `${where} (${arrives ? 'which arrived' : 'which did not arrive'})`
}
