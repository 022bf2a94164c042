/**
 * Writes of the engine's Session. The engine reads it whole at the begin of a request, changes it, and writes it whole at the
 * end: of two requests of one browser the later would undo what the earlier has written, and a client would lose the sign-in
 * that its refresh token hangs on. So each write is a compare-and-set of the session's `revision`, and who comes second adds
 * what they have changed to what is there by then. A session that has ended meanwhile stays ended.
 */
import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { errors } from 'oidc-provider'
import type { OidcStore, Payload, SessionPlace } from './store.ts'

/** What a Session object knows of the record it came from. It goes with the object and is never stored. */
export interface SessionMemory {
  /** The session as this request has it from the store; absent of a new one. */
  base?: Payload
  /** The revision to compare; absent when the store is known to hold more than `base`. */
  revision?: string | undefined
  /** The id that the one at hand replaces. */
  oldId?: string | undefined
  /** Whether the session is no longer under the id at hand: it has another, or has ended. */
  isElsewhere?: boolean
}

/** Each attempt that fails is another's that did not: so many requests of one session at one moment are no browser. */
const ATTEMPTS = 100

/** A found session with the memory of how it was found. */
export function remembered<Found extends Payload>(found: Found | undefined): Found | undefined {
  if (found === undefined) return undefined
  const { revision, ...rest } = found
  const memory: SessionMemory = { base: snapshot(rest), revision: revision as string | undefined }
  return { ...rest, memory } as unknown as Found
}

type Write = (id: string, payload: Payload, ttl: number) => Promise<void>

/** Builds the write of a Session, which also tells its `memory` what became of it. */
export function createSessionWriter(store: OidcStore): Write {
  return async (id, { memory: given, ...ours }, ttl) => {
    const memory = (given ?? {}) as SessionMemory
    const { base, revision, oldId } = memory
    const written = newRevision()
    const payload = { ...ours, revision: written }
    const conflict = { base: base ?? {}, ours, ttl, uid: String(ours.uid) }
    memory.base = snapshot(ours)
    memory.revision = written
    if (base === undefined || base.uid !== ours.uid) {
      await store.save('Session', id, payload, ttl)
      if (oldId !== undefined) await store.destroy('Session', oldId)
    } else if (oldId !== undefined) {
      const old = await store.moveSession(oldId, id, payload, ttl)
      if (old === undefined) await addTo(store, undefined, conflict, memory)
      // Somebody has written it between our reading and our moving it.
      else if (revision === undefined || old.revision !== revision) {
        await addTo(store, id, { ...conflict, ours: merge(conflict.base, ours, old) }, memory)
      }
    } else if (revision === undefined || (await store.swapSession({ id }, revision, payload, ttl)) === 'no') {
      await addTo(store, id, conflict, memory)
    }
  }
}

interface Conflict {
  readonly base: Payload
  readonly ours: Payload
  readonly uid: string
  readonly ttl: number
}

/** Adds what we have changed to what is there by now: under our id or, when another request has changed that, by the `uid`. */
async function addTo(store: OidcStore, id: string | undefined, of: Conflict, memory: SessionMemory): Promise<void> {
  const { base, ours, uid, ttl } = of
  memory.revision = undefined
  let place: SessionPlace = id === undefined ? { uid } : { id }
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    let theirs = 'id' in place ? await store.find('Session', place.id) : await store.findByUid(uid)
    if (theirs === undefined && 'id' in place) {
      place = { uid }
      theirs = await store.findByUid(uid)
    }
    memory.isElsewhere = 'uid' in place
    if (theirs === undefined) return
    const { revision: expected, ...found } = theirs
    const merged = merge(base, ours, found)
    if (typeof expected !== 'string') return writeUnmarked(store, place, { ...merged, revision: newRevision() }, ttl)
    if (isDeepStrictEqual({ ...merged, ...TIMES }, { ...found, ...TIMES })) return
    if ((await store.swapSession(place, expected, { ...merged, revision: newRevision() }, ttl)) !== 'no') return
  }
  throw new errors.TemporarilyUnavailable('the session is written by too many requests at once')
}

/** A session from before there were revisions gets one. */
async function writeUnmarked(store: OidcStore, place: SessionPlace, payload: Payload, ttl: number): Promise<void> {
  if ('id' in place) await store.save('Session', place.id, payload, ttl)
}

/** Written anew with each request, and no change. */
const TIMES = { iat: 0, exp: 0 }
/** Members that hold one entry for each client. */
const BY_CLIENT: readonly string[] = ['authorizations', 'linked']

/** What we have changed since `base` as we have it, everything else as they have it. */
function merge(base: Payload, ours: Payload, theirs: Payload): Payload {
  const merged: Payload = {}
  for (const name of new Set([...Object.keys(theirs), ...Object.keys(ours)])) {
    const value = BY_CLIENT.includes(name)
      ? changesOf(entriesOf(base, name), entriesOf(ours, name), entriesOf(theirs, name))
      : pick(base, ours, theirs, name)
    if (value !== undefined) merged[name] = value
  }
  return { ...merged, exp: ours.exp }
}

function changesOf(base: Payload, ours: Payload, theirs: Payload): Payload {
  const names = [...new Set([...Object.keys(theirs), ...Object.keys(ours)])]
  const entries = names.map((name) => [name, pick(base, ours, theirs, name)] as const)
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined))
}

function pick(base: Payload, ours: Payload, theirs: Payload, name: string): unknown {
  return isDeepStrictEqual(ours[name], base[name]) ? theirs[name] : ours[name]
}

function entriesOf(payload: Payload, name: string): Payload {
  return (payload[name] ?? {}) as Payload
}

/** A copy, as the store would give it: the engine writes into what it has read. */
function snapshot({ jti: _bearer, memory: _own, ...payload }: Payload): Payload {
  return JSON.parse(JSON.stringify(payload)) as Payload
}

function newRevision(): string {
  return randomBytes(9).toString('base64url')
}
