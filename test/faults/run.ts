/**
 * `npm run test:faults`: every row of the fault table, idle and under load. `--only F02,F26` takes some, `--mode idle` one of the two,
 * `--deep` the durations and counts of the rows, `--seed N` repeats a run. Prints a table and how many rows were survived.
 */
import { installMissing } from '../support/binaries.ts'
import { generator } from '../support/sample.ts'
import { startServices } from '../support/services.ts'
import type { Case, Mode } from './case.ts'
import { CASES } from './cases/index.ts'
import { runCase, type Verdict, warmUp } from './stage.ts'
import { startWorld, until, type World, type WorldOptions } from './world.ts'

const argument = (name: string) => {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}
const only = argument('only')?.split(',')
const modes: readonly Mode[] = argument('mode') === undefined ? ['idle', 'load'] : [argument('mode') as Mode]
const deep = process.argv.includes('--deep')
const seed = Number(argument('seed') ?? Date.now() % 1_000_000)
const say = (text: string) => void process.stdout.write(`${text}\n`)

installMissing()
const services = await startServices()
let shared: World | undefined
const verdicts: Verdict[] = []
say(`seed ${seed}${deep ? ', deep' : ''}`)
try {
  for (const fault of CASES.filter(({ id }) => only === undefined || only.includes(id))) {
    for (const mode of modes) {
      const verdict = await once(fault, mode)
      verdicts.push(verdict)
      const result = verdict.wrong.length === 0 ? 'survived' : 'FAILED  '
      say(`${fault.id} ${mode}  ${result} ${String(verdict.seconds).padStart(4)} s  ${fault.title}  ${verdict.note}`)
      for (const text of verdict.wrong) say(`      ${text}`)
    }
  }
} finally {
  await shared?.close().catch(() => {})
  await services.stop()
}
summarise()
process.exit()

async function once(fault: Case, mode: Mode): Promise<Verdict> {
  let world: World | undefined
  try {
    world = fault.world === undefined ? await sharedWorld() : await warmWorld(fault.world)
    return await runCase(fault, { world, mode, deep, random: generator(seed + Number(fault.id.slice(1))) })
  } catch (error) {
    return { id: fault.id, mode, wrong: [`could not begin: ${String(error)}`], seconds: 0, note: '' }
  } finally {
    if (fault.world !== undefined) await world?.close().catch(() => {})
  }
}

async function warmWorld(options: WorldOptions): Promise<World> {
  const world = await startWorld(options)
  await warmUp(world)
  return world
}

/** What a row left broken must not be the next one's fault. */
async function sharedWorld(): Promise<World> {
  const known = shared
  if (known !== undefined) {
    const whole = await until(known.ready, 15_000, 'ready').catch(() => undefined)
    if (whole !== undefined && known.instances.length === 2) return known
    shared = undefined
    await known.close().catch(() => {})
  }
  shared = await warmWorld({})
  return shared
}

function summarise(): void {
  const ids = [...new Set(verdicts.map(({ id }) => id))]
  say('')
  for (const id of ids) {
    const of = verdicts.filter((verdict) => verdict.id === id)
    const marks = of.map(({ mode, wrong }) => `${mode} ${wrong.length === 0 ? 'survived' : 'FAILED'}`)
    say(`${id}  ${marks.join('  ')}  ${CASES.find((each) => each.id === id)?.title}`)
  }
  const survived = ids.filter((id) => verdicts.every((verdict) => verdict.id !== id || verdict.wrong.length === 0))
  const rows = only === undefined ? CASES.length : ids.length
  say(`\nsurvived ${survived.length} / ${rows}`)
  process.exitCode = survived.length === rows ? 0 : 1
}
