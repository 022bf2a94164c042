/** How long browsers stay signed in. */
import { z } from 'zod'
import { type Parsed, seconds } from './values.ts'

export const sessionShape = {
  sessions: z
    .strictObject({ idle_seconds: seconds(8 * 3600, 60), absolute_seconds: seconds(30 * 86_400, 60) })
    .prefault({}),
}

type Settings = Parsed<typeof sessionShape>

export interface SessionConfig {
  readonly sessions: { readonly idleSeconds: number; readonly absoluteSeconds: number }
}

export function sessionsOf({ sessions }: Settings): SessionConfig {
  return { sessions: { idleSeconds: sessions.idle_seconds, absoluteSeconds: sessions.absolute_seconds } }
}

export function sessionProblems({ sessions }: Settings): string[] {
  if (sessions.idle_seconds <= sessions.absolute_seconds) return []
  return ['sessions.idle_seconds: is longer than sessions.absolute_seconds']
}
