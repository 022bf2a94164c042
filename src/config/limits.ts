/** How often the same may be asked for, by whom. */
import { z } from 'zod'
import { count, type Parsed, seconds } from './values.ts'

export const limitShape = {
  limits: z
    .strictObject({
      sign_in_per_address: count(100),
      sign_in_per_identifier: count(10),
      sign_in_per_device: count(10),
      sign_in_per_subnet: count(500),
      sign_in_per_asn: count(1500),
      sign_in_per_client: count(2500),
      sign_in_in_all: count(10_000),
      requests_per_address: count(60),
      requests_per_subnet: count(300),
      requests_per_asn: count(900),
      requests_per_client: count(1500),
      requests_in_all: count(6000),
      challenge_at_percent: z.coerce.number().int().min(1).max(100).default(50),
      window_seconds: seconds(600),
      client_requests: z.coerce.number().int().positive().optional(),
      client_seconds: seconds(60).pipe(z.number().max(86_400)),
      client_tokens_per_day: z.coerce.number().int().positive().optional(),
    })
    .prefault({}),
}

interface Budgets {
  readonly address: number
  readonly subnet: number
  /** From so many in the window on, everybody who comes from the autonomous system shows a proof of work. */
  readonly asn: number
  /** The same for everybody who comes by the client, or by any. */
  readonly client: number
  readonly all: number
}

export interface LimitConfig {
  readonly limits: {
    readonly windowSeconds: number
    /** At which part of a limit a proof of work is asked for; 100: never. */
    readonly challengeAtPercent: number
    /** Tries at one identifier, and from a device that its account knows; failures of the others. */
    readonly signIn: Budgets & { readonly identifier: number; readonly device: number }
    /** Registrations, and recoveries. */
    readonly request: Budgets
    /** What a client may ask that has no limits of its own; without a number, as much as it likes. */
    readonly client: {
      readonly requests: number | undefined
      readonly seconds: number
      readonly tokensPerDay: number | undefined
    }
  }
}

export function limitsOf({ limits }: Parsed<typeof limitShape>): LimitConfig {
  return {
    limits: {
      windowSeconds: limits.window_seconds,
      challengeAtPercent: limits.challenge_at_percent,
      signIn: {
        identifier: limits.sign_in_per_identifier,
        device: limits.sign_in_per_device,
        address: limits.sign_in_per_address,
        subnet: limits.sign_in_per_subnet,
        asn: limits.sign_in_per_asn,
        client: limits.sign_in_per_client,
        all: limits.sign_in_in_all,
      },
      request: {
        address: limits.requests_per_address,
        subnet: limits.requests_per_subnet,
        asn: limits.requests_per_asn,
        client: limits.requests_per_client,
        all: limits.requests_in_all,
      },
      client: {
        requests: limits.client_requests,
        seconds: limits.client_seconds,
        tokensPerDay: limits.client_tokens_per_day,
      },
    },
  }
}
