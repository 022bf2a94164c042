/**
 * Records that may have ended without the store knowing: it has lost its last writes (another master, a restart, an older
 * copy), or takes none. Ends are stated in SQL first, so SQL is asked, once for each record: what was ended or revoked stays so.
 */
import type { Adapter, AdapterPayload } from 'oidc-provider'
import type { Clock } from '../../platform/clock.ts'
import type { OidcStore, Payload } from './store.ts'

export interface DoubtDeps {
  readonly store: Pick<OidcStore, 'adopt'>
  readonly clock: Clock
  /** Whether a sign-in was not ended, by SQL. */
  readonly sessionStands: (uid: string) => Promise<boolean>
  /** Whether somebody holds a Grant that was not revoked, by SQL. One that it does not know stands no more. */
  readonly grantStands: (grantId: string) => Promise<boolean>
  /** Tokens that were revoked by themselves, in SQL; absent where the store loses nothing. */
  readonly revokedTokens: RevokedTokens | undefined
}

export interface RevokedTokens {
  state(token: string, seconds: number): Promise<void>
  has(token: string): Promise<boolean>
}

/** The session without its doubt; undefined when it has ended. */
export async function standingSession<T extends AdapterPayload>(
  found: T,
  id: string | undefined,
  deps: DoubtDeps,
): Promise<T | undefined> {
  return cleared('Session', id, found, () => isStanding(found, deps), deps)
}

/** Whether a session was not ended, by SQL. One that nobody signed in to has no end. */
export function isStanding(
  { accountId, uid }: { accountId?: unknown; uid?: unknown },
  { sessionStands }: Pick<DoubtDeps, 'sessionStands'>,
): boolean | Promise<boolean> {
  return accountId === undefined || sessionStands(String(uid))
}

/** The Grant without its doubt; undefined when it was revoked. */
export function standingGrant<T extends AdapterPayload>(found: T, id: string, deps: DoubtDeps): Promise<T | undefined> {
  return cleared('Grant', id, found, () => deps.grantStands(id), deps)
}

async function cleared<T extends AdapterPayload>(
  model: string,
  id: string | undefined,
  found: T,
  stands: () => boolean | Promise<boolean>,
  { store }: DoubtDeps,
): Promise<T | undefined> {
  if ((found as Payload).doubtful !== true) return found
  if (!(await stands())) return undefined
  if (id !== undefined) await store.adopt(model, id)
  const { doubtful: _cleared, ...rest } = found as Payload
  return rest as T
}

const DAY = 86_400

/** Tokens that a client revokes one by one (RFC 7009): of all others their Grant is the switch. */
export function revocableAdapter(model: 'AccessToken' | 'ClientCredentials', base: Adapter, deps: DoubtDeps): Adapter {
  const { revokedTokens, clock } = deps
  if (revokedTokens === undefined) return base
  return {
    ...base,
    async find(id) {
      const found = await base.find(id)
      return found ? cleared(model, id, found, async () => !(await revokedTokens.has(id)), deps) : undefined
    },
    async destroy(id) {
      const found = await base.find(id)
      if (found)
        await revokedTokens.state(
          id,
          Number(found.exp ?? clock.now().getTime() / 1000 + DAY) - clock.now().getTime() / 1000,
        )
      await base.destroy(id)
    },
  }
}
