/** Whether a text may stand in for a message of the catalogues: a page that cannot say it would be no page at all. */
import { IntlMessageFormat } from 'intl-messageformat'

const LONGEST = 600

type Elements = ReturnType<IntlMessageFormat['getAst']>
/** Of @formatjs/icu-messageformat-parser: 0 literal, 1 argument, 5 select, 6 plural, 7 pound, 8 tag; 2 to 4 are formats. */
const ARGUMENT = 1
const WITHOUT_VALUE = [0, 7]

/**
 * Says what is wrong: syntax (ICU), a placeholder that the original does not have, or one used as something that its value
 * may not be (a name as a date), or a text that would not fit.
 */
export function messageProblem(original: string, text: string, locale: string): string | undefined {
  if (text.trim() === '') return 'is empty'
  if (text.length > LONGEST) return `is longer than ${LONGEST} characters`
  if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(text)) return 'must not have control characters or line breaks'
  const known = uses(elementsOf(original, locale))
  try {
    const elements = elementsOf(text, locale)
    for (const use of uses(elements)) {
      const problem = useProblem(use, known)
      if (problem !== undefined) return problem
    }
    // Formatting is stricter than parsing in a few things.
    const values = Object.fromEntries([...known].map((use) => [use.name, 1]))
    new IntlMessageFormat(text, locale, undefined, { ignoreTag: true }).format(values)
    return undefined
  } catch (error) {
    return `is not an ICU message: ${String((error as Error).message).split('\n')[0]}`
  }
}

interface Use {
  readonly name: string
  readonly type: number
}

function useProblem({ name, type }: Use, known: readonly Use[]): string | undefined {
  const same = known.filter((use) => use.name === name)
  if (same.length === 0) {
    const names = [...new Set(known.map((use) => `{${use.name}}`))]
    return `has the placeholder {${name}}, and there ${names.length === 0 ? 'are none' : `is only ${names.join(', ')}`}`
  }
  const isPlain = type === ARGUMENT || same.some((use) => use.type === type)
  return isPlain ? undefined : `{${name}} is used in another way than in the original`
}

function elementsOf(message: string, locale: string): Elements {
  return new IntlMessageFormat(message, locale, undefined, { ignoreTag: true }).getAst()
}

/** Every placeholder, those inside plurals and selections too. */
function uses(elements: Elements): Use[] {
  return elements.flatMap((element): Use[] => {
    if (WITHOUT_VALUE.includes(element.type)) return []
    const {
      type,
      value,
      options = {},
    } = element as Use & { value: string; options?: Record<string, { value: Elements }> }
    return [{ name: value, type }, ...Object.values(options).flatMap((option) => uses(option.value))]
  })
}
