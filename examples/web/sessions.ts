/** The example's own sessions: a random cookie names a record in memory. Use your framework's store in a real product. */
import { randomBytes } from 'node:crypto'

/** Who is signed in here, from the ID token of the sign-in. */
export interface SignedIn {
  readonly claims: { readonly [claim: string]: unknown; readonly sub: string; readonly sid?: unknown }
  readonly idToken: string
  readonly accessToken: string
}

/** What must be remembered between leaving for the provider and coming back. */
export interface Attempt {
  readonly codeVerifier: string
  readonly nonce: string
  /** The payment that is waiting for a stronger sign-in. */
  readonly payment?: { readonly steppedUp: boolean } | undefined
}

export interface Session {
  readonly id: string
  readonly expiresAt: number
  /** Sign-ins under way in this browser by `state`: each tab has its own. */
  readonly attempts: Map<string, Attempt>
  signedIn?: SignedIn
  /** For the API that takes payments: another audience, so another token than `signedIn.accessToken` (RFC 8707). */
  paymentToken?: string
}

/** Keeps sessions for `seconds`; the oldest go first when there are more than `most`. */
export function createSessions({ seconds = 8 * 3600, most = 10_000 } = {}) {
  const sessions = new Map<string, Session>()

  return {
    /** A new session with an id nobody knows yet. Called at each sign-in, against session fixation. */
    create(signedIn?: SignedIn): Session {
      const oldest = sessions.keys().next().value
      if (sessions.size >= most && oldest !== undefined) sessions.delete(oldest)
      const id = randomBytes(32).toString('base64url')
      const session: Session = { id, expiresAt: Date.now() + seconds * 1000, attempts: new Map() }
      if (signedIn !== undefined) session.signedIn = signedIn
      sessions.set(id, session)
      return session
    },

    find(id: string | undefined): Session | undefined {
      const session = id === undefined ? undefined : sessions.get(id)
      if (session === undefined || session.expiresAt > Date.now()) return session
      sessions.delete(session.id)
      return undefined
    },

    end(session: Session): void {
      sessions.delete(session.id)
    },

    /** Back-Channel Logout 1.0 §2.7: by `sid` that one sign-in, without it every session of the `sub`. Returns how many. */
    endBy({ sid, sub }: { sid?: string | undefined; sub?: string | undefined }): number {
      const ended = [...sessions.values()].filter(({ signedIn }) => {
        if (signedIn === undefined) return false
        if (sub !== undefined && signedIn.claims.sub !== sub) return false
        return sid === undefined ? sub !== undefined : signedIn.claims.sid === sid
      })
      for (const session of ended) sessions.delete(session.id)
      return ended.length
    },
  }
}
