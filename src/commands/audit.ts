/** `genkan audit …`: read and prove the audit ledger. */
import type { ExportedFact } from '../platform/audit_export.ts'
import type { ListedFact } from '../platform/outbox_list.ts'
import {
  argument,
  type Command,
  type CommandServices,
  count,
  failure,
  JSON_OPTION,
  show,
  table,
  textOption,
} from './command.ts'

type Needs = Pick<CommandServices, 'facts' | 'refusals'>

const verify: Command<Needs> = {
  name: 'audit verify',
  summary: 'find changed, missing, inserted and unlawfully erased rows of the audit ledger',
  options: [
    {
      flags: '--anchor <seq:hash>',
      description: 'an anchor printed before and kept elsewhere: the ledger must contain it',
    },
    JSON_OPTION,
  ],
  async run({ facts }, input, out) {
    const report = await facts.verify(anchor(textOption(input, 'anchor')))
    const lines = report.problems.map(({ kind, seq, id }) => [kind, seq ?? '-', id ?? '-'].join(' '))
    const last = report.anchor === undefined ? [] : [`anchor ${report.anchor.seq}:${report.anchor.hash}`]
    show(input, out, report, () =>
      [...lines, ...(report.ok ? [`${report.checked} facts checked: all in order`] : []), ...last].join('\n'),
    )
    if (!report.ok) throw failure(`the ledger is not as it was written: ${report.problems.length} problems`)
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
    { flags: '--origins', description: 'show from which address and with which browser, while they are kept' },
    JSON_OPTION,
  ],
  async run({ facts }, input, out) {
    const origins = input.options.origins === true
    const found = await facts.list({
      type: textOption(input, 'type'),
      accountId: textOption(input, 'account'),
      clientId: textOption(input, 'client'),
      limit: count(textOption(input, 'limit'), '--limit', 50, 1000),
      origins,
    })
    const row = (fact: ListedFact) => [
      fact.occurredAt.toISOString(),
      fact.type,
      fact.accountId ?? '-',
      fact.clientId ?? '-',
      fact.actor ?? '-',
      ...(origins ? [fact.ip ?? '-', fact.userAgent ?? '-'] : []),
      fact.erased ? '(erased)' : JSON.stringify(fact.data),
    ]
    const head = ['TIME', 'FACT', 'ACCOUNT', 'CLIENT', 'ACTOR', ...(origins ? ['ADDRESS', 'DEVICE'] : []), 'DATA']
    show(input, out, found, () => table(head, found.map(row)))
  },
}

const exportAll: Command<Needs> = {
  name: 'audit export',
  summary: 'print the sealed ledger in its order, one JSON object a line, with the hashes that prove it',
  options: [
    { flags: '--type <type>', description: 'such as client.created' },
    { flags: '--account <id>', description: 'facts about this account' },
    { flags: '--client <id>', description: 'facts about this client' },
    {
      flags: '--since <time>',
      description: 'stated at this time or later, such as 2027-01-31 or 2027-01-31T12:00:00Z',
    },
    { flags: '--until <time>', description: 'stated before this time' },
  ],
  async run({ facts }, input, out) {
    const filter = {
      type: textOption(input, 'type'),
      accountId: textOption(input, 'account'),
      clientId: textOption(input, 'client'),
      since: time(textOption(input, 'since'), '--since'),
      until: time(textOption(input, 'until'), '--until'),
    }
    for await (const fact of await facts.export(filter)) out.line(jsonLine(fact))
  },
}

const explain: Command<Needs> = {
  name: 'audit explain',
  summary: 'tell why a request of a client was refused',
  arguments: [{ name: 'reference', description: 'X-Request-Id of the answer, or the reference that its page shows' }],
  options: [JSON_OPTION],
  async run({ refusals }, input, out) {
    const reference = argument(input, 0)
    const found = await refusals.explain(reference)
    if (found === undefined) {
      throw failure(
        'no refusal is known by that reference: it is older than two weeks, one of very many like it, or no refusal',
      )
    }
    const { reason, meaning, hint, error, endpoint, clientId, minute, count } = found
    const rows = {
      reason,
      meaning,
      hint,
      answer: error,
      endpoint,
      client: clientId,
      minute: minute.toISOString(),
      count,
    }
    show(input, out, { reference, ...rows }, () =>
      table(
        ['FIELD', 'VALUE'],
        Object.entries(rows).map(([name, value]) => [name, String(value ?? '') || '-']),
      ),
    )
  },
}

export const auditCommands: readonly Command<Needs>[] = [verify, list, exportAll, explain]

/** Characters that a terminal could obey are written as escapes of JSON: they read back as they were, and hashes hold. */
function jsonLine(fact: ExportedFact): string {
  const escaped = (text: string) =>
    Array.from({ length: text.length }, (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')
  return JSON.stringify(fact).replace(/\p{C}/gu, escaped)
}

function time(text: string | undefined, option: string): Date | undefined {
  if (text === undefined) return undefined
  const value = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/.test(text)
    ? new Date(text)
    : undefined
  if (value === undefined || Number.isNaN(value.getTime())) {
    throw failure(`${option}: write a day such as 2027-01-31, or a time with its zone such as 2027-01-31T12:00:00Z`)
  }
  return value
}

function anchor(text: string | undefined): { seq: number; hash: string } | undefined {
  if (text === undefined) return undefined
  const [, seq, hash] = /^(\d{1,15}):([\w-]{43})$/.exec(text) ?? []
  if (seq === undefined || hash === undefined) throw failure('--anchor: write it as audit verify printed it, seq:hash')
  return { seq: Number(seq), hash }
}
