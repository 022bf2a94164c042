/** `npm run bench`: what it can do is in options.ts and printed by `--help`. */
import { existsSync, readFileSync } from 'node:fs'
import { startServices } from '../support/services.ts'
import { toHtml } from './html.ts'
import { describeMachine, loadNow, type Machine } from './machine.ts'
import { help, type Options, parseOptions } from './options.ts'
import { broken, type Context, type Part } from './part.ts'
import { count } from './parts/counts.ts'
import { PARTS } from './parts.ts'
import { measurePeer } from './peer.ts'
import { profileFlows } from './profile.ts'
import { gatesSentence, partToMarkdown, toMarkdown } from './report.ts'
import { merge, type PartResult, readResult, writeFile } from './results.ts'

const BENCHMARKS = new URL('../../BENCHMARKS.md', import.meta.url).pathname

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function readOptions(): Options {
  try {
    return parseOptions(process.argv.slice(2), (path) => readFileSync(path, 'utf8'))
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
    process.exit(2)
  }
}

async function main(options: Options): Promise<number> {
  if (options.help) {
    say(help())
    return 0
  }
  const context: Context = { quick: options.quick, cores: options.cores, arrivals: options.arrivals, say }
  if (options.peer !== undefined) {
    say(await measurePeer(options.peer, options.quick))
    return 0
  }
  const services = await startServices()
  try {
    if (options.counts) await showCounts(context)
    else if (options.profile) say(await profileFlows(context))
    else return await measureParts(context, options)
    return 0
  } finally {
    await services.stop()
  }
}

async function showCounts(context: Context): Promise<void> {
  for (const { name, bare, ours } of await count(context)) {
    say(`${name}: ${ours.requests} requests, Redis ${ours.redis} (bare ${bare.redis}), SQL ${ours.sql}`)
    for (const sent of ours.trace) say(`    ${sent}`)
  }
}

async function measureParts(context: Context, { only, quick, json, html, gate }: Options): Promise<number> {
  const machine = await describeMachine()
  const wanted = PARTS.filter(({ name }) => only.length === 0 || only.includes(name))
  const done: PartResult[] = []
  const failed: string[] = []
  for (const part of wanted) {
    const { name, minutes } = part
    say(`${name}: about ${Math.round(60 * (quick ? minutes.quick : minutes.full))} s`)
    try {
      const result = await measurePart(part, context, machine)
      say(`\n${partToMarkdown(result)}\n`)
      done.push(result)
      // After each part: what was measured is not lost with a later one.
      save(done, { json, html, quick })
    } catch (error) {
      failed.push(name)
      say(`\n${name} failed: ${error instanceof Error ? error.stack : error}\n`)
    }
  }
  const gates = done.flatMap(({ findings }) => findings.gates)
  say(gatesSentence(gates))
  if (failed.length > 0) say(`Not measured, because of faults: ${failed.join(', ')}.`)
  return failed.length > 0 || (gate && broken(gates).length > 0) ? 1 : 0
}

async function measurePart(part: Part, context: Context, machine: Machine): Promise<PartResult> {
  const { name, title, what } = part
  const [loadBefore, began] = [loadNow(), performance.now()]
  const findings = await part.run(context)
  const tookSeconds = (performance.now() - began) / 1000
  const measuredAt = new Date().toISOString()
  return { name, title, what, quick: context.quick, measuredAt, tookSeconds, loadBefore, machine, findings }
}

function save(done: readonly PartResult[], { json, html, quick }: Pick<Options, 'json' | 'html' | 'quick'>): void {
  const names = PARTS.map(({ name }) => name)
  const result = merge(readResult(json), done, names)
  writeFile(json, `${JSON.stringify(result, null, 1)}\n`)
  writeFile(html, toHtml(result))
  const complete = names.every((name) => result.parts.some((part) => part.name === name && !part.quick))
  if (quick || !complete) return
  writeFile(BENCHMARKS, toMarkdown(result, existsSync(BENCHMARKS) ? readFileSync(BENCHMARKS, 'utf8') : ''))
}

function told(error: unknown): number {
  process.stderr.write(`${error instanceof Error ? error.stack : error}\n`)
  return 1
}

const options = readOptions()
process.exit(await main(options).catch(told))
