/** How easily a password is guessed: zxcvbn's estimate with its dictionaries, bounded for any input. */
import { createRequire } from 'node:module'
import { setImmediate as turn } from 'node:timers/promises'
import type { ZxcvbnFactory } from '@zxcvbn-ts/core'

/** `own_words`: it is made of words that whoever knows the account tries first. */
export type Weakness = 'common' | 'own_words'

/** The estimate's cost grows steeply with length and substitutions: with these it stays under 100 ms for any input. */
const HEAD = 32
const SUBSTITUTIONS = 4
const WEAKEST_ALLOWED = 2

/** What makes it easy to guess, `own` words in lower case; undefined when nothing does. */
export function weaknessOf(password: string, own: readonly string[]): Weakness | undefined {
  const head = estimate(password.slice(0, HEAD), own)
  if (head === undefined) return undefined
  // A long password with a weak beginning is judged by its end as well.
  return password.length > HEAD && estimate(password.slice(-HEAD), own) === undefined ? undefined : head
}

function estimate(password: string, own: readonly string[]): Weakness | undefined {
  const { score, sequence } = zxcvbn().check(password, [...own])
  const whole = sequence.length === 1 ? sequence[0] : undefined
  if (score >= WEAKEST_ALLOWED && whole?.pattern !== 'dictionary') return undefined
  const isOwn = sequence.some((match) => match.dictionaryName === 'userInputs')
  return isOwn ? 'own_words' : 'common'
}

const require = createRequire(import.meta.url)

let factory: ZxcvbnFactory | undefined

function zxcvbn(): ZxcvbnFactory {
  if (factory !== undefined) return factory
  const core = require('@zxcvbn-ts/core') as typeof import('@zxcvbn-ts/core')
  const common = require('@zxcvbn-ts/language-common') as typeof import('@zxcvbn-ts/language-common')
  const english = require('@zxcvbn-ts/language-en') as typeof import('@zxcvbn-ts/language-en')
  factory = new core.ZxcvbnFactory({
    dictionary: { ...common.dictionary, ...english.dictionary },
    graphs: common.adjacencyGraphs,
    l33tMaxSubstitutions: SUBSTITUTIONS,
    maxLength: HEAD,
  })
  return factory
}

const PARTS = ['@zxcvbn-ts/core', '@zxcvbn-ts/language-common', '@zxcvbn-ts/language-en']

/** Builds the dictionaries (a quarter of a second, in pieces), which the first password would have to wait for. */
export async function loadDictionaries(): Promise<void> {
  if (factory !== undefined) return
  for (const part of PARTS) {
    require(part)
    await turn()
  }
  zxcvbn()
}
