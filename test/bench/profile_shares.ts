/** Self times of a CPU profile by the owner of the code. */

/** The parts of V8's format that matter here; times in µs. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly startTime: number
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

export interface Share {
  readonly group: string
  readonly name: string
  readonly at: string
  /** Of the busy time, 0 to 1. */
  readonly share: number
}

const OTHER = 'other packages'
const NODE = 'node internals'
export const GROUPS = ['own', 'oidc-provider', 'koa', 'ioredis', 'pg', 'jose', OTHER, NODE, 'gc', 'native']

const PACKAGES: readonly (readonly [group: string, names: RegExp])[] = [
  ['oidc-provider', /^oidc-provider$/],
  ['koa', /^(koa|koa-.*|@koa\/.*|cookies|keygrip|raw-body|co-body|http-errors|on-finished|type-is|accepts)$/],
  ['ioredis', /^(ioredis|@ioredis\/.*|redis-parser|redis-errors|standard-as-callback|denque|cluster-key-slot)$/],
  ['pg', /^(pg|pg-.*|postgres-.*|knex|tarn)$/],
  ['jose', /^jose$/],
]

/** Who the code of a frame belongs to; undefined when nothing ran. */
export function groupOf(functionName: string, url: string): string | undefined {
  if (functionName === '(idle)') return undefined
  if (functionName === '(garbage collector)') return 'gc'
  if (functionName === '(program)' || functionName === '(root)') return 'native'
  if (url === '' || url.startsWith('node:')) return NODE
  const name = packageOf(url)
  if (name === undefined) return 'own'
  return PACKAGES.find(([, names]) => names.test(name))?.[0] ?? OTHER
}

function packageOf(url: string): string | undefined {
  return /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1]
}

/** Of the samples between two times of the monotonic clock. */
export function sharesOf({ nodes, startTime, samples, timeDeltas }: CpuProfile, from: number, to: number) {
  const byId = new Map(nodes.map((node) => [node.id, node.callFrame]))
  const taken = new Map<string, { group: string; name: string; at: string; time: number }>()
  const groups = new Map<string, number>()
  let at = startTime
  let busy = 0
  samples.forEach((id, index) => {
    at += timeDeltas[index] ?? 0
    const frame = byId.get(id)
    // A sample stands for the time until the next one.
    const time = timeDeltas[index + 1] ?? 0
    if (frame === undefined || at < from || at >= to) return
    const group = groupOf(frame.functionName, frame.url)
    if (group === undefined) return
    busy += time
    groups.set(group, (groups.get(group) ?? 0) + time)
    const place = placeOf(frame.url, frame.lineNumber)
    const key = `${frame.functionName} ${place}`
    const known = taken.get(key) ?? { group, name: frame.functionName || '(anonymous)', at: place, time: 0 }
    known.time += time
    taken.set(key, known)
  })
  const functions = [...taken.values()]
    .map(({ time, ...rest }): Share => ({ ...rest, share: time / busy }))
    .sort((a, b) => b.share - a.share)
  return { busy, functions, groups: new Map([...groups].map(([group, time]) => [group, time / busy])) }
}

/** All of the time in which something ran. */
export function busyOf(profile: CpuProfile): number {
  return sharesOf(profile, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY).busy
}

function placeOf(url: string, line: number): string {
  if (url === '' || url.startsWith('node:')) return url
  const path = url.slice(url.lastIndexOf('/node_modules/') + 1)
  const own = path === url ? url.replace(/^.*\/(src|migrations|dist)\//, '$1/') : path.replace('node_modules/', '')
  return `${own}:${line + 1}`
}
