/** Jest runs this once before all test files, in its main process: workers inherit the environment that it leaves. */
import { chmodSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { installMissing } from './binaries.ts'
import { startServices, warmUp } from './services.ts'

export default async function setup(): Promise<void> {
  // Here and not when first asked: it may take longer than a test may.
  installMissing()
  const services = await startServices()
  await warmUp()
  // Whatever a test leaves in the temporary folder goes with the run.
  const temporary = join(dirname(services.socket), 'tmp')
  mkdirSync(temporary)
  chmodSync(temporary, 0o1777)
  process.env.TMPDIR = temporary
  Object.assign(globalThis, { stopServices: services.stop })
}
