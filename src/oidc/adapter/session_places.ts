/**
 * Sessions that their `uid` does not lead to. In a cluster a session and where it is are known at two masters, and one that takes
 * over may lack the last writes of the one that died: the browser would stay signed in, but no code or token that hangs on its session
 * would be found, and no end that is asked for by `uid` would reach it. Whoever writes the session notices, and puts it right.
 */
import { type DoubtDeps, isStanding } from './doubt.ts'
import type { OidcStore, Payload } from './store.ts'

/** A store whose sessions are led to again when they are written. One that has ended, by SQL, is destroyed and not written. */
export function bringingBack(store: OidcStore, deps: Pick<DoubtDeps, 'sessionStands'>): OidcStore {
  const bringBack = async (id: string, session: Payload, ttl: number): Promise<'there' | 'elsewhere' | 'ended'> => {
    const uid = String(session.uid)
    const isThere = await store.leadToSession(uid, id, ttl)
    // Asked after that: an end which is stated later finds it.
    if (await isStanding(session, deps)) return isThere ? 'there' : 'elsewhere'
    await store.destroySession(uid)
    await store.destroy('Session', id)
    return 'ended'
  }
  return {
    ...store,
    async swapSession(place, expected, payload, ttl) {
      const answer = await store.swapSession(place, expected, payload, ttl)
      if (answer !== 'astray' || 'uid' in place) return answer
      // Elsewhere: another request moves it at this moment, and takes with it what was written here.
      return (await bringBack(place.id, payload, ttl)) === 'ended' ? 'no' : answer
    },
    async moveSession(oldId, id, payload, ttl) {
      const old = await store.moveSession(oldId, id, payload, ttl)
      if (old !== undefined || (await bringBack(oldId, payload, ttl)) !== 'there') return old
      return store.moveSession(oldId, id, payload, ttl)
    },
  }
}
