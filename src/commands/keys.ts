/** `genkan keys …`: signing keys and what is sealed. */
import { KEY_ALGS, type SigningKey } from '../features/keys/types.ts'
import {
  type Command,
  type CommandServices,
  duration,
  failure,
  JSON_OPTION,
  show,
  table,
  textOption,
} from './command.ts'

type Needs = Pick<CommandServices, 'keys' | 'now'>

const list: Command<Needs> = {
  name: 'keys list',
  summary: 'list published signing keys; of each algorithm the first signs',
  options: [JSON_OPTION],
  async run({ keys, now }, input, out) {
    const current = await keys.current(now())
    const view = current.map(({ kid, alg, state, signsFrom, retiresAt }) => ({ kid, alg, state, signsFrom, retiresAt }))
    show(input, out, view, () => table(['KID', 'ALG', 'STATE', 'SIGNS FROM', 'RETIRES'], current.map(row)))
  },
}

const rotate: Command<Needs> = {
  name: 'keys rotate',
  summary: 'publish a new signing key, which signs after a while; the present one stays published after that',
  options: [
    { flags: '--alg <alg>', description: `${KEY_ALGS.join(', ')} (default: ES256)` },
    { flags: '--publish <duration>', description: 'how long it is published before it signs (default: 24h)' },
    { flags: '--compromised', description: 'the present key is known to others: replace it now, stop publishing it' },
    JSON_OPTION,
  ],
  async run({ keys, now }, input, out) {
    const wanted = textOption(input, 'alg') ?? 'ES256'
    const alg = KEY_ALGS.find((known) => known === wanted)
    if (alg === undefined) throw failure(`--alg: write one of ${KEY_ALGS.join(', ')}`)
    const key = await keys.rotate({
      alg,
      publishSeconds: duration(textOption(input, 'publish') ?? '24h', '--publish'),
      compromised: input.options.compromised === true,
      now: now(),
    })
    show(input, out, { kid: key.kid, alg, signsFrom: key.signsFrom }, () =>
      key.state === 'signing'
        ? `${alg} key ${key.kid} signs from now on`
        : `${alg} key ${key.kid} is published and signs from ${key.signsFrom.toISOString()}`,
    )
  },
}

const reseal: Command<Pick<CommandServices, 'sealed' | 'facts'>> = {
  name: 'keys reseal',
  summary: 'bring everything that is sealed or signed under the newest secret key, so that older ones can go',
  options: [JSON_OPTION],
  async run({ sealed, facts }, input, out) {
    const { secrets, personal } = await sealed.reseal()
    const { renewed, forged } = await facts.reseal()
    show(
      input,
      out,
      { sealed: secrets, personal: personal.renewed, facts: renewed, forged: forged + personal.forged },
      () =>
        secrets + personal.renewed + renewed === 0
          ? 'everything is under the newest secret key'
          : `renewed ${secrets} keys, seeds and codes, ${personal.renewed} personal values, and ${renewed} facts and anchors`,
    )
    if (personal.forged > 0) {
      throw failure(`${personal.forged} personal values were changed, or are under no known key, and were left alone`)
    }
    if (forged > 0) throw failure(`${forged} facts are under no known key and were left alone: see genkan audit verify`)
  },
}

export const keyCommands: readonly Command<Needs & Pick<CommandServices, 'sealed' | 'facts'>>[] = [list, rotate, reseal]

function row(key: SigningKey): string[] {
  return [key.kid, key.alg, key.state, key.signsFrom.toISOString(), key.retiresAt?.toISOString() ?? '-']
}
