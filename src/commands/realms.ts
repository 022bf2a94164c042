/** `genkan realms …`: e-mail domains whose people sign in by a provider. Declared ones are read-only here; proving them is not. */
import type { RealmState } from '../features/realms/types.ts'
import {
  argument,
  type Command,
  type CommandServices,
  failure,
  JSON_OPTION,
  show,
  table,
  textOption,
} from './command.ts'

type Needs = Pick<CommandServices, 'realms'>
const DOMAIN = { name: 'domain', description: 'an e-mail domain, such as example.com' } as const

const list: Command<Needs> = {
  name: 'realms list',
  summary: 'list e-mail domains that have a provider, and the records that prove them',
  options: [JSON_OPTION],
  async run({ realms }, input, out) {
    const all = await realms.states()
    const row = ({ domain, upstream, policy, managed, state, record, breakGlass }: RealmState) => [
      ...[domain, upstream, policy, managed, state, breakGlass.join(' ')],
      ...[record.name, record.value],
    ]
    const head = ['DOMAIN', 'UPSTREAM', 'POLICY', 'MANAGED', 'STATE', 'BREAK-GLASS', 'TXT RECORD', 'VALUE']
    show(input, out, all, () => table(head, all.map(row)))
  },
}

const add: Command<Needs> = {
  name: 'realms add',
  summary: 'let people of a domain sign in by a provider, once the domain is proven; or change how',
  arguments: [DOMAIN],
  options: [
    { flags: '--upstream <name>', description: 'the provider' },
    { flags: '--policy <policy>', description: 'offer, route (as without) or enforce' },
  ],
  async run({ realms }, input, out) {
    const domain = argument(input, 0)
    const policy = textOption(input, 'policy')
    const upstream = textOption(input, 'upstream')
    if (upstream === undefined) throw failure('--upstream: say which provider')
    const record = await realms.set(domain, { upstream, ...(policy !== undefined && { policy }) })
    out.line(`publish ${record.name} TXT "${record.value}", then run genkan realms prove ${domain}`)
  },
}

const prove: Command<Needs> = {
  name: 'realms prove',
  summary: 'look for the record that proves a domain',
  arguments: [DOMAIN],
  async run({ realms }, input, out) {
    const domain = argument(input, 0)
    const seen = await realms.prove(domain)
    if (seen === undefined) throw absent(domain)
    if (typeof seen === 'object') throw failure(`the DNS did not answer (${seen.failed}): try again`)
    if (seen === 'missing') throw failure(`${domain} has no such record: see genkan realms list`)
    if (seen === 'other_value') throw failure(`${domain} has a record with another value: see genkan realms list`)
    out.line(`${domain} is proven`)
  },
}

const remove: Command<Needs> = {
  name: 'realms remove',
  summary: 'forget a domain: its people sign in by whatever they have',
  arguments: [DOMAIN],
  async run({ realms }, input, out) {
    const domain = argument(input, 0)
    if (!(await realms.remove(domain))) throw absent(domain)
    out.line(`realm ${domain} removed`)
  },
}

const breakGlass: Command<Needs> = {
  name: 'realms break-glass',
  summary: 'let an account of a closed domain keep methods of its own, for the day the provider is away',
  arguments: [DOMAIN, { name: 'account', description: 'its id or e-mail address' }],
  options: [{ flags: '--remove', description: 'not any more' }],
  async run({ realms }, input, out) {
    const [domain, account] = [argument(input, 0), argument(input, 1)]
    const keeps = input.options.remove !== true
    const changed = await realms.setBreakGlass(domain, account, keeps)
    if (changed === undefined) throw absent(domain)
    const how = keeps ? 'keeps methods of its own' : 'keeps no methods of its own'
    out.line(`${account} ${how}${changed ? '' : ' already'}`)
  },
}

function absent(domain: string) {
  return failure(`there is no realm ${domain}`)
}

export const realmCommands: readonly Command<Needs>[] = [list, add, prove, remove, breakGlass]
