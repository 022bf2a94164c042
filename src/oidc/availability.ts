/** A store that is away is 503 and `temporarily_unavailable` (RFC 6749 §4.1.2.1): never a 500, and never "not found". */
import { errors } from 'oidc-provider'

type Asynchronous = (...args: never[]) => Promise<unknown>

/** Returns what turns driver errors of a function into the OAuth error; other errors pass through. */
export function createAvailability(unavailable: (error: unknown) => boolean) {
  const translate = (cause: unknown): never => {
    throw unavailable(cause) ? temporarilyUnavailable(cause) : cause
  }
  // Not awaited here: this stands around every read and write of the engine.
  return <F extends Asynchronous>(work: F): F => ((...args: Parameters<F>) => work(...args).catch(translate)) as F
}

/** The error itself, for what is away and no store. */
export function temporarilyUnavailable(cause: unknown): Error {
  const error = new errors.CustomOIDCProviderError('temporarily_unavailable', 'the server is busy; try again')
  return Object.assign(error, { status: 503, statusCode: 503, expose: true, cause })
}
