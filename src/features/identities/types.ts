/** What other rooms may know of the identities that accounts have at upstream providers. */
import type { AccountView } from '../../interaction/step.ts'
import type { NoticePage } from '../notices/types.ts'

/** What of an identity is sealed: the provider's name for the person, and how pages name it to them. */
export const SEALED_IDENTITY = { table: 'identities', key: 'id', column: 'sealed_identity' } as const

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
}

/** Links for the owner, who is told by mail, and stated as a fact. `taken`: it is another account's that has proven itself. */
export type LinkIdentity = (
  identity: NewIdentity,
  account: AccountView,
  page: NoticePage,
) => Promise<'linked' | 'taken' | 'too_many'>
