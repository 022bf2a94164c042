/**
 * The order of the test files: those that take longest first. On a fresh checkout Jest knows no durations and goes by size, and
 * a long file that begins last leaves all workers but one idle.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import Sequencer from '@jest/test-sequencer'

/** Half a minute and more on two cores, longest first. */
const LONG = [
  'commands/command_line',
  'browser/gallery',
  'attacks/throttling',
  'browser/pages',
  'attacks/captcha',
  'attacks/script_payloads',
  'features/passkeys/journey',
  'attacks/enumeration',
  'races/data_keys',
  'attacks/challenges',
  'faults/stores',
  'attacks/input',
].map((name) => fileURLToPath(new URL(`../test/${name}.test.ts`, import.meta.url)))

const gone = LONG.filter((path) => !existsSync(path))
if (gone.length > 0) throw new Error(`jest_sequencer.mjs names what is not there: ${gone.join(', ')}`)

const rank = ({ path }) => LONG.indexOf(path) + 1 || LONG.length + 1

export default class LongestFirst extends Sequencer {
  async sort(tests) {
    // Sorting is stable: what is not named stays as Jest has it.
    return (await super.sort(tests)).sort((a, b) => rank(a) - rank(b))
  }
}
