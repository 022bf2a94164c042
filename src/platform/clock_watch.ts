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
  /**
   * Whether it may take what is due by its clock. One that was set since the last look is compared again first, as before the
   * first look: an hour ahead, it would take what others have in their hands, and a mail would go out twice (F34). False when
   * that cannot be told.
   */
  mayTake(): Promise<boolean>
}

/** By how much a clock must leave the steady one to count as set. */
const SET_MS = 1000

export function createClockWatch({
  clock,
  databaseTime,
  redisTime,
  toleranceSeconds,
  logger,
}: ClockWatchDeps): ClockWatch {
  let isWrong = false
  let told = ''
  const ahead = () => clock.now().getTime() - performance.now()
  let lookedAhead: number | undefined

  async function look(): Promise<void> {
    const others = await Promise.all([databaseTime(), redisTime?.()])
    const now = clock.now().getTime()
    lookedAhead = ahead()
    const [database, redis] = others.map((time) => (time === undefined ? 0 : Math.round((now - time.getTime()) / 1000)))
    const differs = (seconds = 0) => Math.abs(seconds) > toleranceSeconds
    isWrong = differs(database) && differs(redis)
    const trouble = isWrong
      ? 'this clock is wrong: the instance is not ready; synchronise clocks'
      : differs(database) || differs(redis)
        ? 'clocks differ: tokens may be refused; synchronise those of instances and stores'
        : ''
    if (trouble !== '' && trouble !== told) logger.error({ database, redis }, trouble)
    told = trouble
  }

  return {
    look,
    isWrong: () => isWrong,
    async mayTake() {
      if (lookedAhead !== undefined && Math.abs(ahead() - lookedAhead) < SET_MS) return !isWrong
      return look().then(
        () => !isWrong,
        () => false,
      )
    },
  }
}
