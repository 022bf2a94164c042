/**
 * Pairwise subject identifiers (OpenID Connect Core 1.0 §8.1): a person is another one to each sector, so that two companies
 * cannot lay their data side by side. The account id is encrypted under a key of the installation that never changes, with
 * an IV made from what is encrypted (the way of RFC 5297): the same person gets the same subject for ever, nothing is kept,
 * and we alone can tell whose it is.
 */
import { timingSafeEqual } from 'node:crypto'
import type { Client } from 'oidc-provider'

/** Bytes of an account's id, and of the IV. */
const BYTES = 16
const SUBJECT = /^[A-Za-z0-9_-]{43}$/

export interface PairwiseDeps {
  /** A keyed hash that stays the same for the life of the database; base64url. */
  readonly index: (value: string, purpose: string) => Promise<string>
}

export interface Pairwise {
  /** The subject of an account in a sector. */
  subjectOf(accountId: string, sector: string): Promise<string>
  /** The account whose subject it is; undefined for what was never one in this sector. */
  accountOf(subject: string, sector: string): Promise<string | undefined>
}

export function createPairwise({ index }: PairwiseDeps): Pairwise {
  const bytes = async (value: string, purpose: string) =>
    Buffer.from(await index(value, purpose), 'base64url').subarray(0, BYTES)
  const ivOf = (accountId: string, sector: string) => bytes(JSON.stringify([sector, accountId]), 'pairwise_iv')
  const applied = async (text: Buffer, iv: Buffer, sector: string) => {
    const stream = await bytes(JSON.stringify([sector, iv.toString('base64url')]), 'pairwise_stream')
    return Buffer.from(text.map((byte, i) => byte ^ (stream[i] ?? 0)))
  }
  return {
    async subjectOf(accountId, sector) {
      const iv = await ivOf(accountId, sector)
      const text = await applied(Buffer.from(accountId, 'base64url'), iv, sector)
      return Buffer.concat([iv, text]).toString('base64url')
    },
    async accountOf(subject, sector) {
      const whole = Buffer.from(subject, 'base64url')
      // Another spelling of the same bytes is no subject (A68).
      if (!SUBJECT.test(subject) || whole.toString('base64url') !== subject) return undefined
      const iv = whole.subarray(0, BYTES)
      const accountId = (await applied(whole.subarray(BYTES), iv, sector)).toString('base64url')
      return timingSafeEqual(await ivOf(accountId, sector), iv) ? accountId : undefined
    },
  }
}

/** The sector of a client: the host that its redirects share, or that of its `sector_identifier_uri`. */
export function sectorOf(client: Client): string {
  return String((client as unknown as { sectorIdentifier?: string }).sectorIdentifier)
}
