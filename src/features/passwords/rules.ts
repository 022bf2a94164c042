/** Which passwords may be chosen (NIST SP 800-63B-4 §3.1.1, ASVS 6.2), and how any is read. */
import type { Weakness } from '../../platform/password_strength.ts'
import type { OwnWords, PasswordProblem } from './types.ts'

export interface RulesDeps {
  /** Least code points of a new password: 8, or 15 where it is the only factor (NIST SP 800-63B-4). */
  readonly minLength: number
  /** Words of the product that make a password guessable. */
  readonly brandWords: () => Promise<readonly string[]>
  /** What makes a password easy to guess, `own` words in lower case among it. */
  readonly weaknessOf: (password: string, own: readonly string[]) => Promise<Weakness | undefined>
}

const LONGEST = 256
/** Beyond it nothing is normalised or hashed: hashing cost must not follow what a requester sends (A102). */
const MOST_BYTES = 1024

/** Why a new password may not be chosen; undefined when it may. A code point is a character; there are no rules of composition. */
export function createRules({ minLength, brandWords, weaknessOf }: RulesDeps) {
  return async (password: string, words: OwnWords): Promise<PasswordProblem | undefined> => {
    if (Buffer.byteLength(password) > MOST_BYTES) return 'password_too_long'
    const normal = normalise(password)
    const { length } = [...normal]
    if (length < minLength) return 'password_too_short'
    if (length > LONGEST || Buffer.byteLength(normal) > MOST_BYTES) return 'password_too_long'
    const own = ownWords([...words, ...(await brandWords())])
    const weakness = madeOf(normal, own) ? 'own_words' : await weaknessOf(normal, own)
    return weakness && PROBLEMS[weakness]
  }
}

const PROBLEMS = { common: 'password_too_common', own_words: 'password_contains_own_words' } as const

/** Composed and decomposed spellings of one password are the same password (NIST SP 800-63B-4 §3.1.1.2). */
export function normalise(password: string): string {
  return password.toWellFormed().normalize('NFC')
}

/** The password as it is hashed; undefined when it can be nobody's, which needs no hash to know. */
export function verifiable(password: string): string | undefined {
  if (password === '' || Buffer.byteLength(password) > MOST_BYTES) return undefined
  const normal = normalise(password)
  return [...normal].length > LONGEST || Buffer.byteLength(normal) > MOST_BYTES ? undefined : normal
}

/** Words of at least four characters, as people write them into passwords. */
function ownWords(words: OwnWords): string[] {
  const parts = words.flatMap((word) => {
    const lower = (word ?? '').normalize('NFKC').toLowerCase()
    const [local = '', domain = ''] = lower.split('@')
    // The last label of a domain is nobody's own word.
    const labels = lower.includes('@') ? [local, ...domain.split('.').slice(0, -1)] : []
    return [lower, ...labels, ...lower.split(/[^\p{L}\p{N}]+/u)]
  })
  return [...new Set(parts)].filter((part) => [...part].length >= 4).sort((a, b) => b.length - a.length)
}

/** Whether little but own words is left: fewer than six other letters or digits. */
function madeOf(password: string, own: readonly string[]): boolean {
  const lower = password.toLowerCase()
  const rest = own.reduce((left, word) => left.replaceAll(word, ' '), lower)
  return rest !== lower && [...rest.replaceAll(/[^\p{L}\p{N}]/gu, '')].length < 6
}
