/**
 * Types of authorization details (RFC 9396 §2): what an operator declares of them, and what an object of a type may hold.
 * Strict both ways: what a client asks in detail is shown to a person, and nothing may be in it that no page could show.
 */
import { z } from 'zod'
import { sha256 } from './ids.ts'
import { messageProblem } from './message_check.ts'
import { parseStrictJson } from './strict_json.ts'

const KINDS = ['string', 'amount', 'currency', 'iban', 'date', 'url', 'strings'] as const
type Kind = (typeof KINDS)[number]

/** The most that one request may ask: more, nobody reads. */
const MOST_DETAILS = 10
const MOST_BYTES = 8192
const LONGEST = 140
const LONGEST_URL = 500
const MOST_STRINGS = 20
const DAY_MS = 86_400_000

const texts = z.record(z.string().regex(/^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$/, 'is not a language'), z.string())

const field = z.strictObject({
  type: z.enum(KINDS),
  required: z.boolean().default(false),
  enum: z.array(z.string().min(1).max(LONGEST)).min(1).max(100).optional(),
  /** Of an amount the highest, of a string the most characters, of strings how many. */
  max: z.number().positive().optional(),
  /** What stands before a value that the text does not say; without, the field's name. */
  label: texts.optional(),
})

const declaration = z.strictObject({
  type: z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,100}$/, 'must be 1 to 100 characters without blanks'),
  resource: z.string(),
  text: texts,
  fields: z.record(z.string().regex(/^[A-Za-z]\w{0,39}$/, 'must be letters, digits and _'), field),
  expires_days: z.int().positive().max(3650).optional(),
  minimum_acr: z.string().optional(),
})

export type DetailType = z.output<typeof declaration>
type Field = DetailType['fields'][string]

/** One object of `authorization_details` that `detailProblem` has found nothing in. */
export interface Detail {
  readonly type: string
  readonly [field: string]: string | readonly string[]
}

interface Declared {
  readonly resources: readonly string[]
  readonly acrs: readonly string[]
}

/** Reads `authorization_details_types` of the settings, with every problem of every type. */
export function readDetailTypes(
  given: readonly unknown[],
  declared: Declared,
): { readonly types: readonly DetailType[]; readonly problems: readonly string[] } {
  const names = new Set<string>()
  const types: DetailType[] = []
  const problems = given.flatMap((row, i) => {
    const at = `authorization_details_types.${i}`
    const parsed = declaration.safeParse(row)
    if (!parsed.success) return parsed.error.issues.map((issue) => `${[at, ...issue.path].join('.')}: ${issue.message}`)
    const twice = names.has(parsed.data.type) ? ['type: is declared twice'] : []
    names.add(parsed.data.type)
    types.push(parsed.data)
    return [...twice, ...typeProblems(parsed.data, declared)].map((problem) => `${at}.${problem}`)
  })
  return { types, problems }
}

function typeProblems(type: DetailType, { resources, acrs }: Declared): string[] {
  const { resource, text, fields, minimum_acr: least } = type
  return [
    ...(resources.includes(resource) ? [] : ['resource: is not a resource server of this configuration']),
    ...(least === undefined || acrs.includes(least) ? [] : [`minimum_acr: is none of ${acrs.join(', ')}`]),
    ...Object.entries(fields).flatMap(([name, of]) => fieldProblems(name, of).map((it) => `fields.${name}${it}`)),
    ...('en' in text ? [] : ['text.en: is missing; it is shown where there is none in the language of the page']),
    ...Object.entries(text).flatMap(([locale, words]) => {
      const problem = textProblem(words, locale, fields)
      return problem === undefined ? [] : [`text.${locale}: ${problem}`]
    }),
  ]
}

/** Plain placeholders only: a choice by value (`select`) could say less than is granted. */
function textProblem(words: string, locale: string, fields: DetailType['fields']): string | undefined {
  const [all, required] = [Object.keys(fields), Object.keys(fields).filter((name) => fields[name]?.required)]
  const sentence = (names: readonly string[]) => names.map((name) => `{${name}}`).join(' ')
  const problem = messageProblem(sentence(all), words, locale)
  if (problem !== undefined || messageProblem(sentence(required), words, locale) === undefined) return problem
  return 'has a placeholder of a field that is not required; such a field is shown below the text'
}

/** RFC 9396 §2.2: fields whose form is not ours to choose. */
const COMMON: { readonly [name: string]: Kind } = {
  ...{ locations: 'strings', actions: 'strings', datatypes: 'strings', privileges: 'strings', identifier: 'string' },
}

function fieldProblems(name: string, { type, enum: values, max, label = {} }: Field): string[] {
  const common = Object.hasOwn(COMMON, name) ? COMMON[name] : type
  const labels = Object.values(label).filter((text) => text.trim() === '' || text.length > 60 || HIDDEN.test(text))
  return [
    ...(name === 'type' ? [': is what tells the types apart'] : []),
    ...(common === type ? [] : [`.type: must be ${common}`]),
    ...(values === undefined || ['string', 'strings', 'currency'].includes(type) ? [] : ['.enum: is not for its type']),
    ...(max === undefined || ['string', 'strings', 'amount'].includes(type) ? [] : ['.max: is not for its type']),
    ...(max !== undefined && type !== 'amount' && !Number.isInteger(max) ? ['.max: must be a whole number'] : []),
    ...(labels.length === 0 ? [] : ['.label: must be 1 to 60 visible characters']),
  ]
}

/** A value that re-orders, hides or breaks what stands around it would make a page say what is not so. Joiners are letters' own. */
const HIDDEN = /(?![\u200C\u200D])[\p{C}\p{Zl}\p{Zp}]/u

const isText = (value: unknown, longest: number): value is string =>
  typeof value === 'string' && value.trim() !== '' && [...value].length <= longest && !HIDDEN.test(value)

const CURRENCIES: ReadonlySet<string> = new Set(Intl.supportedValuesOf('currency'))
/** As a string: a JSON number loses cents. */
const AMOUNT = /^(0|[1-9]\d{0,14})(\.\d{1,6})?$/

function isIban(value: string): boolean {
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$/.test(value)) return false
  const turned = `${value.slice(4)}${value.slice(0, 4)}`
  const digits = [...turned].map((character) => Number.parseInt(character, 36)).join('')
  return BigInt(digits) % 97n === 1n
}

function isDate(value: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(value)) return false
  const at = new Date(`${value}T00:00:00Z`)
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(value)
}

/** As the parser would write it, so that what is shown is where it leads. */
function isUrl(value: string): boolean {
  if (value.length > LONGEST_URL || !URL.canParse(value)) return false
  const { protocol, username, href } = new URL(value)
  return protocol === 'https:' && username === '' && (href === value || href === `${value}/`)
}

const CHECKS: { readonly [kind in Kind]: (value: unknown, field: Field) => string | undefined } = {
  string: (value, { max = LONGEST }) =>
    isText(value, max) ? undefined : `must be a text of at most ${max} visible characters`,
  amount: (value, { max = Number.POSITIVE_INFINITY }) => {
    if (typeof value !== 'string' || !AMOUNT.test(value)) return 'must be a decimal number in a string'
    return Number(value) <= max ? undefined : `must be ${max} at the most`
  },
  currency: (value) =>
    typeof value === 'string' && CURRENCIES.has(value) ? undefined : 'must be a currency of ISO 4217',
  iban: (value) => (typeof value === 'string' && isIban(value) ? undefined : 'must be an IBAN without blanks'),
  date: (value) => (typeof value === 'string' && isDate(value) ? undefined : 'must be a date as YYYY-MM-DD'),
  url: (value) => (typeof value === 'string' && isUrl(value) ? undefined : 'must be an https URL'),
  strings: (value, { max = MOST_STRINGS }) => {
    const isList = Array.isArray(value) && value.length > 0 && value.length <= max
    if (!isList || new Set(value).size !== value.length || !value.every((item) => isText(item, LONGEST))) {
      return `must be a list of 1 to ${max} different texts of at most ${LONGEST} visible characters`
    }
    return undefined
  },
}

/** What is wrong with an object of a type, beginning with the field's name; undefined when nothing is. */
export function detailProblem(type: DetailType, detail: { readonly [name: string]: unknown }): string | undefined {
  const unknown = Object.keys(detail).find((name) => name !== 'type' && !Object.hasOwn(type.fields, name))
  // What somebody calls a field is repeated only when it can be read.
  if (unknown !== undefined) return `${/^\w{1,40}$/.test(unknown) ? unknown : 'a field'} is not known`
  for (const [name, of] of Object.entries(type.fields)) {
    const value = Object.hasOwn(detail, name) ? detail[name] : undefined
    if (value === undefined) {
      if (of.required) return `${name} is missing`
      continue
    }
    const problem = CHECKS[of.type](value, of)
    if (problem !== undefined) return `${name} ${problem}`
    const { enum: allowed } = of
    if (allowed !== undefined && [value].flat().some((item) => !allowed.includes(String(item)))) {
      return `${name} must be of: ${allowed.join(', ')}`
    }
  }
  return undefined
}

/**
 * What is wrong with the parameter as a whole (RFC 9396 §5): too much, a member twice, or an object twice. Of single objects
 * `detailProblem` tells.
 */
export function parameterProblem(parameter: string): string | undefined {
  if (Buffer.byteLength(parameter) > MOST_BYTES) return `is longer than ${MOST_BYTES} bytes`
  const parsed = parseStrictJson(parameter)
  if (parsed === undefined) return 'is no JSON, or has a member twice'
  const { value } = parsed
  if (!Array.isArray(value)) return 'must be a JSON array'
  if (value.length > MOST_DETAILS) return `has more than ${MOST_DETAILS} objects`
  const digests = value.map(detailDigest)
  return new Set(digests).size === digests.length ? undefined : 'has an object twice'
}

/** The objects of a parameter that was checked before; none when there is none. */
export function detailsIn(parameter: unknown): readonly Detail[] {
  if (typeof parameter !== 'string') return []
  const value: unknown = JSON.parse(parameter)
  return Array.isArray(value) ? (value as Detail[]) : []
}

/** SHA-256 of the object, the same however its members are ordered. */
export function detailDigest(detail: unknown): string {
  return sha256(JSON.stringify(ordered(detail)))
}

function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([name, of]) => [name, ordered(of)] as const)
  return entries.sort(([a], [b]) => (a < b ? -1 : 1))
}

/** The level of authentication that a type demands, by its name. */
export function levelsOfDetails(types: readonly DetailType[]): { readonly [type: string]: string } {
  return Object.fromEntries(types.flatMap(({ type, minimum_acr: acr }) => (acr === undefined ? [] : [[type, acr]])))
}

/** Until when an agreement with an object of the type counts; undefined for as long as the grant. */
export function expiryOf({ expires_days: days }: DetailType, now: Date): Date | undefined {
  return days === undefined ? undefined : new Date(now.getTime() + days * DAY_MS)
}
