/** What other rooms may know of registration: what a client may ask for, and how that is read. */
import { z } from 'zod'
import type { FieldError, RegistrationField } from '../../interaction/step.ts'
import { LONGEST_CLAIM, OWN_CLAIMS, type OwnClaim, ownClaimFields } from '../accounts/types.ts'
import { REGISTRATION_CODES, type RegistrationErrorCode } from './errors.ts'

/** What the registration page of a client asks for: claims that people can also change on their account page. */
export const registrationFieldsSchema = z
  .array(z.strictObject({ claim: z.enum(OWN_CLAIMS), required: z.boolean().default(false) }))
  .max(OWN_CLAIMS.length)
  .refine((list) => new Set(list.map(({ claim }) => claim)).size === list.length, 'has a claim twice')

/** Claims by name, as typed or as stored. */
export type Claims = { readonly [claim: string]: string }

/** What was typed into the client's fields, and all that is wrong with it, so that a person corrects a form once. `today` is an ISO 8601 date. */
export function readProfile(
  fields: readonly RegistrationField[],
  typed: Claims,
  today: string,
): { readonly profile: Claims; readonly wrong: FieldError[] } {
  const read = ownClaimFields(today)
  const profile: { [claim: string]: string } = {}
  const wrong: FieldError[] = []
  for (const { claim, required } of fields) {
    if (!isOwnClaim(claim)) continue
    const text = typed[claim] ?? ''
    const parsed = read[claim].safeParse(text)
    if (!parsed.success) wrong.push({ code: problemOf(claim, text), field: claim })
    else if (parsed.data !== undefined) profile[claim] = parsed.data
    else if (required) wrong.push({ code: 'claim_required', field: claim })
  }
  return { profile, wrong }
}

function isOwnClaim(claim: string): claim is OwnClaim {
  return (OWN_CLAIMS as readonly string[]).includes(claim)
}

function problemOf(claim: OwnClaim, text: string): RegistrationErrorCode {
  if (text.trim().length > LONGEST_CLAIM) return 'claim_too_long'
  const own = `${claim}_invalid`
  return own in REGISTRATION_CODES ? (own as RegistrationErrorCode) : 'claim_invalid'
}
