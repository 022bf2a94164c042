/** Jest runs this once before all test files, in its main process: workers inherit the environment that it leaves. */
import { startServices } from './services.ts'

export default async function setup(): Promise<void> {
  const services = await startServices()
  Object.assign(globalThis, { stopServices: services.stop })
}
