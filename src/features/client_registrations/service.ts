/** The rules of registering: who may, what becomes of what they ask, and what they may do with it afterwards. */

import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import type { AdmissionPolicy } from '../../platform/client_admission.ts'
import type { Clock } from '../../platform/clock.ts'
import type { HttpClient } from '../../platform/http_client.ts'
import type { Outbox } from '../../platform/outbox.ts'
import type { Tx } from '../../platform/postgres.ts'
import { listsAll } from '../../platform/sector_identifier.ts'
import type { Stated } from '../../platform/software_statement.ts'
import type { ClientMetadata, ClientRecord, RegisteredClients } from '../clients/types.ts'
import { RegistrationError } from './errors.ts'
import type { RegistrationRepository } from './repository.ts'
import { admitted, type Information, information, refusalOf } from './rules.ts'
import { known, type Members, type Request, readChange, readRequest } from './schema.ts'
import type { InitialToken, Registration, RegistrationTokens } from './types.ts'

const DAY_MS = 86_400_000

export interface RegistrationDeps {
  readonly repository: RegistrationRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: Pick<Outbox, 'record'>
  readonly clock: Clock
  readonly newId: () => string
  readonly newToken: () => string
  readonly sha256: (value: string) => string
  /** Constant-time comparison. */
  readonly equal: (a: string, b: string) => boolean
  readonly clients: RegisteredClients
  /** Whether the text is a live secret of the client. */
  readonly secretMatches: (clientId: string, secret: string) => Promise<boolean>
  readonly policies: { readonly [name: string]: AdmissionPolicy }
  readonly readStatement: (statement: string) => Promise<Stated>
  readonly fetch: HttpClient['fetch']
  readonly issuer: string
}

export type RegistrationService = ReturnType<typeof createRegistrationService>

export function createRegistrationService(deps: RegistrationDeps) {
  return { tokens: initialTokens(deps), ...registering(deps), ...managing(deps), expire: expiring(deps) }
}

function initialTokens({ repository, transaction, outbox, clock, ...deps }: RegistrationDeps): RegistrationTokens {
  const state = (type: Fact['type'], data: Fact['data'], tx: Tx) =>
    outbox.record([{ type, actor: 'operator', data }], tx)
  return {
    async create({ policy, uses, seconds }) {
      if (!Object.hasOwn(deps.policies, policy)) {
        const names = Object.keys(deps.policies).join(', ') || 'there is none'
        throw new AppError('invalid_request', { detail: `--policy: is no policy of client_registration (${names})` })
      }
      const createdAt = clock.now()
      const expiresAt = new Date(createdAt.getTime() + seconds * 1000)
      const [id, token] = [deps.newId(), deps.newToken()]
      await transaction(async (tx) => {
        await repository.insertToken({ id, policy, usesLeft: uses, createdAt, expiresAt }, deps.sha256(token), tx)
        await state('initial_token.created', { id, policy, uses, expiresAt: expiresAt.toISOString() }, tx)
      })
      return { id, token, expiresAt }
    },
    list: () => repository.listTokens(clock.now()),
    revoke: (id, reason) =>
      transaction(async (tx) => {
        const did = await repository.revokeToken(id, clock.now(), tx)
        if (did) await state('initial_token.revoked', { id, reason }, tx)
        return did
      }),
  }
}

function registering(deps: RegistrationDeps) {
  const { repository, clients, clock, outbox } = deps
  const wanted = preparing(deps)

  const write = async (asked: Asked, tokenId: string, tx: Tx) => {
    const { policy, name, metadata, softwareStatement } = asked
    const registeredAt = clock.now()
    // Strangers with a token that ends meanwhile, or is used up by another request, are refused here.
    const token = await repository.spend(tokenId, registeredAt, tx)
    if (token === undefined) throw notAdmitted()
    if (token.clients >= policy.clientsPerToken) {
      throw new RegistrationError('access_denied', 'as many clients as its policy allows have registered by this token')
    }
    const expiresAt = endOf(registeredAt, policy)
    const clientId = metadata.client_id
    const secret = await clients.insert(metadata, expiresAt, tx)
    const accessToken = deps.newToken()
    const hashed = { accessTokenHash: deps.sha256(accessToken), softwareStatement }
    const registration = { clientId, tokenId, policy: name, ...hashed, registeredAt, expiresAt }
    await repository.insert(registration, tx)
    const fact = {
      type: 'initial_token.used',
      clientId,
      actor: `client:${clientId}`,
      data: { id: tokenId, policy: name },
    }
    await outbox.record([fact as Fact], tx)
    return information(deps.issuer, { metadata, registration, accessToken, secret })
  }

  return {
    /**
     * RFC 7591 §3: registers a client by an initial access token. Only its holder has anything read or fetched.
     * @throws RegistrationError
     */
    async register(initialToken: string | undefined, body: () => Promise<string>): Promise<Information> {
      const token = await liveToken(deps, initialToken)
      const policy = deps.policies[token.policy]
      if (policy === undefined) throw notAdmitted()
      const request = readRequest(await body())
      const asked = { name: token.policy, policy, ...(await wanted(request, policy, `dyn-${deps.newId()}`)) }
      const told = await deps.transaction((tx) => write(asked, token.id, tx))
      await clients.announce([asked.metadata.client_id])
      return told
    },
  }
}

interface Asked {
  readonly name: string
  readonly policy: AdmissionPolicy
  readonly metadata: ClientMetadata
  readonly softwareStatement: string | undefined
}

async function liveToken(
  { repository, clock, sha256 }: RegistrationDeps,
  token: string | undefined,
): Promise<InitialToken> {
  const found = token === undefined ? undefined : await repository.findLive(sha256(token), clock.now())
  if (found === undefined) throw notAdmitted()
  return found
}

const notAdmitted = () => new RegistrationError('invalid_token', 'the access token is unknown, used up or has ended')

/** What a request comes to under its policy: checked metadata. */
function preparing(deps: RegistrationDeps) {
  const allowsHttp = deps.issuer.startsWith('http:')
  return async ({ members, softwareStatement }: Request, policy: AdmissionPolicy, clientId: string) => {
    const stated = await statedIn(deps, softwareStatement, policy)
    // RFC 7591 §2.3: what is stated takes precedence over what the client says itself.
    const given = admitted({ ...members, ...stated }, policy, allowsHttp)
    const metadata = checked(deps.clients, { ...given, client_id: clientId })
    await checkSector(deps.fetch, metadata)
    return { metadata, softwareStatement }
  }
}

async function statedIn(
  deps: RegistrationDeps,
  statement: string | undefined,
  policy: AdmissionPolicy,
): Promise<Members> {
  if (statement === undefined) {
    if (policy.softwareStatement === 'optional') return {}
    throw new RegistrationError('invalid_software_statement', 'software_statement: is needed by this policy')
  }
  const read = await deps.readStatement(statement)
  if (read.ok) return known(read.claims)
  throw new RegistrationError(read.code, 'software_statement: is not one of an issuer that is trusted here')
}

function checked(clients: RegisteredClients, given: Members & { readonly client_id: string }): ClientMetadata {
  try {
    return clients.check(given)
  } catch (error) {
    if (error instanceof AppError && error.code === 'invalid_client_metadata') throw refusalOf(error.message)
    throw error
  }
}

/** OpenID Connect Dynamic Registration 1.0 §5. One text for every failure: what is there is not told (A70). */
async function checkSector(fetch: HttpClient['fetch'], metadata: ClientMetadata): Promise<void> {
  const { sector_identifier_uri: uri, redirect_uris: redirects } = metadata
  if (uri === undefined) return
  if (await listsAll(fetch, uri, redirects)) return
  const problem = 'sector_identifier_uri: must answer with a JSON array that has all redirect_uris'
  throw new RegistrationError('invalid_client_metadata', problem)
}

function managing(deps: RegistrationDeps) {
  const { repository, clients, transaction } = deps
  const wanted = preparing(deps)
  const own = owning(deps)

  return {
    /** RFC 7592 §2.1. A secret is not told again: only its hash is kept. */
    async read(clientId: string, token: string | undefined): Promise<Information> {
      const { record, registration, accessToken } = await own(clientId, token)
      return information(deps.issuer, { metadata: record.metadata, registration, accessToken })
    },

    /**
     * RFC 7592 §2.2: replaces all metadata. The registration access token is renewed. A client that sends its secret keeps it; one
     * that leaves it out has lost it, and is given another.
     */
    async replace(clientId: string, token: string | undefined, body: () => Promise<string>): Promise<Information> {
      const seen = await own(clientId, token)
      const request = readChange(await body(), clientId)
      const keeps = await keepsSecret(deps, request, clientId)
      const policy = deps.policies[seen.registration.policy]
      if (policy === undefined) throw new RegistrationError('access_denied', 'the policy of this client is no more')
      const { metadata, softwareStatement } = await wanted(request, policy, clientId)
      const told = await transaction(async (tx) => {
        const { record, registration } = await own(clientId, token, tx)
        const { expiresAt } = registration
        const made = await clients.replace({ record, metadata, renews: keeps === undefined, expiresAt }, tx)
        const accessToken = deps.newToken()
        await repository.update(clientId, deps.sha256(accessToken), softwareStatement, tx)
        const renewed = { type: 'registration_token.renewed', clientId, actor: `client:${clientId}` } as const
        await deps.outbox.record([renewed], tx)
        const secret = made ?? (metadata.token_endpoint_auth_method.startsWith('client_secret_') ? keeps : undefined)
        return information(deps.issuer, {
          metadata,
          registration: { ...registration, softwareStatement },
          accessToken,
          secret,
        })
      })
      await clients.announce([clientId])
      return told
    },

    /** RFC 7592 §2.3: the client ends, with what people gave it and every token of it. */
    async remove(clientId: string, token: string | undefined): Promise<void> {
      await own(clientId, token)
      await transaction(async (tx) => {
        const { record } = await own(clientId, token, tx)
        await clients.remove(record, tx)
      })
      await clients.announce([clientId])
    },
  }
}

/** The secret that the client has shown to be its own; undefined when it showed none. */
async function keepsSecret(
  deps: RegistrationDeps,
  { clientSecret }: Request,
  clientId: string,
): Promise<string | undefined> {
  if (clientSecret === undefined) return undefined
  if (typeof clientSecret === 'string' && (await deps.secretMatches(clientId, clientSecret))) return clientSecret
  throw new RegistrationError('invalid_client_metadata', 'client_secret: is not the secret of this client')
}

interface Owned {
  readonly record: ClientRecord
  readonly registration: Registration
  readonly accessToken: string
}

/**
 * RFC 7592 §2: the client that the token is for. A token that is shown for any other is in wrong hands and ends; the answer is the
 * same whether the other is there or not. A disabled client may not manage itself any more.
 */
function owning({ repository, clients, transaction, outbox, sha256, equal }: RegistrationDeps) {
  return async (clientId: string, token: string | undefined, tx?: Tx): Promise<Owned> => {
    const hash = sha256(token ?? '')
    const record = await clients.find(clientId, tx)
    const registration = record === undefined ? undefined : await repository.find(clientId, tx)
    const isOwner = equal(registration?.accessTokenHash ?? '', hash) && token !== undefined
    if (record === undefined || registration === undefined || !isOwner) {
      if (token !== undefined && tx === undefined) {
        await transaction(async (own) => {
          const of = await repository.endAccessToken(hash, own)
          const data = { reason: 'shown_for_another_client' }
          if (of !== undefined) {
            await outbox.record([{ type: 'registration_token.revoked', clientId: of, actor: 'system', data }], own)
          }
        })
      }
      throw new RegistrationError('invalid_token', 'the registration access token is not one of this client')
    }
    if (record.disabledAt !== undefined) throw new RegistrationError('access_denied', 'the client is disabled')
    return { record, registration, accessToken: token }
  }
}

function endOf(from: Date, { clientDays }: AdmissionPolicy): Date | undefined {
  return clientDays === undefined ? undefined : new Date(from.getTime() + clientDays * DAY_MS)
}

/** Disables up to `atMost` clients whose time is over. */
function expiring({ repository, clients, transaction }: RegistrationDeps) {
  return async (now: Date, atMost: number): Promise<void> => {
    const due = await repository.listDue(now, atMost)
    if (due.length === 0) return
    await transaction(async (tx) => {
      for (const clientId of due) await clients.expire(clientId, tx)
    })
    await clients.announce(due)
  }
}
