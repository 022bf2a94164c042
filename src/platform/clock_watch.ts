/**
 * Whether this process' clock is right. An instance an hour off gives tokens that others refuse, refuses theirs, and takes what
 * others have in their hands: it must not serve. But a database whose clock is wrong differs from every instance, and all of
 * them would go at once: so two others must agree against us, and with one other alone there is an alarm only.
 */

export interface ClockWatchDeps {
  readonly clock: { now(): Date }
  readonly databaseTime: () => Promise<Date>
  /** Absent without Redis: then nobody can tell who of two is wrong. */
  readonly redisTime: (() => Promise<Date>) | undefined
  readonly toleranceSeconds: number
  readonly logger: { error(facts: object, message: string): void }
}

export interface ClockWatch {
  /** Compares. Rejects when a store is away. */
  look(): Promise<void>
  /** Whether this instance is the one that is off, by the last look. */
  isWrong(): boolean
}

export function createClockWatch({
  clock,
  databaseTime,
  redisTime,
  toleranceSeconds,
  logger,
}: ClockWatchDeps): ClockWatch {
  let isWrong = false
  let told = ''
  return {
    isWrong: () => isWrong,
    async look() {
      const others = await Promise.all([databaseTime(), redisTime?.()])
      const now = clock.now().getTime()
      const [database, redis] = others.map((time) =>
        time === undefined ? 0 : Math.round((now - time.getTime()) / 1000),
      )
      const differs = (seconds = 0) => Math.abs(seconds) > toleranceSeconds
      isWrong = differs(database) && differs(redis)
      const trouble = isWrong
        ? 'this clock is wrong: the instance is not ready; synchronise clocks'
        : differs(database) || differs(redis)
          ? 'clocks differ: tokens may be refused; synchronise those of instances and stores'
          : ''
      if (trouble !== '' && trouble !== told) logger.error({ database, redis }, trouble)
      told = trouble
    },
  }
}
