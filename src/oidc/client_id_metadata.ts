/**
 * Clients that are a document at the address that is their id (OAuth Client ID Metadata Document, draft 02). Only what the
 * operator allows is asked for, by the guarded fetch; nothing of it is written down. Every failure is a client that is not
 * there: what is behind an address is not told (A39, A70).
 */
import type { ClientDocuments } from '../config/client_registration.ts'
import type { ClientView } from '../interaction/step.ts'
import { hostMatches, REGISTERED_MEMBERS, redirectProblem } from '../platform/client_admission.ts'
import { type HttpClient, OutboundError } from '../platform/http_client.ts'
import { parseStrictJson } from '../platform/strict_json.ts'
import { webUriProblem } from '../platform/uri_rules.ts'

type Members = { readonly [member: string]: unknown }

export interface DocumentDeps {
  readonly settings: ClientDocuments
  readonly issuer: string
  /** Seconds after which a refresh token ends, however it is used. */
  readonly refreshSeconds: number
  readonly fetch: HttpClient['fetch']
  readonly now: () => Date
  /** Metadata with defaults filled in; throws when they are not acceptable. */
  readonly check: (given: Members & { readonly client_id: string }) => Members
  /** Whether whoever asks now may have one more document asked for. */
  readonly mayFetch: () => Promise<boolean>
  readonly refused: (reason: unknown, host: string) => void
}

export interface DocumentClients {
  /** Whether the id is the address of a document that may be asked for. */
  admits(clientId: string): boolean
  /** The client's metadata, the same object while the document is unchanged. */
  find(clientId: string): Promise<Members | undefined>
}

/** §4.1: a size that holds any honest document. */
export const DOCUMENT_BYTES = 5 * 1024
export const DOCUMENT_MS = 3000
const ID_LENGTH = 300
const LEAST_SECONDS = 30
const USUAL_SECONDS = 300
const MOST_SECONDS = 86_400
const KEPT = 1000

const GRANTS: readonly string[] = ['authorization_code', 'refresh_token']
/** §4.1: nothing that needs a secret which two would share. */
const AUTH_METHODS: readonly unknown[] = ['none', 'private_key_jwt']
/** What a page would show or this server would call on the document's word alone is left out. */
const LEFT_OUT = [
  ...['client_uri', 'logo_uri', 'policy_uri', 'tos_uri', 'contacts', 'initiate_login_uri', 'backchannel_logout_uri'],
  ...['backchannel_logout_session_required', 'subject_type', 'sector_identifier_uri', 'default_acr_values'],
  ...['grant_types', 'response_types', 'response_modes', 'scope', 'redirect_uris', 'post_logout_redirect_uris'],
]
const MEMBERS = REGISTERED_MEMBERS.filter((name) => !LEFT_OUT.includes(name) && !name.startsWith('tls_client'))

/** An id that is an address, as pages may show the client without asking for its document. */
export function documentView(clientId: string, settings: ClientDocuments | undefined): ClientView | undefined {
  if (!/^https?:/.test(clientId) || !URL.canParse(clientId)) return undefined
  const agent = settings && agentAt(new URL(clientId).host, settings)
  return { clientId, name: clientId.replace(/^https?:\/\//, ''), firstParty: false, unverified: true, agent }
}

/**
 * Software that introduces itself acts for people by itself, unless the operator knows better. Who has the host runs it; what
 * it says of its purpose nobody has checked.
 */
function agentAt(owner: string, { agents }: ClientDocuments): { owner: string; purpose: string } | undefined {
  return hostMatches(agents, owner) ? { owner, purpose: '' } : undefined
}

interface Kept {
  readonly metadata: Members | undefined
  readonly text: string
  readonly readAt: number
  readonly until: number
}

class Refusal extends Error {}

/** Makes the finder. Its cache holds a thousand documents, each for half a minute to a day as its answer says. */
export function createDocumentClients(deps: DocumentDeps): DocumentClients {
  const { now } = deps
  const kept = new Map<string, Kept>()
  const reads = new Map<string, Promise<Members | undefined>>()
  const admits = (clientId: string) => addressProblem(clientId, deps) === undefined

  const keep = (clientId: string, entry: Kept) => {
    kept.delete(clientId)
    kept.set(clientId, entry)
    const oldest = kept.size > KEPT ? kept.keys().next().value : undefined
    if (oldest !== undefined) kept.delete(oldest)
    return entry.metadata
  }
  const read = async (clientId: string, before: Kept | undefined): Promise<Members | undefined> => {
    const at = now().getTime()
    const isRecent = before !== undefined && at - before.readAt < MOST_SECONDS * 1000
    if (!(await deps.mayFetch())) return isRecent ? before.metadata : undefined
    try {
      const { text, seconds } = await download(deps, clientId)
      const same = before?.metadata !== undefined && before.text === text
      const metadata = same ? before.metadata : metadataOf(text, clientId, deps)
      return keep(clientId, { metadata, text, readAt: at, until: at + seconds * 1000 })
    } catch (error) {
      deps.refused(error, new URL(clientId).host)
      // A host that is away takes nobody's tokens: what it last said counts for a day.
      const last = isRecent && isAway(error) ? before : { metadata: undefined, text: '', readAt: at }
      return keep(clientId, { ...last, until: at + LEAST_SECONDS * 1000 })
    }
  }
  return {
    admits,
    async find(clientId) {
      if (!admits(clientId)) return undefined
      const entry = kept.get(clientId)
      if (entry !== undefined && entry.until > now().getTime()) return keep(clientId, entry)
      const reading = reads.get(clientId) ?? read(clientId, entry).finally(() => reads.delete(clientId))
      reads.set(clientId, reading)
      return reading
    },
  }
}

/** §3: an https address with a path, in one spelling; http is for documents beside a development server. */
function addressProblem(clientId: string, { settings, issuer }: Pick<DocumentDeps, 'settings' | 'issuer'>) {
  if (clientId.length > ID_LENGTH) return 'is too long'
  const problem = webUriProblem(clientId)
  if (problem !== undefined) return problem
  const { protocol, pathname, search, host } = new URL(clientId)
  if (protocol !== 'https:' && !issuer.startsWith('http:')) return 'must be https'
  if (pathname === '/' || search !== '' || clientId.includes('?')) return 'must have a path and no query'
  return hostMatches(settings.hosts, host) ? undefined : 'has a host that is not allowed'
}

async function download({ fetch }: DocumentDeps, clientId: string): Promise<{ text: string; seconds: number }> {
  const response = await fetch(clientId, { headers: { accept: 'application/json' } })
  // A redirect is such an answer too: §4 does not follow any.
  if (response.status >= 500) throw new OutboundError('unreachable')
  if (response.status !== 200) throw new Refusal(`status ${response.status}`)
  if (!/^application\/([\w.-]+\+)?json\b/i.test(response.headers.get('content-type') ?? '')) {
    throw new Refusal('no application/json')
  }
  return { text: await response.text(), seconds: lifeOf(response.headers.get('cache-control') ?? '') }
}

function lifeOf(cacheControl: string): number {
  if (/\bno-(store|cache)\b/i.test(cacheControl)) return LEAST_SECONDS
  const said = /(?:^|[,\s])max-age\s*=\s*"?(\d{1,10})/i.exec(cacheControl)?.[1]
  return Math.min(MOST_SECONDS, Math.max(LEAST_SECONDS, said === undefined ? USUAL_SECONDS : Number(said)))
}

function isAway(error: unknown): boolean {
  return error instanceof OutboundError && (error.code === 'unreachable' || error.code === 'timed_out')
}

/** What the document says, as far as it counts here. */
function metadataOf(text: string, clientId: string, { settings, check, refreshSeconds }: DocumentDeps): Members {
  const said = parseStrictJson(text)?.value
  if (typeof said !== 'object' || said === null || Array.isArray(said)) throw new Refusal('no JSON object')
  const document = Object.fromEntries(Object.entries(said).filter(([, value]) => value !== null)) as Members
  if (document.client_id !== clientId) throw new Refusal('another client_id')
  if ('client_secret' in document || 'client_secret_expires_at' in document) throw new Refusal('a secret')
  const { token_endpoint_auth_method: method = 'none' } = document
  if (!AUTH_METHODS.includes(method)) throw new Refusal('an authentication method that needs a secret')
  const metadata = check({
    client_name: new URL(clientId).host,
    ...Object.fromEntries(MEMBERS.filter((name) => name in document).map((name) => [name, document[name]])),
    ...narrowed(document, clientId, settings),
    token_endpoint_auth_method: method,
    ...{ profile: 'oauth21', resources: settings.resources, unverified: true, require_pkce: true },
    // Ids of the table of clients are no addresses: this stands in for the rules of the rest.
    client_id: 'document',
  })
  const { host, origin } = new URL(clientId)
  const agent = agentAt(host, settings)
  return Object.freeze({
    ...{ ...metadata, client_id: clientId, cors_origins: [origin] },
    ...(agent && { agent: { ...agent, seconds: refreshSeconds } }),
  })
}

/** The document is written for every server: what it names beyond what is allowed here is left away. */
function narrowed(document: Members, clientId: string, settings: ClientDocuments): Members {
  const all = textsOf(document.redirect_uris)
  const isNative = document.application_type ?? (all.every((uri) => uri.startsWith('https:')) ? 'web' : 'native')
  const own = { ...settings, redirectHosts: [new URL(clientId).host] }
  const allowed = (uri: string) => redirectProblem(uri, isNative, own) === undefined
  const grants = GRANTS.filter((grant) => textsOf(document.grant_types ?? GRANTS[0]).includes(grant))
  const wanted = typeof document.scope === 'string' ? document.scope.split(' ') : settings.scope.split(' ')
  const scopes = wanted.filter((name) => settings.scope.split(' ').includes(name))
  const refreshes = grants.includes('refresh_token')
  return {
    application_type: isNative,
    redirect_uris: all.filter(allowed),
    post_logout_redirect_uris: textsOf(document.post_logout_redirect_uris).filter(allowed),
    grant_types: grants,
    response_types: ['code'],
    scope: scopes.filter((name) => name !== 'offline_access' || refreshes).join(' '),
  }
}

function textsOf(value: unknown): string[] {
  return [value].flat().filter((item) => typeof item === 'string')
}
