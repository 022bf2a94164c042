/**
 * The order of the test files: those that take longest first. On a fresh checkout Jest knows no durations and goes by size, and
 * a long file that begins last leaves all workers but one idle.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import Sequencer from '@jest/test-sequencer'

/** Half a minute and more on two cores, longest first (of a deep run: gallery, throttling, script_payloads, walks). */
const LONG = [
  'attacks/captcha',
  'browser/gallery',
  'features/passkeys/journey',
  'attacks/script_payloads',
  'commands/command_line',
  'attacks/throttling',
  'browser/pages',
  'attacks/enumeration',
  'platform/sealing_migrations',
  'attacks/input',
  'commands/backup',
  'examples/demo',
  'platform/key_value',
  'races/data_keys',
  'interaction/walks',
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
