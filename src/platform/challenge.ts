/**
 * Proof that a try costs something: a puzzle that a browser solves in about a second, or, where no script runs, a ticket that is
 * good ten seconds later; in place of the puzzle, where an operator chose so, a CAPTCHA that its vendor judges. All are signed by
 * us and bound to what they are for, whom it is about and the network they were given to, so that nothing is kept until one is
 * used; each is used once. They say nothing about who has an account.
 */
import { hash } from 'node:crypto'
import type { Captcha, CaptchaVerdict, CaptchaWidget } from './captcha.ts'
import { networkOf } from './client_network.ts'
import type { Clock } from './clock.ts'
import { newToken, sha256 } from './ids.ts'
import type { KeyValue } from './key_value.ts'

/** What a proof is bound to. */
export interface Binding {
  /** What is tried: `sign_in`, `register`, `recover`. */
  readonly flow: string
  /** Canonical. */
  readonly identifier: string
  readonly ip: string
}

export interface Challenge {
  readonly puzzle: string
  /** How many puzzles in one, and leading zero bits of each; none with a CAPTCHA, whose token is the answer. */
  readonly rounds: number
  readonly bits: number
  readonly captcha?: CaptchaWidget | undefined
  /** Absent while others are open for the same identifier or address. */
  readonly ticket?: string | undefined
  /** Seconds until the ticket is good; without one, until there may be another. 0: none was asked for. */
  readonly wait: number
}

/**
 * Why a proof is none. `early`: the ticket is right, and good in so many seconds. `captcha`: its vendor refused the token, or
 * could not be asked.
 */
export type Judged =
  | { readonly ok: true; readonly by: Kind }
  | { readonly ok: false; readonly early?: Challenge['wait']; readonly captcha?: 'refused' | 'away' }

export interface ChallengeDeps {
  readonly kv: Pick<KeyValue, 'hit' | 'add' | 'delete'>
  readonly clock: Clock
  readonly mac: (value: string) => string
  /** In constant time. */
  readonly macMatches: (value: string, mac: string) => boolean
  /** How much work a puzzle is; tests that make many ask for less. */
  readonly work?: { readonly rounds: number; readonly bits: number } | undefined
  /** In place of the puzzle. */
  readonly captcha?: Pick<Captcha, 'widget' | 'check'> | undefined
  readonly measure?: ((result: ChallengeResult) => void) | undefined
}

type ChallengeResult = 'issued' | 'solved' | 'waited' | 'refused' | `captcha_${'issued' | CaptchaVerdict}`

export type Challenges = ReturnType<typeof createChallenges>

type Kind = 'puzzle' | 'ticket' | 'captcha'

/** Eight small puzzles instead of one large: the time they take varies much less. */
const WORK = { rounds: 8, bits: 12 }
const PUZZLE_SECONDS = 600
const TICKET_WAIT_SECONDS = 10
/** From its issue. Whoever does not use a ticket holds its place as long. */
const TICKET_SECONDS = 60
const TICKETS_PER_IDENTIFIER = 1
const TICKETS_PER_NETWORK = 5
/** A solved puzzle is shorter; what is longer is not ours and is not looked at (A102). */
const LONGEST = 400
const LONGEST_TOKEN = 16_384
/** Vendors say that a token is good once; what is kept here for a day does not rest on their word. */
const TOKEN_SECONDS = 86_400
/** Each question costs the vendor's time, and may cost its customer: more come from one network only by a machine. */
const QUESTIONS_PER_NETWORK = 100
const QUESTIONS_SECONDS = 600

export function createChallenges(deps: ChallengeDeps) {
  const { kv, clock, mac, macMatches, captcha, work = WORK, measure = () => {} } = deps
  const now = () => Math.floor(clock.now().getTime() / 1000)
  const sign = (kind: Kind, from: number, until: number, to: Binding) => {
    const body = `${kind}.${from}.${until}.${newToken()}`
    return `${body}.${mac(signed(body, to))}`
  }

  /** Good when no other is open. Counted together, or an attacker would hold all places of an address with one name. */
  async function openTicket(to: Binding): Promise<Pick<Challenge, 'ticket' | 'wait'>> {
    const { allowed, retryAfter } = await kv.hit([
      { key: identifierSlot(to), limit: TICKETS_PER_IDENTIFIER, windowSeconds: TICKET_SECONDS },
      { key: `{tickets}:ip:${networkOf(to.ip)}`, limit: TICKETS_PER_NETWORK, windowSeconds: TICKET_SECONDS },
    ])
    if (!allowed) return { wait: retryAfter }
    const at = now()
    return { ticket: sign('ticket', at + TICKET_WAIT_SECONDS, at + TICKET_SECONDS, to), wait: TICKET_WAIT_SECONDS }
  }

  function newPuzzle(to: Binding, ticket: Pick<Challenge, 'ticket' | 'wait'>, ours = false): Challenge {
    const widget = ours ? undefined : captcha?.widget()
    const signed = (kind: Kind) => sign(kind, now(), now() + PUZZLE_SECONDS, to)
    measure(widget === undefined ? 'issued' : 'captcha_issued')
    if (widget === undefined) return { puzzle: signed('puzzle'), ...work, ...ticket }
    return { puzzle: signed('captcha'), rounds: 0, bits: 0, captcha: widget, ...ticket }
  }

  async function verdictOf(token: string, { ip }: Binding): Promise<CaptchaVerdict> {
    // It was chosen no more since the page was made.
    if (captcha === undefined) return 'away'
    const questions = { limit: QUESTIONS_PER_NETWORK, windowSeconds: QUESTIONS_SECONDS }
    const { allowed } = await kv.hit([{ key: `{captchas}:ip:${networkOf(ip)}`, ...questions }])
    const verdict = allowed ? await captcha.check(token, ip) : 'refused'
    const isSpent = verdict === 'passed' && !(await kv.add(`captcha_used:${sha256(token)}`, '1', TOKEN_SECONDS))
    return isSpent ? 'refused' : verdict
  }

  const identifierSlot = ({ flow, identifier }: Binding) => `{tickets}:id:${mac(`${flow}\n${identifier}`)}`

  return {
    /**
     * A new puzzle, and a ticket when one is free. `early` keeps the ticket that was shown too soon; `ours` is a puzzle also
     * where a CAPTCHA was chosen.
     */
    issue: async (to: Binding, early?: Pick<Challenge, 'ticket' | 'wait'>, ours?: boolean): Promise<Challenge> =>
      newPuzzle(to, early ?? (await openTicket(to)), ours),

    /** A new puzzle for a try that may never come: no place of a ticket is held for it, which somebody else may need. */
    issueAhead: (to: Binding): Challenge => newPuzzle(to, { wait: 0 }),

    /** Judges a proof and uses it up: of many uses at once one is right. */
    async judge(proof: string, to: Binding): Promise<Judged> {
      const read = parse(proof)
      const right =
        read !== undefined && now() < read.until && macMatches(signed(read.body, to), read.mac) && isSolved(read, work)
      if (right && now() < read.from) return { ok: false, early: read.from - now() }
      // Named by its own random part: a proof that was changed in any way is another, and not signed.
      const used = right && (await kv.add(`proof_used:${sha256(read.body)}`, '1', read.until - now() + 1))
      if (used && read.kind === 'captcha') {
        const verdict = await verdictOf(read.answer, to)
        measure(`captcha_${verdict}`)
        return verdict === 'passed' ? { ok: true, by: 'captcha' } : { ok: false, captcha: verdict }
      }
      measure(used ? (read.kind === 'puzzle' ? 'solved' : 'waited') : 'refused')
      if (!used) return { ok: false }
      // Its place is free for the next one: a person without scripts who mistyped waits ten seconds, not sixty.
      if (read.kind === 'ticket') await kv.delete(identifierSlot(to))
      return { ok: true, by: read.kind }
    },
  }
}

/** What the signature covers. The fields hold no line break, so that no two bindings read the same. */
function signed(body: string, { flow, identifier, ip }: Binding): string {
  return JSON.stringify([body, flow, identifier, networkOf(ip)])
}

interface Read {
  readonly kind: Kind
  readonly from: number
  readonly until: number
  /** What was signed. */
  readonly body: string
  readonly mac: string
  readonly puzzle: string
  /** The numbers of a puzzle, the token of a CAPTCHA, nothing for a ticket. */
  readonly answer: string
}

const PROOF = /^((puzzle|ticket|captcha)\.(\d{1,12})\.(\d{1,12})\.[\w-]{43})\.([\w-]{43})(?:~([\x21-\x7e]+))?$/
const NUMBERS = /^[0-9.]+$/

function parse(proof: string): Read | undefined {
  if (proof.length > (proof.startsWith('captcha.') ? LONGEST + LONGEST_TOKEN : LONGEST)) return undefined
  const [, body, kind, from, until, mac, answer = ''] = PROOF.exec(proof) ?? []
  if (body === undefined || mac === undefined) return undefined
  return {
    ...{ kind: kind as Kind, from: Number(from), until: Number(until), body, mac },
    ...{ puzzle: `${body}.${mac}`, answer },
  }
}

/** Each round has an answer such that SHA-256(`<puzzle>~<round>.<answer>`) begins with so many zero bits. */
function isSolved({ kind, puzzle, answer }: Read, { rounds, bits }: typeof WORK): boolean {
  if (kind === 'ticket') return answer === ''
  if (kind === 'captcha') return answer !== ''
  const answers = answer.split('.')
  if (!NUMBERS.test(answer) || answers.length !== rounds) return false
  return answers.every((number, round) => zeroBits(`${puzzle}~${round}.${number}`) >= bits)
}

function zeroBits(text: string): number {
  return Math.clz32(hash('sha256', text, 'buffer').readUInt32BE(0))
}
