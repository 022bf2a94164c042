/**
 * Preloaded into a server under test (`node --import`): its `Date` is ahead by as many milliseconds as the file
 * `GENKAN_TEST_CLOCK` says, which the test may change at any time; the variable, too, from one server to the next. Timers and the stores' own clocks are untouched.
 */
import { readFileSync } from 'node:fs'

const EVERY_MS = 20
const RealDate = Date
let offset = 0
let readAt = Number.NEGATIVE_INFINITY

function now(): number {
  if (performance.now() - readAt >= EVERY_MS) {
    readAt = performance.now()
    try {
      offset = Number(readFileSync(process.env.GENKAN_TEST_CLOCK ?? '', 'utf8')) || 0
    } catch {
      offset = 0
    }
  }
  return RealDate.now() + offset
}

globalThis.Date = new Proxy(RealDate, {
  construct: (target, values: ConstructorParameters<typeof Date> | [], newTarget) =>
    Reflect.construct(
      target,
      values.length === 0 ? [now()] : values,
      newTarget === globalThis.Date ? target : newTarget,
    ),
  apply: () => new RealDate(now()).toString(),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
})
