/** `genkan accounts …`: what an operator may do to an account. Each is a fact with the operator as its actor. */
import {
  argument,
  type Command,
  type CommandAccount,
  type CommandInput,
  type CommandServices,
  type CommandSession,
  count,
  failure,
  JSON_OPTION,
  REASON_OPTION,
  reasonOption,
  show,
  table,
  textOption,
} from './command.ts'

type Accounts = Pick<CommandServices, 'accounts'>
type Needs = Pick<CommandServices, 'accounts' | 'sessions'>
const WHO = [{ name: 'account', description: 'account id or e-mail address' }] as const

const list: Command<Accounts> = {
  name: 'accounts list',
  summary: 'list accounts, newest first',
  options: [{ flags: '--limit <number>', description: 'at the most (default: 50)' }, JSON_OPTION],
  async run({ accounts }, input, out) {
    const found = await accounts.list(count(textOption(input, 'limit'), '--limit', 50, 1000))
    const row = ({ id, email, state, createdAt }: CommandAccount) => [id, email, state, createdAt.toISOString()]
    show(input, out, found.map(view), () => table(['ACCOUNT', 'EMAIL', 'STATE', 'CREATED'], found.map(row)))
  },
}

const showOne: Command<Needs> = {
  name: 'accounts show',
  summary: 'show an account and its live sessions',
  arguments: WHO,
  options: [JSON_OPTION],
  async run({ accounts, sessions }, input, out) {
    const account = await resolve(accounts, input)
    const live = (await sessions.list(account.id)).map(sessionView)
    show(input, out, { ...view(account), sessions: live }, () =>
      [
        table(
          ['FIELD', 'VALUE'],
          Object.entries(view(account)).map(([name, value]) => [name, String(value ?? '') || '-']),
        ),
        '',
        table(
          ['SESSION', 'BEGUN', 'LAST SEEN', 'ADDRESS', 'COUNTRY', 'DEVICE'],
          live.map(({ uid, createdAt, seenAt, ip, country, userAgent }) => [
            uid,
            createdAt,
            seenAt,
            ip ?? '-',
            country ?? '-',
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
  arguments: WHO,
  options: [REASON_OPTION],
  async run({ accounts }, input, out) {
    const reason = reasonOption(input)
    const { id } = await resolve(accounts, input)
    out.line((await accounts.disable(id, reason)) ? `account ${id} disabled` : `account ${id} was disabled already`)
  },
}

const enable: Command<Accounts> = {
  name: 'accounts enable',
  summary: 'let a disabled account sign in again',
  arguments: WHO,
  options: [REASON_OPTION],
  async run({ accounts }, input, out) {
    const reason = reasonOption(input)
    const { id } = await resolve(accounts, input)
    out.line((await accounts.enable(id, reason)) ? `account ${id} enabled` : `account ${id} was not disabled`)
  },
}

const endSessions: Command<Needs> = {
  name: 'accounts end-sessions',
  summary: 'end all sessions, grants and tokens of an account within a second and tell its clients',
  arguments: WHO,
  async run({ accounts, sessions }, input, out) {
    const { id } = await resolve(accounts, input)
    await sessions.endAll(id)
    out.line(`sessions of account ${id} ended`)
  },
}

const remove: Command<Accounts> = {
  name: 'accounts delete',
  summary: 'erase an account; this cannot be undone',
  arguments: WHO,
  options: [{ flags: '--yes', description: 'really' }, REASON_OPTION],
  async run({ accounts }, input, out) {
    const reason = reasonOption(input)
    const { id, email } = await resolve(accounts, input)
    if (input.options.yes !== true) throw failure(`this erases account ${id} (${email}) for good: add --yes`)
    await accounts.remove(id, reason)
    out.line(`account ${id} deleted`)
  },
}

const requireSecondFactor: Command<Accounts> = {
  name: 'accounts require-second-factor',
  summary: 'demand that the account has a second factor: it sets one up at its next sign-in, after the grace',
  arguments: WHO,
  options: [{ flags: '--off', description: 'demand it no more; what the account has set up stays' }, REASON_OPTION],
  async run({ accounts }, input, out) {
    const reason = reasonOption(input)
    const { id } = await resolve(accounts, input)
    const isRequired = input.options.off !== true
    const changed = await accounts.requireSecondFactor(id, isRequired, reason)
    const now = isRequired ? 'must have a second factor' : 'need not have a second factor'
    out.line(changed ? `account ${id} ${now}` : `nothing changed: account ${id} ${now}`)
  },
}

export const accountCommands: readonly Command<Needs>[] = [
  ...[list, showOne, disable, enable, requireSecondFactor, endSessions, remove],
]

async function resolve(accounts: Accounts['accounts'], input: CommandInput): Promise<CommandAccount> {
  const account = await accounts.find(argument(input, 0))
  if (account === undefined) throw failure(`there is no account ${argument(input, 0)}`)
  return account
}

function view({ id, email, emailVerifiedAt, state, locale, createdAt, ...of }: CommandAccount) {
  return {
    account: id,
    email,
    emailVerifiedAt: emailVerifiedAt?.toISOString(),
    state,
    locale,
    factors: of.factors,
    secondFactorRequired: of.secondFactorRequired,
    createdAt: createdAt.toISOString(),
  }
}

function sessionView({ uid, createdAt, seenAt, ip, country, userAgent }: CommandSession) {
  return { uid, createdAt: createdAt.toISOString(), seenAt: seenAt.toISOString(), ip, country, userAgent }
}
