/**
 * What is remembered of an interaction beside the engine's record, which goes when it expires: the client, so that an
 * expired or bookmarked page still knows the way back, and the moment of its opening, so that a browser that comes without
 * the cookie we have just set is told so instead of being sent in a loop.
 */
import { sha256 } from '../platform/ids.ts'
import type { KeyValue } from '../platform/key_value.ts'

export interface InteractionHint {
  readonly clientId: string
  /** Opened so recently that the cookie must still be there, were cookies accepted. */
  readonly fresh: boolean
}

export interface InteractionHints {
  /** To be awaited when the engine opens an interaction, before its redirect is sent. */
  opened(uid: string, clientId: string): Promise<void>
  find(uid: string): Promise<InteractionHint | undefined>
}

const HINT_SECONDS = 86_400
const FRESH_MS = 60_000

export function createInteractionHints(deps: {
  readonly kv: Pick<KeyValue, 'get' | 'set'>
  readonly clock: { now(): Date }
}): InteractionHints {
  const { kv, clock } = deps
  // The uid is the value of the interaction's cookies: a copy of the store must not hold it (A110).
  const key = (uid: string) => `interaction:${sha256(uid)}`
  return {
    opened: (uid, clientId) => kv.set(key(uid), `${clock.now().getTime()} ${clientId}`, HINT_SECONDS),
    async find(uid) {
      const value = await kv.get(key(uid))
      if (value === undefined) return undefined
      const [at, ...clientId] = value.split(' ')
      return { clientId: clientId.join(' '), fresh: clock.now().getTime() - Number(at) < FRESH_MS }
    },
  }
}
