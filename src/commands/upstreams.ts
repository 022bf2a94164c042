/** `genkan upstreams …`: whom people may come from. Settings of declared ones are read-only here; switching off is not. */
import { parse } from 'yaml'
import type { UpstreamState } from '../features/upstreams/types.ts'
import {
  argument,
  type Command,
  type CommandServices,
  failure,
  JSON_OPTION,
  REASON_OPTION,
  reasonOption,
  show,
  table,
  textOption,
} from './command.ts'

type Needs = Pick<CommandServices, 'upstreams'>
const NAME = { name: 'upstream', description: 'its name, as in its callback' } as const

const list: Command<Needs> = {
  name: 'upstreams list',
  summary: 'list upstream providers',
  options: [JSON_OPTION],
  async run({ upstreams }, input, out) {
    const all = await upstreams.states()
    const row = ({ name, kind, title, managed, isOn }: UpstreamState) => [
      ...[name, kind, title, managed],
      isOn ? 'enabled' : 'disabled',
    ]
    show(input, out, all, () => table(['UPSTREAM', 'KIND', 'TITLE', 'MANAGED', 'STATE'], all.map(row)))
  },
}

const set: Command<Needs> = {
  name: 'upstreams set',
  summary: 'make an upstream provider, or replace its settings',
  arguments: [NAME],
  options: [
    {
      flags: '--settings <file>',
      description: 'YAML or JSON, as under "upstreams" in genkan.yaml; - reads it',
      content: true,
    },
  ],
  async run({ upstreams }, input, out) {
    const name = argument(input, 0)
    const text = textOption(input, 'settings')
    if (text === undefined) throw failure('--settings: say what the provider is')
    await upstreams.set(name, read(text))
    const { callback, backchannel_logout_uri: logout } = await upstreams.addresses(name)
    out.line(`upstream ${name} set; its callback is ${callback}`)
    if (logout !== undefined) out.line(`its backchannel_logout_uri, if it tells of logouts, is ${logout}`)
  },
}

function read(text: string): unknown {
  try {
    const { name: _, ...settings } = (parse(text) ?? {}) as { readonly [setting: string]: unknown }
    return settings
  } catch (cause) {
    throw failure('--settings: is neither YAML nor JSON', cause)
  }
}

const switching = (verb: 'enable' | 'disable'): Command<Needs> => ({
  name: `upstreams ${verb}`,
  summary:
    verb === 'enable' ? 'let people sign in by it again' : 'let nobody sign in by it, also who is away there just now',
  arguments: [NAME],
  options: [REASON_OPTION],
  async run({ upstreams }, input, out) {
    const name = argument(input, 0)
    const changed = await upstreams.setDisabled(name, verb === 'disable', reasonOption(input))
    if (changed === undefined) throw absent(name)
    out.line(changed ? `upstream ${name} ${verb}d` : `upstream ${name} is ${verb}d already`)
  },
})

const remove: Command<Needs> = {
  name: 'upstreams remove',
  summary: 'forget an upstream provider; what accounts are called there stays',
  arguments: [NAME],
  async run({ upstreams }, input, out) {
    const name = argument(input, 0)
    if (!(await upstreams.remove(name))) throw absent(name)
    out.line(`upstream ${name} removed`)
  },
}

const test: Command<Needs> = {
  name: 'upstreams test',
  summary: 'ask an upstream provider what it is, and show what would be taken over',
  arguments: [NAME],
  options: [JSON_OPTION],
  async run({ upstreams }, input, out) {
    const name = argument(input, 0)
    const report = await upstreams.inspect(name)
    if (report === undefined) throw absent(name)
    const { issuer, found, problems, rules } = report
    const addresses = await upstreams.addresses(name)
    const rows = [
      ['issuer', issuer],
      ...Object.entries(addresses),
      ...Object.entries(found),
      ...Object.entries(rules).map(([claim, rule]) => [`import ${claim}`, rule]),
      ...problems.map((problem) => ['PROBLEM', problem]),
    ]
    show(input, out, { ...report, ...addresses }, () => table(['WHAT', 'VALUE'], rows))
    if (problems.length > 0) throw failure(`${problems.length} of these would keep people out`)
  },
}

function absent(name: string) {
  return failure(`there is no upstream ${name}`)
}

export const upstreamCommands: readonly Command<Needs>[] = [
  list,
  set,
  switching('enable'),
  switching('disable'),
  remove,
  test,
]
