/** How Node runs the product in tests. */
import { fileURLToPath } from 'node:url'

const DATE_SHIFT = fileURLToPath(new URL('date_shift.ts', import.meta.url))
const KEEP_COMPILED = fileURLToPath(new URL('keep_compiled.ts', import.meta.url))
/** Starting the product is half compiling; the cache is checked against the sources. */
export const COMPILE_CACHE = fileURLToPath(new URL('../../node_modules/.cache/genkan/compiled', import.meta.url))

// The embedded database is WebAssembly: optimising it takes longer than a test's server lives. Our modules have no symbolic
// links: not looking for them in the path of each of 1,400 files is an eighth of a start. A young generation that need
// not grow first spares a tenth of the work of processes that live for seconds.
export const NODE_ARGUMENTS = [
  ...['--disable-warning=ExperimentalWarning', '--liftoff-only', '--preserve-symlinks', '--preserve-symlinks-main'],
  ...['--min-semi-space-size=16', '--max-semi-space-size=16'],
  ...['--import', DATE_SHIFT],
]
// A command ends by itself and keeps what it compiled.
export const SERVER_ARGUMENTS = [...NODE_ARGUMENTS, '--import', KEEP_COMPILED]
