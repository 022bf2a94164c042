/**
 * Protocol errors in the log, for whoever sets a client up: the answer says little on purpose, and the engine knows more (a wrong
 * secret, a code that was used, a method that the client is not registered for). The request id joins line, answer and page.
 */
import type { EventEmitter } from 'node:events'
import type { KoaContextWithOIDC } from 'oidc-provider'
import type { Clock } from '../platform/clock.ts'

const EVENTS = [
  ...['authorization', 'pushed_authorization_request', 'grant', 'introspection', 'revocation', 'userinfo'],
  ...['end_session', 'end_session_confirm'],
].map((endpoint) => `${endpoint}.error`)

/** Answers of every day: nothing is set up wrongly. */
const ORDINARY: ReadonlySet<string> = new Set([
  ...['login_required', 'consent_required', 'interaction_required', 'account_selection_required', 'access_denied'],
  ...['use_dpop_nonce', 'invalid_token'],
])

/** Anybody can make errors: the log is not theirs to fill. */
const LINES = 60
const MINUTE_MS = 60_000

export interface ErrorLogDeps {
  readonly logger: { info(fields: object, message: string): void }
  readonly clock: Clock
}

interface ProtocolError extends Error {
  readonly error_description?: string
  readonly error_detail?: string
}

/** Writes a line for each protocol error of an engine, sixty a minute at the most. */
export function logProtocolErrors(engine: Pick<EventEmitter, 'on'>, { logger, clock }: ErrorLogDeps): void {
  let [since, lines] = [0, 0]
  const mayWrite = () => {
    const now = clock.now().getTime()
    if (now - since >= MINUTE_MS) [since, lines] = [now, 0]
    lines += 1
    return lines <= LINES
  }
  for (const event of EVENTS)
    engine.on(event, (ctx: KoaContextWithOIDC, error: ProtocolError) => {
      if (ORDINARY.has(error.message) || !mayWrite()) return
      const { client, route } = ctx.oidc
      const { message, error_description: description, error_detail: detail } = error
      logger.info({ clientId: client?.clientId, route, error: message, description, detail }, 'protocol error')
    })
}
