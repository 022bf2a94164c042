/**
 * The one test command: types, lint, layers and dead code side by side, then Jest. Every step runs, whatever the others said,
 * and the last line counts them all: `N passed, N failed`. Arguments go to Jest.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const BIN = join(ROOT, 'node_modules', '.bin')

const CHECKS: readonly (readonly [name: string, ...command: string[]])[] = [
  ['types', 'tsc', '--noEmit'],
  ['lint', 'biome', 'check', '--error-on-warnings'],
  ['layers', 'depcruise', '--config', 'config/dependency_cruiser.mjs', 'src', 'migrations', 'examples'],
  ['dead code', 'knip', '--config', 'config/knip.jsonc', '--no-progress'],
]

/** Jest's workers take them over. A young generation that need not grow first spares a tenth of their work. */
const NODE_FLAGS = [
  ...['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
  ...['--min-semi-space-size=16', '--max-semi-space-size=16'],
]

/** Ctrl-C reaches the running step too: it ends by itself, and so do we then. */
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted = true
  })
}

function run(command: string, values: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(command, values, { cwd: ROOT, stdio: 'inherit' })
    child.once('error', (error) => {
      process.stderr.write(`${error.message}\n`)
      resolve(false)
    })
    child.once('exit', (code) => resolve(code === 0))
  })
}

/** Runs a check and says how it went, with all that it printed at once: others run beside it. */
function check([name, command = '', ...values]: (typeof CHECKS)[number]): Promise<boolean> {
  const started = performance.now()
  return new Promise((resolve) => {
    const child = spawn(join(BIN, command), values, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (output += part))
    child.once('error', (error) => (output += `${error.message}\n`))
    child.once('close', (code) => {
      const result = `${code === 0 ? 'ok    ' : 'FAILED'} ${name} (${Math.round(performance.now() - started)} ms)\n`
      process.stdout.write(`${output}${result}`)
      resolve(code === 0)
    })
  })
}

/** Runs Jest and counts its tests; a suite that could not even start counts as one failure. */
async function jest(values: readonly string[]): Promise<{ passed: number; failed: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'genkan-jest-'))
  const result = join(folder, 'result.json')
  try {
    const flags = ['--config', 'config/jest.config.mjs', '--json', `--outputFile=${result}`]
    const ok = await run(process.execPath, [...NODE_FLAGS, join(BIN, 'jest'), ...flags, ...values])
    const counts = JSON.parse(readFileSync(result, 'utf8')) as {
      numPassedTests: number
      numFailedTests: number
      numPendingTests: number
      numRuntimeErrorTestSuites: number
    }
    // A skipped test is a failure: nothing may be left out silently.
    const failed = counts.numFailedTests + counts.numRuntimeErrorTestSuites + counts.numPendingTests
    return { passed: counts.numPassedTests, failed: ok ? failed : Math.max(1, failed) }
  } catch {
    return { passed: 0, failed: 1 }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const checked = await Promise.all(CHECKS.map(check))
let passed = checked.filter(Boolean).length
let failed = checked.length - passed
if (!interrupted) {
  const counts = await jest(process.argv.slice(2))
  passed += counts.passed
  failed += counts.failed
}
if (interrupted) failed++
process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1
