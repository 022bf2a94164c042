/** What other rooms may know of the identities that accounts have at upstream providers. */
import type { AccountView } from '../../interaction/step.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { UpstreamTokens } from '../../platform/upstream.ts'
import type { NoticePage } from '../notices/types.ts'

/** What of an identity is sealed: the provider's name for the person, and how pages name it to them. */
export const SEALED_IDENTITY = { table: 'identities', key: 'id', column: 'sealed_identity' } as const

/** The provider's tokens, where the operator asked for them. No identity that is read has them: nothing can show them by mistake. */
export const SEALED_TOKENS = { table: 'identities', key: 'id', column: 'sealed_tokens' } as const

/** Who somebody is upstream: by issuer and subject, and by nothing else (A03). */
export interface IdentityKey {
  readonly issuer: string
  readonly subject: string
}

export interface Identity extends IdentityKey {
  readonly id: string
  readonly accountId: string
  /** Name of the provider in the settings. */
  readonly upstream: string
  /** An address or a name, for the person who looks at the list; may be empty. */
  readonly label: string
  readonly linkedAt: Date
  readonly usedAt: Date | undefined
}

export interface NewIdentity extends IdentityKey {
  readonly upstream: string
  readonly label: string
  /** To be kept. */
  readonly tokens?: UpstreamTokens | undefined
}

/** A change of an account, on which page and in which session it is made. */
export interface IdentityChange {
  readonly page: NoticePage
  readonly sessionUid: string
}

/** What the rooms that ask for them are given. */
export interface Identities {
  /** Oldest first. */
  list(accountId: string): Promise<Identity[]>
  /** Whose it is. */
  find(key: IdentityKey): Promise<Identity | undefined>
  /** For an account that is made in the same transaction. A unique violation when it is somebody's already. */
  insert(identity: NewIdentity, accountId: string, tx: Tx): Promise<void>
  /**
   * Links for whoever has shown both; the owner is told by mail. `taken`: it is another account's. One that has never proven
   * its address gives way.
   */
  link(identity: NewIdentity, account: AccountView, page: NoticePage): Promise<'linked' | 'taken' | 'too_many'>
  /**
   * `absent` when it is nobody's or somebody else's (A49); refused when the account could not be signed in to any more. Other
   * sessions end: one of them may be that of whoever the identity was taken from.
   */
  unlink(
    account: AccountView,
    id: string,
    change: IdentityChange,
  ): Promise<'unlinked' | 'absent' | 'identity_last_way_in'>
  /**
   * It has signed its account in. `tokens` take the place of those before, without any those are gone; only a refresh token
   * that the provider did not give again stays (RFC 6749 §6).
   */
  use(identity: Identity, now: Pick<NewIdentity, 'label' | 'tokens'>, tx: Tx): Promise<void>
  /** The owner of the account says that it was not them: what was linked while the thief was in goes. */
  disown(accountId: string, tx: Tx): Promise<void>
}
