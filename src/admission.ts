/** Clients that no operator declared, and what clients may ask in detail, wired: those that register themselves, and those that are a document at their own address. */
import { type Config, ConfigError } from './config/config.ts'
import { createClientRegistrations } from './features/client_registrations/index.ts'
import { registrationRepository } from './features/client_registrations/repository.ts'
import type { createClients } from './features/clients/index.ts'
import type { Foundation } from './foundation.ts'
import { SCOPES } from './oidc/claims.ts'
import { createDocumentClients, DOCUMENT_BYTES, DOCUMENT_MS, type DocumentClients } from './oidc/client_id_metadata.ts'
import { type DetailType, readDetailTypes } from './platform/authorization_details.ts'
import { networkOf } from './platform/client_network.ts'
import { createHttpClient } from './platform/http_client.ts'
import { equal, newId, newToken, sha256 } from './platform/ids.ts'
import { currentRequest } from './platform/request_scope.ts'
import { createStatements } from './platform/software_statement.ts'

type Clients = ReturnType<typeof createClients>

/** What is there by the settings, and how a client is found by its id, whether it is a row or a document. */
export function admissionOf(foundation: Foundation, clients: Clients) {
  const { config } = foundation
  const problems = unknownScopes(config)
  if (problems.length > 0) throw new ConfigError(problems)
  const documents = documentsOf(foundation, clients)
  return {
    clientRegistrations: registrationsOf(foundation, clients),
    findClient: async (clientId: string): Promise<{ readonly [member: string]: unknown } | undefined> =>
      documents?.admits(clientId) ? documents.find(clientId) : (await clients.service.find(clientId))?.metadata,
  }
}

/** Absent unless the settings have `client_registration`. */
function registrationsOf({ config, database, outbox, clock, http, keyValue }: Foundation, clients: Clients) {
  const { clientRegistration: settings, issuer } = config
  if (settings === undefined) return undefined
  const { policies, requestsPerAddress, statementIssuers: issuers } = settings
  return createClientRegistrations({
    ...{ outbox, clock, issuer, policies, newId, newToken, sha256, equal, fetch: http.fetch },
    transaction: database.transaction,
    repository: registrationRepository(database.db),
    clients: clients.registered,
    secretMatches: clients.service.secretMatches,
    readStatement: createStatements({ issuers, fetch: http.fetch, now: () => clock.now() }),
    kv: keyValue,
    perAddress: requestsPerAddress,
  })
}

/** The types of authorization details (RFC 9396). @throws ConfigError with every problem of every type */
export function detailTypesOf({ detailTypes, resources, levels }: Config): readonly DetailType[] {
  const known = { resources: resources.map(({ identifier }) => identifier), acrs: levels.map(({ acr }) => acr) }
  const { types, problems } = readDetailTypes(detailTypes, known)
  if (problems.length > 0) throw new ConfigError(problems)
  return types
}

/** A policy with a scope that does not exist would refuse every client that names none. */
function unknownScopes({ resources, clientRegistration, clientDocuments }: Config): string[] {
  const known: readonly string[] = [...SCOPES, ...resources.flatMap(({ scopes }) => scopes)]
  const policies = Object.entries(clientRegistration?.policies ?? {})
  const named = [
    ...policies.map(([name, { scope }]) => [`client_registration.policies.${name}`, scope] as const),
    ['client_id_metadata_documents', clientDocuments?.scope ?? ''] as const,
  ]
  return named.flatMap(([at, scope]) => {
    const unknown = scope.split(' ').filter((name) => name !== '' && !known.includes(name))
    return unknown.map((name) => `${at}.scope: ${name} is not a scope of this provider`)
  })
}

/** For one network: new documents, or documents that have to be read again. */
const FETCHES = 30
const WINDOW_SECONDS = 600

/** Absent unless the settings have `client_id_metadata_documents`. */
function documentsOf({ config, clock, keyValue, logger }: Foundation, clients: Clients): DocumentClients | undefined {
  const { clientDocuments: settings, issuer, outboundPrivateNetworks: allowedNetworks } = config
  if (settings === undefined) return undefined
  return createDocumentClients({
    ...{ settings, issuer, now: () => clock.now(), check: clients.registered.check },
    refreshSeconds: config.tokens.refreshAbsoluteSeconds,
    fetch: createHttpClient({ allowedNetworks, timeoutMs: DOCUMENT_MS, maxBytes: DOCUMENT_BYTES }).fetch,
    mayFetch: async () => {
      const key = `{client_documents}:${networkOf(currentRequest()?.ip ?? '')}`
      const { allowed } = await keyValue.hit([{ key, limit: FETCHES, windowSeconds: WINDOW_SECONDS }])
      return allowed
    },
    refused: (err, host) => logger.info({ err, host }, 'client ID metadata document not taken'),
  })
}
