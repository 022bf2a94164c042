/** Time as an argument: rules and stores receive a clock, so that tests can move it and "now" is one value per act. */

export interface Clock {
  now(): Date
}

/** The clock of the machine. */
export const systemClock: Clock = { now: () => new Date() }
