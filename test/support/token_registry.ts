/**
 * Every kind of value that opens something to whoever holds it, by where it is made: the engine's stored models, and the files of
 * ours that draw random values. The matrix of purposes (A27) is built from it: a model or a file that is not named here, and a
 * kind of which the matrix holds none, fail the test.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = new URL('../../', import.meta.url).pathname

/** The kinds that come of a maker, or why nobody could redeem what it makes. */
type Kinds = readonly [kind: string, ...more: string[]] | { readonly none: string }

/** By the names of the engine's models. */
export const ENGINE_MODELS: { readonly [model: string]: Kinds } = {
  AccessToken: ['access_token'],
  AuthorizationCode: ['code'],
  BackchannelAuthenticationRequest: ['auth_req_id'],
  ClientCredentials: ['jwt_access_token'],
  DeviceCode: ['device_code', 'user_code'],
  Grant: { none: 'its id stays with the server' },
  IdToken: ['id_token', 'id_jag'],
  InitialAccessToken: { none: 'ours are of client_registrations' },
  Interaction: ['uid'],
  PreAuthorizedCode: { none: 'credential issuing is off' },
  PushedAuthorizationRequest: ['request_uri'],
  RefreshToken: ['refresh_token'],
  RegistrationAccessToken: { none: 'ours are of client_registrations' },
  ReplayDetection: { none: 'an id that a client made' },
  Session: ['session', 'xsrf'],
}

/** By the file that calls `newToken` or `digits`. */
export const OWN_MAKERS: { readonly [file: string]: Kinds } = {
  'commands/support.ts': { none: 'a key of the support, which only the command line takes' },
  'features/account_sign_in/service.ts': ['state', 'nonce', 'verifier', 'ticket', 'pending'],
  'features/client_registrations/service.ts': ['initial_access_token', 'registration_access_token'],
  'features/clients/index.ts': ['client_secret'],
  'features/clients/service.ts': ['client_secret'],
  'features/notices/service.ts': { none: 'opens what a mail tells, and no account' },
  'features/proofings/service.ts': { none: 'a reference that a vendor signs, and that opens nothing' },
  'features/realms/service.ts': { none: 'a value for a TXT record, which everybody reads' },
  'features/upstream_sign_in/service.ts': { none: 'what another provider repeats to the browser that it was made for' },
  'http/csrf.ts': ['csrf', 'csrf_cookie'],
  'http/post_as_get.ts': ['posted_request_uri'],
  'interaction/store.ts': { none: 'marks a browser as known, and signs nobody in' },
  'platform/challenge.ts': { none: 'tickets of proofs of work, which open nothing' },
  'platform/one_time_codes.ts': ['mail_code_verify', 'mail_code_recover', 'mail_code_change', 'mail_code_sign_in'],
  'platform/upstream_saml.ts': { none: 'the id of a request, which the answer repeats in clear' },
}

/** Kinds of which the matrix must hold one. */
export function registeredKinds(): string[] {
  const all = [...Object.values(ENGINE_MODELS), ...Object.values(OWN_MAKERS)]
  return [...new Set(all.flatMap((kinds) => ('none' in kinds ? [] : kinds)))]
}

/** The engine's models as they are installed. */
export function installedModels(): string[] {
  const folder = join(ROOT, 'node_modules/oidc-provider/lib/models')
  const sources = readdirSync(folder).filter((name) => name.endsWith('.js'))
  const names = sources.flatMap(
    (name) => /class (\w+) extends (?:provider|instance)/.exec(readFileSync(join(folder, name), 'utf8'))?.[1] ?? [],
  )
  return [...names, 'IdToken'].filter((name) => !name.startsWith('Base')).sort()
}

/** Files of the product that draw random values which somebody may be given. */
export function makingFiles(): string[] {
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  const isMaker = (file: string) => /\b(?:newToken|digits)\(/.test(readFileSync(join(ROOT, 'src', file), 'utf8'))
  const wiring = /\bnewToken,$/m
  return files
    .filter((file) => file.endsWith('.ts') && file !== 'platform/ids.ts')
    .filter(
      (file) =>
        isMaker(file) || (file.startsWith('features/') && wiring.test(readFileSync(join(ROOT, 'src', file), 'utf8'))),
    )
    .sort()
}
