/** `genkan audit …`: read and prove the audit ledger. */
import {
  type Command,
  type CommandFact,
  type CommandServices,
  count,
  failure,
  JSON_OPTION,
  show,
  table,
  textOption,
} from './command.ts'

type Needs = Pick<CommandServices, 'ledger'>

const verify: Command<Needs> = {
  name: 'audit verify',
  summary: 'find changed, missing and inserted rows of the audit ledger',
  options: [JSON_OPTION],
  async run({ ledger }, input, out) {
    const result = await ledger.verify()
    show(input, out, result, () =>
      [...result.problems, result.ok ? `${result.checked} facts checked: all in order` : ''].filter(Boolean).join('\n'),
    )
    if (!result.ok) throw failure(`${result.problems.length} of ${result.checked} facts are not as they were recorded`)
  },
}

const list: Command<Needs> = {
  name: 'audit list',
  summary: 'list recorded facts, newest first',
  options: [
    { flags: '--type <type>', description: 'such as client.created' },
    { flags: '--account <id>', description: 'facts about this account' },
    { flags: '--client <id>', description: 'facts about this client' },
    { flags: '--limit <number>', description: 'at the most (default: 50)' },
    JSON_OPTION,
  ],
  async run({ ledger }, input, out) {
    const facts = await ledger.list({
      type: textOption(input, 'type'),
      accountId: textOption(input, 'account'),
      clientId: textOption(input, 'client'),
      limit: count(textOption(input, 'limit'), '--limit', 50, 1000),
    })
    const row = (fact: CommandFact) => [
      fact.occurredAt.toISOString(),
      fact.type,
      fact.accountId ?? '-',
      fact.clientId ?? '-',
      fact.actor ?? '-',
      JSON.stringify(fact.data),
    ]
    show(input, out, facts, () => table(['TIME', 'FACT', 'ACCOUNT', 'CLIENT', 'ACTOR', 'DATA'], facts.map(row)))
  },
}

export const auditCommands: readonly Command<Needs>[] = [verify, list]
