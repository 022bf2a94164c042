/** `genkan brands …`: how pages and mails look. What the configuration file declares is read-only here. */
import { parse } from 'yaml'
import type { BrandRecord, LogoVariant } from '../features/brands/types.ts'
import { sheetOf } from '../platform/brand.ts'
import { isHex } from '../platform/colour.ts'
import { describeContrast } from '../platform/palette.ts'
import {
  argument,
  type Command,
  type CommandInput,
  type CommandServices,
  failure,
  JSON_OPTION,
  type Option,
  show,
  table,
  textOption,
} from './command.ts'

type Needs = Pick<CommandServices, 'brands'>
const ID = { name: 'brand', description: 'its id; "default" is the brand of everything that names no other' } as const

/** Options that name colours, and the setting each is for. */
const COLOURS: readonly (Option & { readonly option: string; readonly setting: string })[] = [
  {
    option: 'accent',
    setting: 'accent',
    flags: '--accent <colour>',
    description: 'buttons and links, such as #2b4c9b',
  },
  {
    option: 'accentDark',
    setting: 'accent_dark',
    flags: '--accent-dark <colour>',
    description: 'the accent on dark pages (default: made from the other)',
  },
]

const list: Command<Needs> = {
  name: 'brands list',
  summary: 'list brands',
  options: [JSON_OPTION],
  async run({ brands }, input, out) {
    const records = await brands.list()
    const row = ({ id, settings, managed, disabledAt }: BrandRecord) => [
      id,
      settings.name,
      managed,
      disabledAt === undefined ? 'enabled' : 'disabled',
    ]
    show(input, out, records.map(view), () => table(['BRAND', 'NAME', 'MANAGED', 'STATE'], records.map(row)))
  },
}

const showOne: Command<Needs> = {
  name: 'brands show',
  summary: 'show a brand, and the contrast of its colours',
  arguments: [ID],
  options: [JSON_OPTION],
  async run({ brands }, input, out) {
    const record = found(await brands.show(argument(input, 0)), argument(input, 0))
    show(input, out, view(record), () => {
      const { settings, contrasts, ...rest } = view(record)
      const entries = Object.entries({ ...rest, ...settings }).filter(([, value]) => value !== undefined)
      const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))
      const rows = entries.map(([name, value]) => [name, text(value)])
      return table(['SETTING', 'VALUE'], [...rows, ...contrasts.map((pair) => ['contrast', describeContrast(pair)])])
    })
  },
}

const set: Command<Needs> = {
  name: 'brands set',
  summary: 'make a brand, or change some of its settings; null in --settings takes one away',
  arguments: [ID],
  options: [
    { flags: '--name <text>', description: 'name shown on pages and in mails' },
    ...COLOURS,
    { flags: '--default-locale <locale>', description: 'language of whoever asks for none that the pages have' },
    {
      flags: '--settings <file>',
      description: 'JSON or YAML as under brands in genkan.yaml; flags come on top (- reads standard input)',
      content: true,
    },
  ],
  async run({ brands }, input, out) {
    const id = argument(input, 0)
    const warnings = await brands.set(id, settings(input))
    out.line(`brand ${id} saved`)
    for (const pair of warnings) out.line(`warning: ${describeContrast(pair)}`)
  },
}

const logo: Command<Needs> = {
  name: 'brands logo',
  summary: 'set or remove a logo: PNG or SVG, up to 256 KiB and 2048 × 2048 pixels; stored cleaned',
  arguments: [ID],
  options: [
    { flags: '--light <file>', description: 'the logo (- reads standard input)', content: 'base64' },
    { flags: '--dark <file>', description: 'the logo on dark pages', content: 'base64' },
    { flags: '--remove <variant>', description: 'light or dark' },
  ],
  async run({ brands }, input, out) {
    const id = argument(input, 0)
    found(await brands.show(id), id)
    const gone = textOption(input, 'remove')
    if (gone !== undefined && gone !== 'light' && gone !== 'dark') throw failure('--remove: write light or dark')
    const files = (['light', 'dark'] as const).flatMap((variant): (readonly [LogoVariant, Buffer | undefined])[] => {
      const file = textOption(input, variant)
      return file === undefined ? [] : [[variant, Buffer.from(file, 'base64')]]
    })
    const acts = gone === undefined ? files : [...files, [gone, undefined] as const]
    if (acts.length === 0) throw failure('give --light, --dark or --remove')
    for (const [variant, file] of acts) {
      const done = await brands.setLogo(id, variant, file)
      if (done === undefined) throw failure(`brand ${id} has no ${variant} logo`)
      out.line(`${variant} logo of ${id} ${file === undefined ? 'removed' : 'saved'}`)
    }
  },
}

const css: Command<Needs> = {
  name: 'brands css',
  summary: 'set or remove custom CSS, up to 32 KiB; what could load or read anything is refused',
  arguments: [ID],
  options: [
    { flags: '--file <file>', description: 'the stylesheet (- reads standard input)', content: true },
    { flags: '--remove', description: 'go back to the brand without it' },
  ],
  async run({ brands }, input, out) {
    const id = argument(input, 0)
    const text = textOption(input, 'file')
    if ((text === undefined) !== (input.options.remove === true)) throw failure('give either --file or --remove')
    found(await brands.setCss(id, text), id)
    out.line(`css of ${id} ${text === undefined ? 'removed' : 'saved'}`)
  },
}

const remove: Command<Needs> = {
  name: 'brands delete',
  summary: 'delete a brand; clients that name it show the default one',
  arguments: [ID],
  async run({ brands }, input, out) {
    const id = argument(input, 0)
    if (!(await brands.remove(id))) throw failure(`there is no brand ${id}`)
    out.line(`brand ${id} deleted`)
  },
}

const contrast: Command<object> = {
  name: 'brands contrast',
  summary: 'say how well colours can be read, and what pages would show; changes nothing',
  options: [
    ...COLOURS,
    { flags: '--canvas <colour>', description: 'the page behind the card' },
    { flags: '--sheet <colour>', description: 'the card' },
    JSON_OPTION,
  ],
  async run(_services, input, out) {
    const given = { ...colours(input), canvas: textOption(input, 'canvas'), sheet: textOption(input, 'sheet') }
    const wrong = Object.values(given).find((value) => value !== undefined && !isHex(value))
    if (wrong !== undefined) throw failure(`${wrong}: write a colour such as #2b4c9b`)
    const { contrasts } = sheetOf({ colours: given }, '')
    if (contrasts.length === 0) throw failure('give a colour')
    show(input, out, contrasts, () => contrasts.map(describeContrast).join('\n'))
  },
}

export const brandCommands: readonly Command<Needs>[] = [list, showOne, set, logo, css, remove, contrast]

function colours(input: CommandInput): { readonly [setting: string]: string } {
  const given = COLOURS.map(({ option, setting }) => [setting, textOption(input, option)] as const)
  return Object.fromEntries(given.filter((entry): entry is [string, string] => entry[1] !== undefined))
}

function settings(input: CommandInput): { readonly [setting: string]: unknown } {
  const given = fromText(textOption(input, 'settings'))
  const flags = { name: textOption(input, 'name'), default_locale: textOption(input, 'defaultLocale') }
  const own = colours(input)
  const before = given.colours as object | undefined
  return {
    ...given,
    ...Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined)),
    ...(Object.keys(own).length === 0 ? {} : { colours: { ...before, ...own } }),
  }
}

function fromText(text: string | undefined): { readonly [setting: string]: unknown } {
  if (text === undefined) return {}
  try {
    // YAML 1.2 reads JSON too.
    const value: unknown = parse(text)
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>
  } catch (cause) {
    throw failure(`--settings: ${String((cause as Error).message).split('\n')[0]}`, cause)
  }
  throw failure('--settings: is not a mapping of names to values')
}

function found<T>(value: T | undefined, id: string): T {
  if (value === undefined) throw failure(`there is no brand ${id}`)
  return value
}

function view({ id, managed, settings, css, logos, disabledAt, createdAt, updatedAt }: BrandRecord) {
  const picture = (variant: LogoVariant) => {
    const known = logos[variant]
    return known && `${known.type}, ${known.width} × ${known.height}`
  }
  return {
    brand: id,
    managed,
    disabled_at: disabledAt?.toISOString(),
    created_at: createdAt.toISOString(),
    updated_at: updatedAt.toISOString(),
    settings,
    logo: picture('light'),
    logo_dark: picture('dark'),
    css_bytes: Buffer.byteLength(css),
    contrasts: sheetOf(settings, '').contrasts,
  }
}
