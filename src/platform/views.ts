/**
 * Pages and mails as text: nunjucks templates without logic, message catalogues (ICU, one flat JSON per locale) and
 * content-hashed assets. Everything is read once at start; a missing key, placeholder or variable throws, so that a
 * page is whole or is an error and never half-translated.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { IntlMessageFormat } from 'intl-messageformat'
import { type Brand, PLAIN_BRAND } from './brand.ts'
import { agoIn, countryIn, dayIn, directionOf, listIn, momentIn, pickLocale } from './locales.ts'
import { messageProblem } from './message_check.ts'
import { type Contract, type Overrides, readTemplates, type Templates } from './templates.ts'

export type MessageValues = { readonly [name: string]: string | number | boolean | Date }

export interface Asset {
  readonly path: string
  readonly type: string
  readonly body: Buffer
}

export interface Mail {
  readonly subject: string
  readonly html: string
  readonly text: string
}

export interface Language {
  readonly value: string
  readonly label: string
}

export interface Views {
  /** The locales with a catalogue; the first is the default. */
  readonly locales: readonly string[]
  /** The same by their own names, so that who cannot read a page finds theirs; sorted for the eye, not by code. */
  readonly languages: readonly Language[]
  /**
   * Renders `views/<template>.njk`. `context.locale` must be one of `locales`; `t`, `list`, `dir`, `asset`, `languages` and `page` are
   * added. `context.brand` is a `Brand`, whose texts win over the catalogue's; without one the plain brand is shown.
   */
  render(template: string, context: { readonly [name: string]: unknown }): string
  /** Renders `views/<template>.mail.njk` three times: subject, HTML part and text part. */
  mail(template: string, locale: string, values: { readonly [name: string]: unknown }, brand?: Brand): Mail
  /** The message of a key, formatted (ICU). Throws for an unknown locale, key or placeholder. */
  t(locale: string, key: string, values?: MessageValues): string
  /** What is wrong with a text that a brand wants to show for a key; undefined when nothing is. */
  messageProblem(locale: string, key: string, text: string): string | undefined
  /** Whether a key has a message (catalogues have equal keys). */
  has(key: string): boolean
  /** The best locale for tags in order of preference (BCP 47 lookup, RFC 4647 §3.4); the default when none fits. */
  pickLocale(candidates: readonly string[]): string
  /** The public path of `views/assets/<name>`, its content hash in the name. Throws for an unknown name. */
  asset(name: string): string
  readonly assets: readonly Asset[]
  /** One set of values for every page and mail in each of its states: for previews and for the suites of pages. */
  fixtures(locale?: string): Fixtures
  /** What overrides may fill. */
  contract(): Contract
}

/** A template in one state, with the values that it takes. */
export interface Fixture {
  readonly template: string
  readonly state: string
  readonly values: { readonly [name: string]: unknown }
}

export interface Fixtures {
  readonly pages: readonly Fixture[]
  readonly mails: readonly Fixture[]
}

/**
 * Pages get times and countries as words of their language: fixtures hold them as `{ "$minutesAgo": n }`, `{ "$day": … }`,
 * `{ "$moment": … }` (ISO 8601) and `{ "$country": … }` (ISO 3166-1).
 */
function readFixtures(viewsDir: string, locale: string): Fixtures {
  const text = readFileSync(join(viewsDir, 'fixtures.json'), 'utf8')
  return JSON.parse(text, (_, value) => inWords(locale, value)) as Fixtures
}

function inWords(locale: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const {
    $minutesAgo: ago,
    $day: day,
    $moment: moment,
    $country: country,
  } = value as { readonly [name: string]: unknown }
  if (typeof ago === 'number') return agoIn(locale, new Date(0), new Date(ago * 60_000))
  if (typeof day === 'string') return dayIn(locale, new Date(day))
  if (typeof country === 'string') return countryIn(locale, country)
  return typeof moment === 'string' ? momentIn(locale, new Date(moment)) : value
}

const TYPES: { readonly [extension: string]: string } = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
}

export function createViews(options: {
  viewsDir: string
  locales?: readonly string[]
  overrides?: Overrides | undefined
}): Views {
  const catalogues = readCatalogues(join(options.viewsDir, 'messages'))
  const locales = options.locales ?? [...catalogues.keys()].sort((a, b) => Number(b === 'en') - Number(a === 'en'))
  const t = createTranslator(catalogues)
  const assets = readAssets(join(options.viewsDir, 'assets'))
  const templates = readTemplates(options.viewsDir, options.overrides)
  const [pages, plain] = [templates.environment(true), templates.environment(false)]
  const translators = new Map(
    locales.map((locale) => [locale, (key: string, values?: MessageValues) => t(locale, key, values)] as const),
  )
  const keys = catalogues.get(locales[0] ?? '') ?? new Map<string, string>()

  const languages = locales
    .map((value) => ({ value, label: t(value, 'language.name') }))
    .sort((a, b) => new Intl.Collator('en').compare(a.label, b.label))

  const has = (key: string) => keys.has(key)
  const problemOf = (locale: string, key: string, text: string) => {
    const original = catalogues.get(locale)?.get(key)
    return original === undefined ? 'is not a message of the pages' : messageProblem(original, text, locale)
  }
  const own = createOwnTexts(problemOf)
  const base = (locale: string, brand: Brand) => {
    const translate = translators.get(locale)
    if (!translate) throw new Error(`no messages for locale ${locale}`)
    const texts = brand.texts[locale]
    const say = texts ? own(locale, texts, translate) : translate
    const list = (items: readonly string[]) => listIn(locale, items)
    return { brand, t: say, list, has, locale, dir: directionOf(locale), asset, languages }
  }
  const asset = (name: string): string => {
    const found = assets.get(name)
    if (!found) throw new Error(`no asset ${name}`)
    return found.path
  }

  return {
    locales,
    languages,
    t,
    asset,
    assets: [...assets.values()],
    has,
    fixtures: (locale = 'en') => readFixtures(options.viewsDir, locale),
    contract: templates.contract,
    messageProblem: problemOf,
    pickLocale: (candidates) => pickLocale(locales, candidates),
    render: (template, context) =>
      pages.render(`${template}.njk`, {
        ...context,
        ...base(String(context.locale), (context.brand as Brand | undefined) ?? PLAIN_BRAND),
        page: template,
      }),
    mail(template, locale, values, brand = PLAIN_BRAND) {
      const context = { ...values, ...base(locale, brand) }
      const part = (env: ReturnType<Templates['environment']>, layout: string, parts: string) =>
        env.render(`${template}.mail.njk`, {
          ...context,
          layout: `mails/${layout}.njk`,
          parts: `mails/${parts}_parts.njk`,
        })
      return {
        // A header: no line breaks or controls may come through a value.
        subject: part(plain, 'subject', 'text')
          .replace(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ')
          .trim(),
        html: part(pages, 'html', 'html').trim(),
        text: `${part(plain, 'text', 'text')
          .replace(/\n{3,}/g, '\n\n')
          .trim()}\n`,
      }
    },
  }
}

type Translate = (key: string, values?: MessageValues) => string

/**
 * Texts of brands in front of the catalogue; parsed ones live as long as they do. They were checked when they were written,
 * but perhaps by an earlier version: one that does not fit its message any more gives way to ours.
 */
function createOwnTexts(problem: Views['messageProblem']) {
  const parsed = new WeakMap<object, Map<string, IntlMessageFormat | undefined>>()
  return (locale: string, texts: { readonly [key: string]: string }, translate: Translate): Translate => {
    const formats = parsed.get(texts) ?? new Map<string, IntlMessageFormat | undefined>()
    parsed.set(texts, formats)
    const read = (key: string) => {
      const text = Object.hasOwn(texts, key) ? texts[key] : undefined
      const fits = text !== undefined && problem(locale, key, text) === undefined
      return fits ? new IntlMessageFormat(text, locale, undefined, { ignoreTag: true }) : undefined
    }
    return (key, values) => {
      if (!formats.has(key)) formats.set(key, read(key))
      const format = formats.get(key)
      return format === undefined ? translate(key, values) : String(format.format(values))
    }
  }
}

/** `<locale>.json`, and `<locale>.<part>.json` beside it for a room with many texts of its own. */
function readCatalogues(directory: string): Map<string, Map<string, string>> {
  const catalogues = new Map<string, Map<string, string>>()
  for (const file of readdirSync(directory).sort()) {
    if (!file.endsWith('.json')) continue
    const locale = file.slice(0, file.indexOf('.'))
    const messages = catalogues.get(locale) ?? new Map<string, string>()
    const entries = Object.entries(JSON.parse(readFileSync(join(directory, file), 'utf8')) as Record<string, string>)
    for (const [key, message] of entries) {
      if (messages.has(key)) throw new Error(`message ${key} is twice in the catalogues of ${locale}`)
      messages.set(key, message)
    }
    catalogues.set(locale, messages)
  }
  return catalogues
}

/** Parsed messages are kept: parsing ICU costs a hundred times what formatting costs. */
function createTranslator(catalogues: Map<string, Map<string, string>>): Views['t'] {
  const parsed = new Map<string, IntlMessageFormat | string>()
  return (locale, key, values) => {
    const id = `${locale}\n${key}`
    let format = parsed.get(id)
    if (format === undefined) {
      const message = catalogues.get(locale)?.get(key)
      if (message === undefined) throw new Error(`no message ${key} in ${locale}`)
      const isPlain = !message.includes('{') && !message.includes("'")
      format = isPlain ? message : new IntlMessageFormat(message, locale, undefined, { ignoreTag: true })
      parsed.set(id, format)
    }
    return typeof format === 'string' ? format : String(format.format(isolate(locale, values)))
  }
}

/** Values in right-to-left text are isolated (UAX #9): an address or a name may not move the words around it. */
function isolate(locale: string, values: MessageValues | undefined): MessageValues | undefined {
  if (values === undefined || directionOf(locale) === 'ltr') return values
  const isolated = Object.entries(values).map(([name, value]) => [
    name,
    typeof value === 'string' ? `\u2068${value}\u2069` : value,
  ])
  return Object.fromEntries(isolated) as MessageValues
}

function readAssets(directory: string): Map<string, Asset> {
  const assets = new Map<string, Asset>()
  for (const name of readdirSync(directory)) {
    const extension = extname(name)
    const type = TYPES[extension]
    if (type === undefined) throw new Error(`views/assets/${name}: no content type is known for ${extension}`)
    const body = readFileSync(join(directory, name))
    const hash = createHash('sha256').update(body).digest('hex').slice(0, 12)
    const path = `/assets/${name.slice(0, -extension.length)}.${hash}${extension}`
    assets.set(name, { path, type, body })
  }
  return assets
}
