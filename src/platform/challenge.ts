/**
 * Proof that a try costs something: a puzzle that a browser solves in about a second, or, where no script runs, a ticket that is
 * good ten seconds later. Both are signed by us and bound to what they are for, whom it is about and the network they were
 * given to, so that nothing is kept until one is used; each is used once. They say nothing about who has an account.
 */
import { hash } from 'node:crypto'
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
  /** How many puzzles in one, and leading zero bits of each. */
  readonly rounds: number
  readonly bits: number
  /** Absent while others are open for the same identifier or address. */
  readonly ticket?: string | undefined
  /** Seconds until the ticket is good; without one, until there may be another. 0: none was asked for. */
  readonly wait: number
}

/** Why a proof is none. `early`: the ticket is right, and good in so many seconds. */
export type Judged =
  | { readonly ok: true; readonly by: Kind }
  | { readonly ok: false; readonly early?: Challenge['wait'] }

export interface ChallengeDeps {
  readonly kv: Pick<KeyValue, 'hit' | 'add' | 'delete'>
  readonly clock: Clock
  readonly mac: (value: string) => string
  /** In constant time. */
  readonly macMatches: (value: string, mac: string) => boolean
  /** How much work a puzzle is; tests that make many ask for less. */
  readonly work?: { readonly rounds: number; readonly bits: number } | undefined
  readonly measure?: ((result: 'issued' | 'solved' | 'waited' | 'refused') => void) | undefined
}

export type Challenges = ReturnType<typeof createChallenges>

type Kind = 'puzzle' | 'ticket'

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

export function createChallenges({ kv, clock, mac, macMatches, work = WORK, measure = () => {} }: ChallengeDeps) {
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

  function newPuzzle(to: Binding, ticket: Pick<Challenge, 'ticket' | 'wait'>): Challenge {
    measure('issued')
    return { puzzle: sign('puzzle', now(), now() + PUZZLE_SECONDS, to), ...work, ...ticket }
  }

  const identifierSlot = ({ flow, identifier }: Binding) => `{tickets}:id:${mac(`${flow}\n${identifier}`)}`

  return {
    /** A new puzzle, and a ticket when one is free. `early` keeps the ticket that was shown too soon. */
    issue: async (to: Binding, early?: Pick<Challenge, 'ticket' | 'wait'>): Promise<Challenge> =>
      newPuzzle(to, early ?? (await openTicket(to))),

    /** A new puzzle for a try that may never come: no place of a ticket is held for it, which somebody else may need. */
    issueAhead: (to: Binding): Challenge => newPuzzle(to, { wait: 0 }),

    /** Judges a proof and uses it up: of many uses at once one is right. */
    async judge(proof: string, to: Binding): Promise<Judged> {
      const read = proof.length > LONGEST ? undefined : parse(proof)
      const right =
        read !== undefined && now() < read.until && macMatches(signed(read.body, to), read.mac) && isSolved(read, work)
      if (right && now() < read.from) return { ok: false, early: read.from - now() }
      // Named by its own random part: a proof that was changed in any way is another, and not signed.
      const used = right && (await kv.add(`proof_used:${sha256(read.body)}`, '1', read.until - now() + 1))
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
  readonly answers: readonly string[]
}

const PROOF = /^((puzzle|ticket)\.(\d{1,12})\.(\d{1,12})\.[\w-]{43})\.([\w-]{43})(?:~([0-9.]+))?$/

function parse(proof: string): Read | undefined {
  const [, body, kind, from, until, mac, answers = ''] = PROOF.exec(proof) ?? []
  if (body === undefined || mac === undefined) return undefined
  return {
    ...{ kind: kind as Kind, from: Number(from), until: Number(until), body, mac },
    ...{ puzzle: `${body}.${mac}`, answers: answers === '' ? [] : answers.split('.') },
  }
}

/** Each round has an answer such that SHA-256(`<puzzle>~<round>.<answer>`) begins with so many zero bits. */
function isSolved({ kind, puzzle, answers }: Read, { rounds, bits }: typeof WORK): boolean {
  if (kind === 'ticket') return answers.length === 0
  if (answers.length !== rounds) return false
  return answers.every((answer, round) => zeroBits(`${puzzle}~${round}.${answer}`) >= bits)
}

function zeroBits(text: string): number {
  return Math.clz32(hash('sha256', text, 'buffer').readUInt32BE(0))
}
