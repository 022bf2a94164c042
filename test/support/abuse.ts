/** The defence against guessing in tests: its room on a store and a clock of theirs, and a solver of its puzzles. */

import { hash } from 'node:crypto'
import { createAbuse } from '../../src/features/abuse/index.ts'
import type { AbuseDeps } from '../../src/features/abuse/service.ts'
import { createChallenges } from '../../src/platform/challenge.ts'
import type { Clock } from '../../src/platform/clock.ts'
import { sha256 } from '../../src/platform/ids.ts'
import type { KeyValue } from '../../src/platform/key_value.ts'
import type { Answer, Browser, Page } from './browser.ts'

const EASY = { rounds: 2, bits: 2 }

/** Production's limits for one identifier or device; the others as given (1,000). */
export function createTestAbuse(
  kv: KeyValue,
  clock: Clock,
  { budgets = {}, ...more }: Partial<AbuseDeps> & { budgets?: Partial<AbuseDeps['settings']['signIn']> } = {},
) {
  const mac = (value: string) => sha256(`a key of the test\n${value}`)
  const many = { address: 1000, subnet: 1000, asn: 1000, client: 1000, all: 1000, ...budgets }
  return createAbuse({
    kv,
    challenges: createChallenges({ kv, clock, mac, macMatches: (value, tag) => mac(value) === tag, work: EASY }),
    mac: (value) => `mac(${value})`,
    settings: {
      ...{ windowSeconds: 600, challengeAtPercent: 50 },
      ...{ signIn: { identifier: 10, device: 10, ...many }, request: many },
    },
    ...more,
  })
}

/** Looks of a module under Jest at its globals, and buffers, cost more than the hashes themselves. */
const { parseInt: read } = Number

/** What a browser's script does, as plainly as possible. */
export function solve({ puzzle, rounds, bits }: { puzzle: string; rounds: number; bits: number }): string {
  const below = 2 ** (32 - bits)
  const answers = Array.from({ length: rounds }, (_, round) => {
    let answer = 0
    while (read(hash('sha256', `${puzzle}~${round}.${answer}`, 'hex').slice(0, 8), 16) >= below) answer++
    return answer
  })
  return `${puzzle}~${answers.join('.')}`
}

/** What a page that asks for a proof holds: the puzzle, and the ticket of whoever runs no script ('' without one). */
export function challengeIn(html: string) {
  const [, ticket = '', puzzle, rounds, bits] =
    /name="proof" value="([^"]*)" data-puzzle="([^"]+)" data-rounds="(\d+)" data-bits="(\d+)"/.exec(html) ?? []
  return puzzle === undefined ? undefined : { ticket, puzzle, rounds: Number(rounds), bits: Number(bits) }
}

/** What a page that asks for a CAPTCHA holds: our signature for the token, and the ticket. */
export function captchaIn(html: string) {
  const [, ticket = '', captcha] = /name="proof" value="([^"]*)" data-captcha="([^"]+)"/.exec(html) ?? []
  return captcha === undefined ? undefined : { ticket, captcha }
}

/** What the script of a page that asks for a proof sends with its form; nothing for other pages. */
export function proofFor(html: string): { proof?: string } {
  const challenge = challengeIn(html)
  return challenge === undefined ? {} : { proof: solve(challenge) }
}

/** Posts a form of a page with just these values: also fields that the page does not show. Redirects are not followed. */
export function post(
  browser: Browser,
  page: Page,
  form: string,
  values: { readonly [name: string]: string | undefined },
): Promise<Answer> {
  const { action = '', fields = [] } = page.forms.find((each) => each.action.endsWith(form)) ?? {}
  const csrf = fields.find(({ name }) => name === 'csrf')?.value ?? ''
  const given = Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return browser.send(new URL(action, page.url).href, {
    method: 'POST',
    from: page.url,
    body: new URLSearchParams([['csrf', csrf], ...given]).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  })
}
