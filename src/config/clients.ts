/** What is declared for clients: themselves, the resource servers they use, and whose word they may bring. */
import { z } from 'zod'
import { repeated } from './problems.ts'
import { flag, type Parsed, scopeToken } from './values.ts'

const resource = z.strictObject({
  identifier: z.url(),
  scopes: z.array(scopeToken).min(1),
  access_token_format: z.enum(['jwt', 'opaque']).default('jwt'),
  access_token_seconds: z.number().int().positive().max(300).optional(),
})

/** `platform/authorization_details` checks the rest. */
const detailTypeDeclaration = z.looseObject({ type: z.string().min(1) })

/** `clients` entries are checked by the clients feature, which knows their metadata; here only that they name themselves. */
const clientDeclaration = z.looseObject({ client_id: z.string().min(1) })

/** `platform/assertion_issuers` checks the rest. */
const assertionIssuerDeclaration = z.looseObject({ issuer: z.string().min(1) })

export const clientShape = {
  legacy_profile: flag,
  resources: z.array(resource).default([]),
  authorization_details_types: z.array(detailTypeDeclaration).max(50).default([]),
  clients: z.array(clientDeclaration).default([]),
  assertion_issuers: z.array(assertionIssuerDeclaration).default([]),
}

type Settings = Parsed<typeof clientShape>
export type ResourceDeclaration = Settings['resources'][number]
export type ClientDeclaration = Settings['clients'][number]

export interface ClientConfig {
  /** Whether clients may be of the profile `legacy`. */
  readonly legacyProfile: boolean
  readonly resources: readonly ResourceDeclaration[]
  /** What clients may ask people for in detail (RFC 9396), as declared. */
  readonly detailTypes: Settings['authorization_details_types']
  readonly clients: readonly ClientDeclaration[]
  /** Issuers whose signed word is taken as a grant. */
  readonly assertionIssuers: Settings['assertion_issuers']
}

export function clientsOf(settings: Settings): ClientConfig {
  return {
    legacyProfile: settings.legacy_profile,
    resources: settings.resources,
    detailTypes: settings.authorization_details_types,
    clients: settings.clients,
    assertionIssuers: settings.assertion_issuers,
  }
}

export function clientProblems({ clients }: Settings): string[] {
  return repeated(clients.map((client) => client.client_id)).map((id) => `clients: ${id} is declared twice`)
}
