/** What a brand may say, checked when it is written. Strict: a misspelt setting is never silently absent. */
import { z } from 'zod'
import { sheetOf } from '../../platform/brand.ts'
import { isHex } from '../../platform/colour.ts'
import { checkStylesheet } from '../../platform/custom_css.ts'
import { cleanLogo } from '../../platform/logo.ts'
import { type Contrast, LEAST_CONTRAST } from '../../platform/palette.ts'
import { type Picture, PictureError } from '../../platform/picture.ts'
import { webUriProblem } from '../../platform/uri_rules.ts'
import { brandError } from './errors.ts'

const BRAND_ID = /^[a-z0-9][a-z0-9-]{0,39}$/
const LONGEST_LINK = 500

/** Whether a text can be the id of a brand at all. */
export const isBrandId = (text: string): boolean => BRAND_ID.test(text)

/** Shown on pages and in subjects of mails: nothing that could re-order or hide what a person reads. */
const name = z
  .string()
  .trim()
  .min(1)
  .max(60)
  .refine((value) => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(value), 'must not have control or invisible characters')

const colour = z.string().refine(isHex, 'must be a colour such as #2b4c9b').optional()

/** A name only: nothing is downloaded, and no quote or backslash could leave its string. */
const family = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9-]*( [A-Za-z0-9-]+)*$/, 'must be the name of a font')
  .max(40)

const link = z
  .string()
  .max(LONGEST_LINK)
  .superRefine((value, context) => {
    if (/^mailto:[\w.+-]+@[\w.-]+$/.test(value)) return
    const problem = webUriProblem(value)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: `${problem}, or mailto:` })
  })
  .optional()

export const settingsSchema = z.strictObject({
  name,
  colours: z
    .strictObject({
      accent: colour,
      accent_dark: colour,
      canvas: colour,
      canvas_dark: colour,
      sheet: colour,
      sheet_dark: colour,
    })
    .optional(),
  /** Corners of fields and buttons, in pixels. */
  radius: z.number().min(0).max(24).optional(),
  font: z.array(family).min(1).max(8).optional(),
  links: z.strictObject({ privacy: link, terms: link, imprint: link, support: link }).optional(),
  default_locale: z.string().optional(),
  /** Providers on its pages, in this order, where the client names none. */
  upstreams: z.array(z.string().min(1).max(32)).max(50).optional(),
  /** When sign-ins that begin under this brand end; never later than the settings of the server say. */
  session: z
    .strictObject({ idle_seconds: z.int().min(60).optional(), absolute_seconds: z.int().min(60).optional() })
    .optional(),
  /** By locale and message key. */
  texts: z.record(z.string(), z.record(z.string(), z.string())).optional(),
})

type Settings = z.output<typeof settingsSchema>

/** What the pages can say, and in which languages. */
export interface Wording {
  readonly locales: readonly string[]
  /** What is wrong with another text for a message; undefined when nothing is. */
  messageProblem(locale: string, key: string, text: string): string | undefined
}

export type ParsedSettings =
  | { readonly ok: true; readonly settings: Settings }
  | { readonly ok: false; readonly problems: readonly string[] }

/** Checks settings as given by an operator. Problems read `field: what is wrong`. */
function parseSettings(given: unknown, wording: Wording): ParsedSettings {
  const parsed = settingsSchema.safeParse(given)
  if (!parsed.success) return { ok: false, problems: parsed.error.issues.flatMap(describe) }
  const { default_locale: locale, texts = {} } = parsed.data
  const problems = Object.entries(texts).flatMap(([language, messages]) =>
    wording.locales.includes(language)
      ? textProblems(language, messages, wording)
      : [`texts.${language}: is not a language of the pages (${wording.locales.join(', ')})`],
  )
  if (locale !== undefined && !wording.locales.includes(locale)) {
    problems.push(`default_locale: is not a language of the pages (${wording.locales.join(', ')})`)
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, settings: parsed.data }
}

function textProblems(locale: string, messages: { readonly [key: string]: string }, wording: Wording): string[] {
  return Object.entries(messages).flatMap(([key, text]) => {
    const problem = wording.messageProblem(locale, key, text)
    return problem === undefined ? [] : [`texts.${locale}.${key}: ${problem}`]
  })
}

function describe(issue: z.core.$ZodIssue): string[] {
  const path = issue.path.join('.')
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${path === '' ? '' : `${path}.`}${key}: is not a setting of brands`)
  }
  return [`${path || '(brand)'}: ${issue.message}`]
}

/** An entry of the configuration file: settings, and files beside it. */
export type BrandDeclaration = { readonly id: string; readonly [setting: string]: unknown }

/** A declaration with what its files hold, all of it checked. */
export interface Wanted {
  readonly id: string
  readonly settings: Settings
  readonly css: string
  readonly logos: { readonly [variant in 'light' | 'dark']?: Picture | undefined }
}

/** Reads and checks a declaration; all of its problems together. */
export async function readDeclaration(
  { id, css, logo, logo_dark: dark, ...given }: BrandDeclaration,
  wording: Wording,
  readFile: (path: string) => Promise<Buffer>,
): Promise<Wanted | { readonly problems: readonly string[] }> {
  const problems: string[] = []
  const take = async <T>(name: string, path: unknown, check: (file: Buffer) => T): Promise<T | undefined> => {
    if (path === undefined) return undefined
    try {
      if (typeof path !== 'string') throw new Error('must be the path of a file')
      return check(await readFile(path))
    } catch (error) {
      problems.push(...(error as Error).message.split('\n').map((problem) => `${name}: ${problem}`))
      return undefined
    }
  }
  if (!isBrandId(id)) problems.push('id: must be 1 to 40 small letters, digits and hyphens')
  const parsed = parseSettings(given, wording)
  if (!parsed.ok) problems.push(...parsed.problems)
  const style = await take('css', css, (file) => checkedCss(file.toString('utf8')))
  const logos = { light: await take('logo', logo, checkedLogo), dark: await take('logo_dark', dark, checkedLogo) }
  if (problems.length > 0 || !parsed.ok) return { problems }
  return { id, settings: parsed.settings, css: style ?? '', logos }
}

/** @throws AppError invalid_brand with every problem, one a line */
export function checkedSettings(given: unknown, wording: Wording): Settings {
  const parsed = parseSettings(given, wording)
  if (!parsed.ok) throw brandError('invalid_brand', parsed.problems.join('\n'))
  return parsed.settings
}

/** @throws AppError invalid_brand with line and column of every problem */
export function checkedCss(text: string): string {
  const checked = checkStylesheet(text)
  if (checked.ok) return checked.css
  const lines = checked.problems.map(({ line, column, message }) => `line ${line}, column ${column}: ${message}`)
  throw brandError('invalid_brand', lines.join('\n'))
}

/** @throws AppError invalid_brand */
export function checkedLogo(file: Buffer): Picture {
  try {
    return cleanLogo(file)
  } catch (cause) {
    if (cause instanceof PictureError) throw brandError('invalid_brand', `the picture ${cause.message}`)
    throw cause
  }
}

/** Settings with changes; maps are changed member by member, and `null` takes away. */
export function merge(before: object, changes: object): object {
  const members = new Map<string, unknown>(Object.entries(before))
  for (const [name, value] of Object.entries(changes)) {
    const old = members.get(name)
    if (value === null) members.delete(name)
    else members.set(name, isMap(value) ? merge(isMap(old) ? old : {}, value) : value)
  }
  return Object.fromEntries(members)
}

function isMap(value: unknown): value is object {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

/** Pairs of given colours below what can be read by everybody. */
export function hardToRead(settings: Settings): readonly Contrast[] {
  return sheetOf(settings, '').contrasts.filter(({ ratio, instead }) => ratio < LEAST_CONTRAST || instead !== undefined)
}
