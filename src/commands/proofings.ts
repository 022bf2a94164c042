/** `genkan proofings …`: checks of persons that wait for an operator, and those that an operator makes. All of it is stated, with a name. */
import {
  type ByOperator,
  type Decided,
  PROOFING_STATES,
  type Proofing,
  type ProofingState,
} from '../features/proofings/types.ts'
import {
  argument,
  type Command,
  type CommandInput,
  type CommandServices,
  count,
  failure,
  JSON_OPTION,
  listOption,
  REASON_OPTION,
  reasonOption,
  show,
  table,
  textOption,
} from './command.ts'

type Needs = Pick<CommandServices, 'accounts' | 'now' | 'proofings'>
const ID = [{ name: 'id', description: 'as proofings list has it' }] as const
const WHO = [{ name: 'account', description: 'account id or e-mail address' }] as const
const OPERATOR = { flags: '--operator <name>', description: 'you: stands in the audit ledger' } as const
const BY = { flags: '--by <name>', description: 'the proofing, as the configuration has it' } as const

const list: Command<Needs> = {
  name: 'proofings list',
  summary: 'list checks of persons, newest first, without what they say',
  options: [
    { flags: '--state <state>', description: `${PROOFING_STATES.join(', ')} (default: all)` },
    { flags: '--limit <number>', description: 'at the most (default: 50)' },
    JSON_OPTION,
  ],
  async run({ proofings }, input, out) {
    const state = textOption(input, 'state')
    if (state !== undefined && !PROOFING_STATES.includes(state as ProofingState))
      throw failure(`--state: write one of ${PROOFING_STATES.join(', ')}`)
    const atMost = count(textOption(input, 'limit'), '--limit', 50, 1000)
    const found = await proofings.list({ state: state as ProofingState | undefined, atMost })
    const head = ['PROOFING', 'ACCOUNT', 'BY', 'STATE', 'BEGUN', 'UNTIL', 'REASON']
    const row = ({ id, account, by, begun, until, reason, ...of }: View) => [
      ...[id, account, by, of.state, begun, of.decided === undefined ? until : '-', reason ?? '-'],
    ]
    show(input, out, found.map(view), () =>
      table(
        head,
        found.map((each) => row(view(each))),
      ),
    )
  },
}

const showOne: Command<Needs> = {
  name: 'proofings show',
  summary: 'show a check with what waits to be decided; that you have looked is stated',
  arguments: ID,
  options: [OPERATOR, JSON_OPTION],
  async run({ proofings }, input, out) {
    const found = await proofings.view(argument(input, 0), operatorOf(input))
    if (found === undefined) throw failed('absent', argument(input, 0))
    const claims = Object.entries(found.claims ?? {})
    show(input, out, { ...view(found), claims: found.claims }, () =>
      table(
        ['FIELD', 'VALUE'],
        [...Object.entries(view(found)), ...claims].map(([name, value]) => [name, value ?? '-']),
      ),
    )
  },
}

const approve = decision('approve', 'approved', 'take what a check in review says as verified')
const refuse = decision(
  'refuse',
  'refused',
  'refuse a check in review; what it says is deleted, and the person may begin again',
)

/** Who is refused may ask why: that takes a reason. */
function decision(verb: 'approve' | 'refuse', done: string, summary: string): Command<Needs> {
  return {
    name: `proofings ${verb}`,
    summary,
    arguments: ID,
    options: [OPERATOR, REASON_OPTION],
    async run({ proofings }, input, out) {
      const id = argument(input, 0)
      const by = operatorOf(input)
      if (verb === 'refuse' && by.reason === undefined) throw failure('--reason: say why')
      const decided = await proofings[verb](id, by)
      if (decided !== 'done') throw failed(decided, id)
      out.line(`proofing ${id} ${done}`)
    },
  }
}

const record: Command<Needs> = {
  name: 'proofings record',
  summary: 'record what you have verified of somebody yourself, by a proofing of kind manual',
  arguments: WHO,
  options: [
    BY,
    { flags: '--claim <claim...>', description: 'name=value, one or more: given_name=Anna birthdate=1990-05-21' },
    { flags: '--verified-at <date>', description: 'when you did, such as 2026-11-26 (default: now)' },
    OPERATOR,
    REASON_OPTION,
  ],
  async run({ accounts, now, proofings }, input, out) {
    const [id, provider, by] = [await accountOf(accounts, input), providerOf(input), operatorOf(input)]
    const seen = { accountId: id, provider, claims: claimsOf(input), at: dateOf(input, now()) }
    const decided = await proofings.record(seen, by)
    if (decided !== 'done') throw failed(decided, id)
    out.line(`account ${id} is verified by ${provider}`)
  },
}

const revoke: Command<Needs> = {
  name: 'proofings revoke',
  summary: 'delete what was verified of an account by a proofing or an upstream',
  arguments: WHO,
  options: [BY, OPERATOR, REASON_OPTION],
  async run({ accounts, proofings }, input, out) {
    const [id, provider, by] = [await accountOf(accounts, input), providerOf(input), operatorOf(input)]
    if (!(await proofings.revoke(id, provider, by)))
      throw failure(`nothing of account ${id} is verified by ${provider}`)
    out.line(`account ${id} is no longer verified by ${provider}`)
  },
}

export const proofingCommands: readonly Command<Needs>[] = [list, showOne, approve, refuse, record, revoke]

const FAILED: { readonly [decided in Exclude<Decided, 'done'>]: (what: string) => string } = {
  absent: (id) => `there is no ${id}`,
  closed: (id) => `proofing ${id} is not in review, or its time is over`,
  undeclared: () => 'there is no such proofing in the configuration, or it is not of that kind',
  unverified: () =>
    'a claim is not one of the proofing’s or cannot be read, there is none, or it was verified too long ago',
  later: (id) => `account ${id} was verified by it later than that`,
}

function failed(decided: Exclude<Decided, 'done'>, what: string) {
  return failure(FAILED[decided](what))
}

function operatorOf(input: CommandInput): ByOperator {
  const operator = textOption(input, 'operator')
  if (operator === undefined || !/^[\w.-]{1,64}$/.test(operator))
    throw failure('--operator: say who you are, by letters, digits, "_", "." and "-", 64 at the most')
  return { operator, reason: reasonOption(input) }
}

async function accountOf(accounts: Needs['accounts'], input: CommandInput): Promise<string> {
  const account = await accounts.find(argument(input, 0))
  if (account === undefined) throw failure(`there is no account ${argument(input, 0)}`)
  return account.id
}

function providerOf(input: CommandInput): string {
  const provider = textOption(input, 'by')
  if (provider === undefined) throw failure('--by: say which proofing')
  return provider
}

function claimsOf(input: CommandInput): { readonly [claim: string]: string } {
  const pairs = (listOption(input, 'claim') ?? []).map((text) => {
    const at = text.indexOf('=')
    if (at < 1) throw failure(`--claim: write name=value, not ${text}`)
    return [text.slice(0, at), text.slice(at + 1)] as const
  })
  if (pairs.length === 0) throw failure('--claim: say what you have verified')
  const names = new Set(pairs.map(([name]) => name))
  if (names.size !== pairs.length) throw failure('--claim: each one once')
  return Object.fromEntries(pairs)
}

function dateOf(input: CommandInput, now: Date): Date | undefined {
  const text = textOption(input, 'verifiedAt')
  if (text === undefined) return undefined
  const date = new Date(text)
  const isDate = /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d))?$/.test(text) && !Number.isNaN(date.getTime())
  if (!isDate || date > now) throw failure('--verified-at: write a date that is over, such as 2026-11-26')
  return date
}

type View = ReturnType<typeof view>

function view({ id, accountId, provider, state, reason, beganAt, expiresAt, decidedAt, verifiedAt }: Proofing) {
  return {
    ...{ id, account: accountId, by: provider, state, reason, begun: beganAt.toISOString() },
    ...{ until: expiresAt.toISOString(), decided: decidedAt?.toISOString(), seen: verifiedAt?.toISOString() },
  }
}
