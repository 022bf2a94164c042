/** The embedded database is WebAssembly: optimising its code takes longer than a test file lives. Jest runs this before each. */
import { setFlagsFromString } from 'node:v8'

for (const flag of ['--liftoff-only', '--no-wasm-tier-up', '--no-wasm-dynamic-tiering']) setFlagsFromString(flag)
