/**
 * Where the engine's state lives. Two implementations, Redis and one SQL table, behind one contract
 * (`test/contracts/oidc_adapter.ts`). Ids are stored hashed and never inside the payload, so a dump redeems nothing. What is
 * in clear are names that open nothing: `Session.uid`, which is the key of the SQL row and posted by the account pages, the
 * `sid` of tokens, and the ids of Grants.
 */
import { hash } from 'node:crypto'

/** A model's payload as the engine gives it: any JSON, unknown keys survive. */
export type Payload = { [key: string]: unknown }

/** A Session is known by its id or, to those who must not have that, by its `uid`. */
export type SessionPlace = { readonly id: string } | { readonly uid: string }

/** `astray`: it was written, but its `uid` does not lead to it (any more). */
export type Swap = 'written' | 'astray' | 'no'

export interface OidcStore {
  /**
   * Writes a record that lives `ttl` seconds (forever without). With `ifAbsent` an existing record stays as it is.
   * @returns whether the record was written
   */
  save(model: string, id: string, payload: Payload, ttl: number | undefined, ifAbsent?: boolean): Promise<boolean>
  /**
   * The payload, with `consumed` (seconds since the epoch) when it was consumed. Consumed records stay until expiry.
   * `doubtful` marks what may have ended since without the store knowing: it has lost writes, or takes none. What is used
   * once is then not found.
   */
  find(model: string, id: string): Promise<Payload | undefined>
  /** The Session whose `uid` this is. */
  findByUid(uid: string): Promise<Payload | undefined>
  /** The DeviceCode whose `userCode` this is. */
  findByUserCode(userCode: string): Promise<Payload | undefined>
  /** Writes that DeviceCode anew; its time goes on. Nothing happens when it is gone. */
  saveByUserCode(userCode: string, payload: Payload): Promise<void>
  /**
   * Single use, decided in the store: of any number of callers exactly one is first.
   * @returns `first`, or the time (seconds) of the first consumption, or `missing`
   */
  consume(model: string, id: string, now: number): Promise<'first' | 'missing' | number>
  /** Clears the doubt about a record, after SQL said that it stands. */
  adopt(model: string, id: string): Promise<void>
  /**
   * Compare-and-set of a live Session: writes only while its `revision` is `expected`, and makes none that is not there.
   */
  swapSession(place: SessionPlace, expected: string, payload: Payload, ttl: number): Promise<Swap>
  /**
   * Has the `uid` lead to the Session under this id, where it leads nowhere or to one from before the store lost its last writes.
   * @returns whether it leads there now
   */
  leadToSession(uid: string, id: string, ttl: number): Promise<boolean>
  /**
   * Gives a live Session another id, with what is written there; its `uid` stays. Of any number of callers one moves it.
   * @returns what was under the old id until now; undefined when nobody is there (any more), and then nothing is written
   */
  moveSession(oldId: string, id: string, payload: Payload, ttl: number): Promise<Payload | undefined>
  destroy(model: string, id: string): Promise<void>
  /** Destroys the Session whose `uid` this is; nothing happens when there is none. */
  destroySession(uid: string): Promise<void>
  /** Removes at most `atMost` expired records; only stores that do not expire by themselves have any. */
  purge(now: Date, atMost: number): Promise<number>
}

/** The stored form of an id: SHA-256, base64url. Ids are 256-bit random, so no salt is needed. */
export function hashId(id: string): string {
  return hash('sha256', id, 'base64url')
}

/** A payload as text, the `revision` in front, where a store compares it without reading the rest. */
export function textOf(payload: Payload): string {
  const { revision, ...rest } = withoutId(payload)
  return JSON.stringify(revision === undefined ? rest : { revision, ...rest })
}

/** How the text of a payload of this revision begins. */
export function beginningOf(revision: string): string {
  return `{"revision":${JSON.stringify(revision)},`
}

/** A payload without its bearer values. */
export function withoutId(payload: Payload): Payload {
  const { jti: _bearer, userCode: _typed, consumed: _consumed, doubtful: _doubtful, ...rest } = payload
  return rest
}
