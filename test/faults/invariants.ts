/** I4 to I8, looked at while a fault lasts and after it. I1 and I2 are the journal's. */
import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Exchange } from '../support/reverse_proxy.ts'
import type { Server } from '../support/server.ts'
import type { Case } from './case.ts'
import type { Journal } from './journal.ts'
import { holdings, readiness, statusOf, type World } from './world.ts'

/** I4: nobody waits longer. */
const LONGEST_MS = 5000
/** I5: how soon after the healing. */
export const READY_MS = 10_000
const MEMORY_SLACK_MIB = 24
/** Half a minute after its start a process loads the dictionaries of passwords, or with its first registration. */
const LOADS_AFTER_MS = 40_000
const DICTIONARIES_MIB = 70

/** I4 of one exchange; undefined when there is nothing to say. */
export function judgeExchange(
  { method, path, status, milliseconds, headers, body }: Exchange,
  { cuts }: Pick<Case, 'cuts'>,
): string | undefined {
  const what = `${method} ${path.replace(/[\w-]{16,}/g, '…')}`
  if (milliseconds > LONGEST_MS) return `${what} took over 5 s (${status})`
  if (status === 0) return cuts === true ? undefined : `${what} was cut off`
  if (status < 500) return undefined
  if (status !== 503) return `${what} was answered ${status}`
  if (headers['retry-after'] === undefined) return `${what}: 503 without Retry-After`
  const type = String(headers['content-type'] ?? '')
  if (type.includes('text/html')) return judgePage(what, body)
  if (!type.includes('json')) return `${what}: 503 as ${type || 'nothing'}`
  return /"(error|code)":"temporarily_unavailable"/.test(body) ? undefined : `${what}: 503 without its code`
}

function judgePage(what: string, body: string): string | undefined {
  if (!body.includes('class="reference"')) return `${what}: 503 without a reference`
  if (!body.includes('rel="stylesheet"')) return `${what}: 503 without style`
  if (/\bat .*:\d+:\d+\b/.test(body)) return `${what}: 503 with a stack`
  return undefined
}

/** The same thing said many times is said once. */
export function gather(texts: readonly (string | undefined)[]): string[] {
  const counts = new Map<string, number>()
  for (const text of texts) if (text !== undefined) counts.set(text, (counts.get(text) ?? 0) + 1)
  return [...counts].map(([text, count]) => (count === 1 ? text : `${text} (${count} times)`))
}

export interface HealthWatch {
  /** Instances whose `/livez` failed while their process ran. */
  readonly dead: readonly string[]
  /** Whether some instance has said that it is not ready. */
  sawUnready(): boolean
  stop(): void
}

/** I5: `/livez` of every running process, all the time. */
export function watchHealth(world: World): HealthWatch {
  const dead: string[] = []
  const lived = new Set<number>()
  let unready = false
  let stopped = false
  const watch = async () => {
    while (!stopped) {
      for (const { server } of [...world.instances]) {
        const pid = server.pid()
        const [live, ready] = await Promise.all([statusOf(`${server.managementOrigin}/livez`), readiness(server)])
        if (live === 200) lived.add(pid)
        else if (lived.has(pid) && (await isStillDead(server, pid))) dead.push(`/livez was answered ${live}`)
        if (ready === 503) unready = true
      }
      await sleep(150)
    }
  }
  void watch()
  return {
    dead,
    sawUnready: () => unready,
    stop: () => {
      stopped = true
    },
  }
}

/** Not one that was killed a moment ago, or is another by now. */
async function isStillDead(server: Server, pid: number): Promise<boolean> {
  await sleep(500)
  if (server.pid() !== pid || !isRunning(pid)) return false
  return (await statusOf(`${server.managementOrigin}/livez`)) !== 200 && isRunning(pid)
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** I6: no mail twice, and no more of them than were asked for. `from`: mails that were there before. */
export async function judgeMails(
  world: World,
  { asked }: Journal,
  from: number,
  { repeats }: Pick<Case, 'repeats'>,
): Promise<string[]> {
  const seen = new Set<string>()
  const counts = new Map<string, number>()
  const wrong: string[] = []
  for (const { headers, to, subject } of (await world.mailbox.all()).slice(from)) {
    const id = headers['message-id'] ?? ''
    if (seen.has(id)) {
      if (repeats !== true) wrong.push(`the mail "${subject}" came twice`)
      continue
    }
    seen.add(id)
    for (const each of to) if (/\d{3} ?\d{3}|confirm|code/i.test(subject)) counts.set(each, (counts.get(each) ?? 0) + 1)
  }
  for (const [address, times] of asked) {
    const count = counts.get(address) ?? 0
    if (count > times) wrong.push(`${count} mails with a code after ${times} request(s)`)
  }
  return wrong
}

/** I7: lines of JSON, without what the journal knows to be secret. `from`: lines of each instance that were there before. */
export function judgeLogs(world: World, { secrets }: Journal, from: ReadonlyMap<number, number>): string[] {
  const wrong: (string | undefined)[] = []
  const phrases = [...secrets].filter((secret) => secret.includes(' '))
  for (const { server } of world.instances) {
    for (const line of server.logs().slice(from.get(server.port) ?? 0)) {
      if (phrases.some((secret) => line.includes(secret)) || words(line).some((word) => secrets.has(word)))
        wrong.push(`a secret is in the log: ${line.slice(0, 120)}`)
      if (!line.startsWith('{')) wrong.push(`a line of the log is no JSON: ${line.slice(0, 120)}`)
      else if (/"msg":"request failed"/.test(line)) wrong.push(`logged as our own fault: ${messageOf(line)}`)
    }
  }
  return gather(wrong)
}

const words = (line: string): string[] => line.match(/[\w.-]{20,}/g) ?? []

function messageOf(line: string): string {
  const { err } = JSON.parse(line) as { err?: { message?: string; code?: string } }
  return `${err?.code ?? ''} ${err?.message ?? ''}`.trim().slice(0, 200)
}

interface Baseline {
  readonly memory: number
  readonly descriptors: number
  /** Memory that it will take whatever happens. */
  readonly expected: number
}

export function holdingsOf(world: World): Map<number, Baseline> {
  return new Map(
    world.instances.map(({ server }) => {
      const pid = server.pid()
      const age = Date.now() - statSync(`/proc/${pid}`).ctimeMs
      return [pid, { ...holdings(pid), expected: age < LOADS_AFTER_MS ? DICTIONARIES_MIB : 0 }]
    }),
  )
}

/** I8: memory and descriptors of every process that was there before, within half a minute. */
export async function judgeHoldings(world: World, before: ReadonlyMap<number, Baseline>): Promise<string[]> {
  const wrong = () =>
    world.instances.flatMap(({ server }) => {
      const base = before.get(server.pid())
      if (base === undefined) return []
      const now = holdings(server.pid())
      return [
        ...(now.memory > base.memory * 1.1 + MEMORY_SLACK_MIB + base.expected
          ? [`memory went from ${Math.round(base.memory)} to ${Math.round(now.memory)} MiB`]
          : []),
        ...(now.descriptors > base.descriptors * 1.1 + 12
          ? [`descriptors went from ${base.descriptors} to ${now.descriptors}`]
          : []),
      ]
    })
  for (let tries = 0; tries < 30 && wrong().length > 0; tries++) await sleep(1000)
  return wrong()
}
