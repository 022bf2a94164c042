/**
 * Writing systems of a text, to tell a name in a language of its own from one that borrows look-alikes of another script
 * (Unicode Technical Standard 39 §5). Coarse on purpose: it knows which scripts there are, not which letters look alike.
 */

/** Their letters can be drawn like Latin ones, or like each other's: beside another script they deceive. */
const LOOK_ALIKE = ['Cyrillic', 'Greek', 'Armenian', 'Cherokee', 'Coptic', 'Deseret', 'Lisu']
/** Written together in East Asian languages. */
const EAST_ASIAN = ['Han', 'Hiragana', 'Katakana', 'Bopomofo', 'Hangul']
const OTHERS = [
  ...['Latin', 'Arabic', 'Bengali', 'Devanagari', 'Ethiopic', 'Georgian', 'Gujarati', 'Gurmukhi', 'Hebrew', 'Kannada'],
  ...['Khmer', 'Lao', 'Malayalam', 'Myanmar', 'Oriya', 'Sinhala', 'Tamil', 'Telugu', 'Thai', 'Tibetan'],
]
const SCRIPTS = [...LOOK_ALIKE, ...EAST_ASIAN, ...OTHERS].map(
  (name) => [name, new RegExp(`\\p{Script=${name}}`, 'u')] as const,
)
/** Digits, hyphens, accents: they belong to every script. */
const SHARED = /[\p{Script=Common}\p{Script=Inherited}]/gu

/** Names of the scripts in a text, sorted; `Other` for those that are rare. A closed set, whatever the text is. */
export function scriptsOf(text: string): string[] {
  let rest = text.replace(SHARED, '')
  const found: string[] = []
  for (const [name, pattern] of SCRIPTS) {
    if (!pattern.test(rest)) continue
    found.push(name)
    rest = [...rest].filter((letter) => !pattern.test(letter)).join('')
  }
  return (rest === '' ? found : [...found, 'Other']).sort()
}

/**
 * Whether these scripts in one name are a mixture that no language has: Latin may stand beside one other script (as in
 * Japanese, Thai or Arabic names), but not beside one with look-alikes (UTS 39 §5.2, "moderately restrictive").
 */
export function mixesScripts(scripts: readonly string[]): boolean {
  const families = new Set(scripts.map((name) => (EAST_ASIAN.includes(name) ? 'East Asian' : name)))
  if (families.size > 1 && scripts.some((name) => LOOK_ALIKE.includes(name))) return true
  families.delete('Latin')
  return families.size > 1
}
