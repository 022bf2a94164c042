/** What other rooms, and commands, may know about the registration of clients. */

/** By which clients may register: never the token itself. */
export interface InitialToken {
  readonly id: string
  readonly policy: string
  readonly usesLeft: number
  /** Clients that registered by it and are there. */
  readonly clients: number
  readonly createdAt: Date
  readonly expiresAt: Date
  readonly revokedAt?: Date | undefined
}

/** A client that registered itself. */
export interface Registration {
  readonly clientId: string
  readonly tokenId: string
  readonly policy: string
  /** SHA-256 of what the client manages itself by; none once that has ended. */
  readonly accessTokenHash?: string | undefined
  readonly softwareStatement?: string | undefined
  readonly registeredAt: Date
  readonly expiresAt?: Date | undefined
}

/** `genkan clients registration-token …`. */
export interface RegistrationTokens {
  /** Returns the token, seen only now. @throws AppError when the settings have no such policy */
  create(wanted: { readonly policy: string; readonly uses: number; readonly seconds: number }): Promise<{
    readonly id: string
    readonly token: string
    readonly expiresAt: Date
  }>
  list(): Promise<readonly InitialToken[]>
  /** Whether it changed; undefined when there is no such token. */
  revoke(id: string, reason?: string): Promise<boolean | undefined>
}
