/** What is wrong with message catalogues and templates, as lists of findings: empty when nothing is. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { IntlMessageFormat } from 'intl-messageformat'

export type Catalogue = { readonly [key: string]: string }

/** `<locale>.json` and `<locale>.<room>.json`, joined by locale. */
export function readCatalogues(folder: string): Map<string, Catalogue> {
  const catalogues = new Map<string, Catalogue>()
  for (const file of readdirSync(folder).sort()) {
    const locale = file.slice(0, file.indexOf('.'))
    const texts = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Catalogue
    catalogues.set(locale, { ...catalogues.get(locale), ...texts })
  }
  return catalogues
}

interface Element {
  /** Of the ICU parser: 0 text, 1 argument, 6 plural, 7 the number of a plural. */
  readonly type: number
  readonly value?: string
  readonly options?: { readonly [category: string]: { readonly value: readonly Element[] } }
  readonly pluralType?: string
}

function elementsOf(message: string, locale: string): readonly Element[] {
  return new IntlMessageFormat(message, locale, undefined, { ignoreTag: true }).getAst() as unknown as Element[]
}

/** Arguments of a message; a plural is told from a plain one. */
export function placeholdersOf(message: string, locale: string): string[] {
  const names = (elements: readonly Element[]): string[] =>
    elements.flatMap(({ type, value = '', options = {} }) => {
      if (type === 0 || type === 7) return []
      const inner = Object.values(options).flatMap((option) => names(option.value))
      return [type === 6 ? `${value}, plural` : value, ...inner]
    })
  return [...new Set(names(elementsOf(message, locale)))].sort()
}

/** Keys that only one of two catalogues has, texts left as they are, and messages with other placeholders. */
export function differences(reference: Catalogue, other: Catalogue, locale: string): string[] {
  const keys = [...new Set([...Object.keys(reference), ...Object.keys(other)])]
  return keys.flatMap((key) => {
    const [one, two] = [reference[key], other[key]]
    if (two === undefined) return [`${key} is missing`]
    if (one === undefined) return [`${key} is unknown`]
    if (one === two) return [`${key} is untranslated`]
    const [wanted, found] = [placeholdersOf(one, 'en').join('; '), placeholdersOf(two, locale).join('; ')]
    return wanted === found ? [] : [`${key} has {${found}} for {${wanted}}`]
  })
}

/** Categories that a plural of the locale lacks, or has for no number (CLDR plural rules). */
export function pluralGaps(message: string, locale: string): string[] {
  const wanted = new Intl.PluralRules(locale).resolvedOptions().pluralCategories
  const check = (elements: readonly Element[]): string[] =>
    elements.flatMap(({ type, options = {} }) => {
      const inner = Object.values(options).flatMap((option) => check(option.value))
      if (type !== 6) return inner
      const given = Object.keys(options).filter((category) => !category.startsWith('='))
      const lacking = wanted.filter((category) => !given.includes(category)).map((category) => `lacks ${category}`)
      const idle = given
        .filter((category) => !(wanted as string[]).includes(category))
        .map((name) => `never uses ${name}`)
      return [...lacking, ...idle, ...inner]
    })
  return check(elementsOf(message, locale))
}

/** How each language goes on from what happened to what to do. */
const GOES_ON: { readonly [locale: string]: RegExp } = {
  en: /\S[.:,] \S.*\.$/,
  fi: /\S[.:,] \S.*\.$/,
  sv: /\S[.:,] \S.*\.$/,
  ar: /\S[.:،] .*(يُرجى|مثل).*\.$/,
  ja: /\S。.*(ください|お試し|お戻り|お知らせ|お待ち).*。$/,
  th: /\S .*โปรด\S/,
}

/** Failures whose text does not say what to do next. */
export function deadEnds(catalogue: Catalogue, locale: string): string[] {
  const goesOn = GOES_ON[locale]
  if (goesOn === undefined) return [`nobody has said how ${locale} tells what to do next`]
  return Object.entries(catalogue)
    .filter(([key, text]) => /^(oauth_)?error\./.test(key) && !goesOn.test(text))
    .map(([key]) => key)
}

/** Attributes that people read or hear. */
const SPOKEN =
  /\s(title|alt|placeholder|label|summary|aria-(?:label|description|roledescription|valuetext|placeholder))="([^"]*)"/g

/** Words of a template that come from no catalogue: between tags, in attributes that people read, or as a literal in an expression. */
export function hardCodedTexts(template: string): string[] {
  const source = template
    .replace(/\{#[\s\S]*?#\}|<style>[\s\S]*?<\/style>/g, '')
    // The one block that is no text but a class.
    .replace(/\{% block body_class %\}[a-z]+\{% endblock %\}/g, '')
  const expressions = [...source.matchAll(/\{\{([\s\S]*?)\}\}|\{%([\s\S]*?)%\}/g)].map(([, a = '', b = '']) => a || b)
  // Names of things are lower case without spaces; words for people are not.
  const literals = expressions
    .flatMap((code) => [...code.matchAll(/'([^']*)'|"([^"]*)"/g)].map(([, a = '', b = '']) => a || b))
    .filter((text) => /\p{L}/u.test(text) && /[^\p{ASCII}]|\p{Lu}|\s/u.test(text.trim()))
  const markup = source.replace(/\{\{[\s\S]*?\}\}|\{%[\s\S]*?%\}/g, '')
  const tags = [...markup.matchAll(/<[^>]*>/g)].map(([tag]) => tag)
  const between = markup.split(/<[^>]*>/)
  // A macro may print attributes for a tag that another opens.
  const attributes = between.flatMap((text) => [...text.matchAll(/\s[\w-]+="[^"]*"/g)].map(([attribute]) => attribute))
  const spoken = [...tags, ...attributes].flatMap((tag) => {
    const isButton = /^<input [^>]*type="(submit|button|reset)"/.test(tag)
    const value = isButton ? (/\svalue="([^"]*)"/.exec(tag)?.[1] ?? '') : ''
    return [...[...tag.matchAll(SPOKEN)].map(([, , text = '']) => text), value]
  })
  const words = between.map((text) => text.replace(/\s[\w-]+="[^"]*"/g, ''))
  return [...literals, ...[...spoken, ...words].filter((text) => /\p{L}/u.test(text))].map((text) => text.trim())
}
