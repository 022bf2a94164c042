/** Thousands of connections that do nothing or say one byte at a time: do others notice? */
import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { entrust } from '../../support/services.ts'
import { lateNote, latencyPlot, onGround, reasonsOf, stream, streamTable, TOKENS } from '../ground.ts'
import type { HeldSockets } from '../held_sockets.ts'
import { atMost, type Part } from '../part.ts'
import { behind, pinned, placementNote } from '../processes.ts'
import { median, sum } from '../statistics.ts'
import type { StreamResult } from '../tally.ts'

const BUSY = 0.3
const SETTLE_MS = 2000

export const SOCKETS: Part = {
  name: 'sockets',
  title: 'Idle and slow connections',
  what: '200 connections that send a header one byte a second and 5,000 that send nothing, all opened again whenever the server closes them, beside token requests for 30 % of the CPU.',
  minutes: { full: 2.5, quick: 0.5 },
  run: (context) => {
    const lanes = context.quick ? 12 : 60
    const wanted = context.quick ? { slow: 20, idle: 500 } : { slow: 200, idle: 5000 }
    return onGround(context, { scenarios: TOKENS.map((scenario) => ({ scenario, lanes })) }, async (ground) => {
      const { generator, genkan, place } = ground
      const tokens = stream(context, 'tokens', TOKENS, (BUSY * ground.cpus * 1_000_000) / (await ground.cost(TOKENS)))
      const seconds = context.quick ? 4 : 20
      // What a young process does once is over before anything counts: a stall in the quiet would flatter the ratio.
      await generator.run([tokens], seconds)
      const quiet: StreamResult[] = []
      const beside: StreamResult[] = []
      let held: HeldSockets = { open: 0, slowClosed: [], idleClosed: 0, refused: 0 }
      for (let round = 0; round < (context.quick ? 1 : 3); round++) {
        quiet.push(...(await generator.run([tokens], seconds)))
        const holder = await holdSockets({ port: Number(new URL(genkan.origin).port), ...wanted }, place.generator)
        beside.push(...(await generator.run([tokens], seconds)))
        held = await holder.stop()
        // What it leaves is closed before the next quiet.
        await sleep(SETTLE_MS)
      }
      const p99 = (results: readonly StreamResult[]) => median(results.map(({ done }) => done.p99))
      const wrong = sum(beside.map(({ failed, broken, refused }) => failed + broken + refused.count))
      return {
        tables: [
          streamTable([
            ...quiet.map((result) => ['tokens, quiet', result] as const),
            ...beside.map((result) => [`tokens beside ${wanted.slow + wanted.idle} connections`, result] as const),
          ]),
        ],
        gates: [
          atMost('token p99 beside the connections to quiet', p99(beside) / p99(quiet), 1.2),
          atMost('token requests that failed, were refused or unanswered', wrong, 0, 'count', 'requests'),
        ],
        plots: [
          latencyPlot('Token p99 by second, last round', [
            ...quiet.slice(-1).map((result) => ['quiet', result] as const),
            ...beside.slice(-1).map((result) => ['beside the connections', result] as const),
          ]),
        ],
        notes: [
          `At the end ${held.open} of them were open. ${slowNote(held)} ${held.idleClosed} of the silent ones were closed, ${held.refused} connections were refused.`,
          placementNote(place),
          ...lateNote([...quiet, ...beside]),
          ...reasonsOf(beside),
        ],
      }
    })
  },
}

function slowNote({ slowClosed }: HeldSockets): string {
  return slowClosed.length === 0
    ? 'None of the slow ones was closed in this time.'
    : `${slowClosed.length} of the slow ones were closed, after ${(median(slowClosed) / 1000).toFixed(1)} s (median).`
}

/** In a process of their own: thousands of sockets would slow the generator. */
async function holdSockets(wanted: { port: number; slow: number; idle: number }, cpus: string | undefined) {
  const script = fileURLToPath(new URL('../held_sockets.ts', import.meta.url))
  const args = ['--disable-warning=ExperimentalWarning', script, wanted.port, wanted.slow, wanted.idle].map(String)
  const [command, all] = behind(...pinned(cpus, process.execPath, args))
  const child = spawn(command, all, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const release = await entrust(child.pid ?? 0)
  const message = () => new Promise<HeldSockets>((resolve) => child.once('message', resolve))
  await message()
  return {
    stop: async (): Promise<HeldSockets> => {
      const said = message()
      child.send('stop')
      const held = await said
      await release()
      return held
    },
  }
}
