/** `genkan clients registration-token …`: tokens by which clients may register themselves (RFC 7591 §3, initial access tokens). */
import type { InitialToken, RegistrationTokens } from '../features/client_registrations/types.ts'
import {
  argument,
  type Command,
  type CommandInput,
  type CommandServices,
  count,
  duration,
  failure,
  JSON_OPTION,
  REASON_OPTION,
  reasonOption,
  show,
  table,
  textOption,
} from './command.ts'

type Needs = Pick<CommandServices, 'registrationTokens' | 'now'>
const MOST_USES = 100_000

const create: Command<Needs> = {
  name: 'clients registration-token create',
  summary: 'make a token by which clients may register themselves; it is shown once',
  options: [
    { flags: '--policy <name>', description: 'what they may become: a policy of client_registration' },
    { flags: '--uses <number>', description: 'clients that may register by it (default: 1)' },
    { flags: '--expires <duration>', description: 'how long it is good, such as 24h (default: 7d)' },
    JSON_OPTION,
  ],
  async run({ registrationTokens }, input, out) {
    const policy = textOption(input, 'policy')
    if (policy === undefined) throw failure('--policy: is needed')
    const uses = count(textOption(input, 'uses'), '--uses', 1, MOST_USES)
    const seconds = duration(textOption(input, 'expires') ?? '7d', '--expires')
    if (seconds === 0) throw failure('--expires: write a duration longer than 0')
    const { id, token, expiresAt } = await tokens(registrationTokens).create({ policy, uses, seconds })
    const made = { id, registration_token: token, expires_at: expiresAt.toISOString() }
    show(input, out, made, () => `token ${id} created\ntoken (shown only now): ${token}`)
  },
}

const list: Command<Needs> = {
  name: 'clients registration-token list',
  summary: 'list the tokens by which clients may register themselves, newest first',
  options: [JSON_OPTION],
  async run({ registrationTokens, now }, input, out) {
    const found = (await tokens(registrationTokens).list()).map((token) => view(token, now()))
    const head = ['TOKEN', 'POLICY', 'USES LEFT', 'CLIENTS', 'EXPIRES', 'STATE']
    const row = (token: ReturnType<typeof view>) => [
      ...[token.id, token.policy, String(token.uses_left), String(token.clients), token.expires_at, token.state],
    ]
    show(input, out, found, () => table(head, found.map(row)))
  },
}

const revoke: Command<Needs> = {
  name: 'clients registration-token revoke',
  summary: 'end a token; clients that registered by it stay',
  arguments: [{ name: 'id', description: 'as clients registration-token list has it' }],
  options: [REASON_OPTION],
  async run({ registrationTokens }, input, out) {
    out.line(await ended(tokens(registrationTokens), input))
  },
}

async function ended(registrationTokens: RegistrationTokens, input: CommandInput): Promise<string> {
  const id = argument(input, 0)
  const changed = await registrationTokens.revoke(id, reasonOption(input))
  if (changed === undefined) throw failure(`there is no token ${id}`)
  return changed ? `token ${id} revoked` : `token ${id} was revoked already`
}

export const registrationTokenCommands: readonly Command<Needs>[] = [create, list, revoke]

function tokens(registrationTokens: RegistrationTokens | undefined): RegistrationTokens {
  if (registrationTokens === undefined)
    throw failure('clients may not register here: the settings have no client_registration')
  return registrationTokens
}

function view({ id, policy, usesLeft, clients, createdAt, expiresAt, revokedAt }: InitialToken, now: Date) {
  const used = usesLeft === 0 ? 'used up' : 'live'
  return {
    ...{ id, policy, uses_left: usesLeft, clients },
    created_at: createdAt.toISOString(),
    expires_at: expiresAt.toISOString(),
    state: revokedAt !== undefined ? 'revoked' : expiresAt <= now ? 'expired' : used,
  }
}
