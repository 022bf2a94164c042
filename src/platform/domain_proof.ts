/**
 * Proving a domain by a TXT record that holds a token, and keeping the proof. The record must be there to the letter, beside
 * whatever else is; a DNS that says nothing changes nothing.
 */
import type { TxtAnswer } from './txt_records.ts'

/** Where the record of a domain is to be, and what it holds. */
export function proofRecord({ domain, token }: { readonly domain: string; readonly token: string }) {
  return { name: `_genkan.${domain}`, value: `genkan-domain=${token}` }
}

/** What looking for a record has shown. */
export type Seen = 'proven' | 'missing' | 'other_value' | { readonly failed: string }

/** What an answer of the DNS says of a record. */
export function seenIn(answer: TxtAnswer, value: string): Seen {
  if (answer.kind === 'failed') return { failed: answer.reason }
  if (answer.kind === 'absent') return 'missing'
  return answer.values.includes(value) ? 'proven' : 'other_value'
}

export interface DomainProof {
  readonly provenAt: Date | undefined
  readonly checkedAt: Date | undefined
  /** The DNS says since then that the record is not there. */
  readonly missedSince: Date | undefined
  /** How often in a row. */
  readonly misses: number
}

/** How often in a row the DNS must say that the record is gone, and over how long, before a proof is over. */
const MISSES = 3
const GRACE_MS = 2 * 86_400_000

/** A proof after another look: whole again, missed once more, or over. */
export function afterCheck(before: DomainProof, isThere: boolean, now: Date): DomainProof {
  if (isThere) return { provenAt: before.provenAt, checkedAt: now, missedSince: undefined, misses: 0 }
  const misses = before.misses + 1
  const missedSince = before.missedSince ?? now
  const isOver = misses >= MISSES && now.getTime() - missedSince.getTime() >= GRACE_MS
  return { provenAt: isOver ? undefined : before.provenAt, checkedAt: now, missedSince, misses }
}
