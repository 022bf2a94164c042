/** `genkan accounts …`: what an operator may do to an account. Each is a fact with the operator as its actor. */
import {
  argument,
  type Command,
  type CommandAccount,
  type CommandInput,
  type CommandServices,
  count,
  failure,
  JSON_OPTION,
  show,
  table,
  textOption,
} from './command.ts'

type Accounts = Pick<CommandServices, 'accounts'>
type Needs = Pick<CommandServices, 'accounts' | 'sessions'>
const WHO = { name: 'account', description: 'account id or e-mail address' } as const
const ACTOR = 'operator'
const STATES = ['pending', 'active', 'disabled', 'closing']

const list: Command<Accounts> = {
  name: 'accounts list',
  summary: 'list accounts, newest first',
  options: [
    { flags: '--query <text>', description: 'part of the e-mail address' },
    { flags: '--state <state>', description: STATES.join(', ') },
    { flags: '--limit <number>', description: 'at the most (default: 50)' },
    JSON_OPTION,
  ],
  async run({ accounts }, input, out) {
    const state = textOption(input, 'state')
    if (state !== undefined && !STATES.includes(state)) throw failure(`--state: write one of ${STATES.join(', ')}`)
    const limit = count(textOption(input, 'limit'), '--limit', 50, 1000)
    const found = await accounts.list({ query: textOption(input, 'query'), state, limit })
    const row = (account: CommandAccount) => [
      account.accountId,
      account.email,
      account.state,
      account.createdAt.toISOString(),
    ]
    show(input, out, found, () => table(['ACCOUNT', 'EMAIL', 'STATE', 'CREATED'], found.map(row)))
  },
}

const showOne: Command<Needs> = {
  name: 'accounts show',
  summary: 'show an account and its live sessions',
  arguments: [WHO],
  options: [JSON_OPTION],
  async run({ accounts, sessions }, input, out) {
    const account = await resolve(accounts, input)
    const live = await sessions.list(account.accountId)
    show(input, out, { ...account, sessions: live }, () =>
      [
        table(
          ['FIELD', 'VALUE'],
          [
            ['account', account.accountId],
            ['email', `${account.email}${account.emailVerified ? '' : ' (not proven)'}`],
            ['state', account.state],
            ['created', account.createdAt.toISOString()],
            ['language', account.locale ?? '-'],
          ],
        ),
        '',
        table(
          ['SESSION', 'BEGUN', 'LAST SEEN', 'ADDRESS', 'DEVICE'],
          live.map(({ uid, createdAt, seenAt, ip, userAgent }) => [
            uid,
            createdAt.toISOString(),
            seenAt.toISOString(),
            ip ?? '-',
            userAgent ?? '-',
          ]),
        ),
      ].join('\n'),
    )
  },
}

const disable: Command<Accounts> = {
  name: 'accounts disable',
  summary: 'refuse the account everywhere within a second; its sessions and grants end',
  arguments: [WHO],
  async run({ accounts }, input, out) {
    const { accountId } = await resolve(accounts, input)
    await accounts.disable(accountId, ACTOR)
    out.line(`account ${accountId} disabled`)
  },
}

const enable: Command<Accounts> = {
  name: 'accounts enable',
  summary: 'let a disabled account sign in again',
  arguments: [WHO],
  async run({ accounts }, input, out) {
    const { accountId } = await resolve(accounts, input)
    await accounts.enable(accountId, ACTOR)
    out.line(`account ${accountId} enabled`)
  },
}

const endSessions: Command<Needs> = {
  name: 'accounts end-sessions',
  summary: 'end all sessions and grants of an account within a second and tell its clients',
  arguments: [WHO],
  async run({ accounts, sessions }, input, out) {
    const { accountId } = await resolve(accounts, input)
    const ended = await sessions.endAll(accountId, 'operator')
    out.line(`account ${accountId}: ${ended} ${ended === 1 ? 'session' : 'sessions'} ended`)
  },
}

const remove: Command<Accounts> = {
  name: 'accounts delete',
  summary: 'erase an account; this cannot be undone',
  arguments: [WHO],
  options: [{ flags: '--yes', description: 'really' }],
  async run({ accounts }, input, out) {
    const { accountId, email } = await resolve(accounts, input)
    if (input.options.yes !== true) throw failure(`this erases account ${accountId} (${email}) for good: add --yes`)
    await accounts.remove(accountId, ACTOR)
    out.line(`account ${accountId} deleted`)
  },
}

export const accountCommands: readonly Command<Needs>[] = [list, showOne, disable, enable, endSessions, remove]

async function resolve(accounts: Accounts['accounts'], input: CommandInput): Promise<CommandAccount> {
  const account = await accounts.find(argument(input, 0))
  if (account === undefined) throw failure(`there is no account ${argument(input, 0)}`)
  return account
}
