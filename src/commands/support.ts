/** `genkan support …`: what the help desk may do for people, never one of them alone. */
import type { Approved } from '../features/lost_factors/types.ts'
import { newToken, sha256 } from '../platform/ids.ts'
import {
  argument,
  type Command,
  type CommandServices,
  failure,
  JSON_OPTION,
  REASON_OPTION,
  reasonOption,
  show,
  textOption,
} from './command.ts'

type Needs = Pick<CommandServices, 'accounts' | 'support'>

export const supportKey: Command<object> = {
  name: 'support key',
  summary: 'make a key for somebody of the support; it is shown once, its hash belongs into recovery.support',
  options: [JSON_OPTION],
  async run(_, input, out) {
    const made = newToken()
    const hash = sha256(made)
    show(input, out, { key: made, key_hash: hash }, () => `key       ${made}\nkey_hash  ${hash}`)
  },
}

const SAID: { readonly [result in Approved]: string } = {
  released:
    'the waiting has ended: the next sign-in with the first factor removes the lost factors, and everybody is told',
  one_more: 'approved; somebody else of the support has to approve too, within 24 hours',
  approved_already: 'you have approved this already: somebody else has to',
  due_already: 'the waiting is over: the next sign-in removes the lost factors',
  none: 'no removal is waiting: the owner asks for it at sign-in ("I can’t use any of these"), and it may have been stopped',
  refused: 'nobody of that name with that key is in recovery.support',
}
const FAILED: ReadonlySet<Approved> = new Set(['approved_already', 'none', 'refused'])

const approve: Command<Needs> = {
  name: 'support approve',
  summary: 'let the owner of lost factors wait no longer: two of the support approve, each with their own key',
  arguments: [{ name: 'account', description: 'account id or e-mail address' }],
  options: [
    { flags: '--name <name>', description: 'yours, as in recovery.support' },
    { flags: '--key <file>', description: 'file with your key; - reads standard input', content: true },
    REASON_OPTION,
  ],
  async run({ accounts, support }, input, out) {
    const who = argument(input, 0)
    const [name, secret] = [textOption(input, 'name'), textOption(input, 'key')?.trim()]
    if (name === undefined || secret === undefined) throw failure('--name and --key: say who you are')
    if (support === undefined) throw failure('modules.recovery is off: there is no removal to approve')
    const reason = reasonOption(input)
    const account = await accounts.find(who)
    if (account === undefined) throw failure(`there is no account ${who}`)
    const result = await support.approve(account.id, { name, key: secret }, reason)
    if (FAILED.has(result)) throw failure(SAID[result])
    out.line(SAID[result])
  },
}

export const supportCommands: readonly Command<Needs>[] = [supportKey, approve]
