/** What is done when more is asked for than the machine can take. */
import { z } from 'zod'
import { count, type Parsed } from './values.ts'

export const loadShape = {
  overload: z
    .union([
      z.literal(false),
      z.strictObject({
        max_in_flight: count(400),
        loop_delay_ms: z.coerce.number().int().min(20).max(10_000).default(100),
      }),
    ])
    .prefault({}),
  waiting_room: z.strictObject({ sign_ins_per_second: z.coerce.number().min(0.1).max(10_000) }).optional(),
}

export interface LoadConfig {
  /** When requests are turned away, the least urgent first; absent: never. */
  readonly overload: { readonly maxInFlight: number; readonly loopDelayMs: number } | undefined
  /** How many sign-ins may begin in each process, from the start; absent: as many as it turns out to take. */
  readonly waitingRoom: { readonly signInsPerSecond: number } | undefined
}

export function loadOf({ overload, waiting_room: room }: Parsed<typeof loadShape>): LoadConfig {
  return {
    overload:
      overload === false ? undefined : { maxInFlight: overload.max_in_flight, loopDelayMs: overload.loop_delay_ms },
    waitingRoom: room && { signInsPerSecond: room.sign_ins_per_second },
  }
}
