/**
 * What a fact says of changed values. Those of a person are stated as keyed hashes, others in clear. The hash of a field's
 * value is the same wherever it appears, so that an investigator can tell that an address went from one account to another;
 * it is a pseudonym (GDPR Art. 4(5)): whoever has the secret key can test a guess, and nobody can read it back. It changes
 * with the newest secret key.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Json } from '../events.ts'
import { canonicalJson } from './outbox.ts'

export type Values = { readonly [field: string]: unknown }

/** By field; the side on which the field has no value is left out. */
export type Changes = {
  readonly [field: string]: {
    readonly old?: Json
    readonly new?: Json
    readonly oldHash?: string
    readonly newHash?: string
  }
}

export interface Personal {
  /** Whether values of this field are those of a person. */
  has(field: string): boolean
  /** `secretBox.mac` under `CHANGE_MAC`. */
  mac(value: string): string
}

/** Purpose of the hashes in the secret box. */
export const CHANGE_MAC = 'changed-value'

/** The fields that differ, with both values. */
export function changesOf(before: Values, after: Values, personal: Personal): Changes {
  const fields = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  const differing = fields.filter((field) => !isDeepStrictEqual(before[field], after[field]))
  const hash = (field: string, value: unknown) =>
    value === undefined ? undefined : personal.mac(canonicalJson([field, value as Json]))
  return Object.fromEntries(
    differing.map((field) => {
      const [old, fresh] = [before[field], after[field]]
      const both = personal.has(field)
        ? { oldHash: hash(field, old), newHash: hash(field, fresh) }
        : { old: old as Json, new: fresh as Json }
      return [field, Object.fromEntries(Object.entries(both).filter(([, value]) => value !== undefined))]
    }),
  )
}
