/** `genkan mail …`: look at mails before people get them, and try out the way they go. */
import type { Fixture } from '../platform/views.ts'
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

type Needs = Pick<CommandServices, 'mails' | 'now'>

const LOCALE = { flags: '--locale <tag>', description: 'one of the shipped languages (default: en)' } as const
const BRAND = { flags: '--brand <id>', description: 'whose look it has (default: default)' } as const
const STATE = { flags: '--state <state>', description: 'which of its states (default: the first)' } as const
const TEMPLATE = { name: 'template', description: 'as mail list names it' } as const

const list: Command<Needs> = {
  name: 'mail list',
  summary: 'list the mails that people can get, each with its states',
  options: [JSON_OPTION],
  async run({ mails }, input, out) {
    const all = mails.fixtures().map(({ template, state }) => ({ template, state }))
    show(input, out, all, () =>
      table(
        ['TEMPLATE', 'STATE'],
        all.map(({ template, state }) => [template, state]),
      ),
    )
  },
}

const preview: Command<Needs> = {
  name: 'mail preview',
  summary: 'print a mail as it will arrive, with invented values',
  arguments: [TEMPLATE],
  options: [STATE, LOCALE, BRAND, { flags: '--html', description: 'print the HTML part (default: subject and text)' }],
  async run({ mails }, input, out) {
    const { subject, html, text } = await rendered(mails, input)
    out.line(input.options.html === true ? html : `Subject: ${subject}\n\n${text}`.trimEnd())
  },
}

const send: Command<Needs> = {
  name: 'mail send',
  summary: 'send a mail with invented values, to see that mail arrives',
  arguments: [TEMPLATE, { name: 'address', description: 'who gets it' }],
  options: [STATE, LOCALE, BRAND],
  async run({ mails, now }, input, out) {
    const to = mails.canonicalEmail(argument(input, 1))
    if (to === undefined) throw failure(`${argument(input, 1)} is no e-mail address`)
    await mails.send({ ...(await rendered(mails, input)), to, date: now() })
    out.line(`sent to ${to}`)
  },
}

async function rendered(mails: CommandServices['mails'], input: Parameters<Command['run']>[1]) {
  const locale = textOption(input, 'locale') ?? 'en'
  if (!mails.locales.includes(locale)) throw failure(`--locale: write one of ${mails.locales.join(', ')}`)
  const { template, values } = find(mails.fixtures(locale), argument(input, 0), textOption(input, 'state'))
  const brand = await mails.brand(textOption(input, 'brand') ?? 'default')
  if (brand === undefined)
    throw failure(`there is no brand ${textOption(input, 'brand')}: genkan brands list names them`)
  return { ...mails.render(template, locale, values, brand), locale }
}

function find(fixtures: readonly Fixture[], template: string, state: string | undefined): Fixture {
  const states = fixtures.filter((fixture) => fixture.template === template)
  if (states.length === 0) throw failure(`there is no mail ${template}: genkan mail list names them`)
  const found = state === undefined ? states[0] : states.find((fixture) => fixture.state === state)
  if (found === undefined) throw failure(`--state: write one of ${states.map((each) => each.state).join(', ')}`)
  return found
}

export const mailCommands: readonly Command<Needs>[] = [list, preview, send]
