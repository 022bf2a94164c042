/** Telephone numbers as people type them, read by the public numbering plans (libphonenumber). */

export interface PhoneNumber {
  /** E.164, the one form that is stored, counted and sent to. */
  readonly number: string
  /** ISO 3166-1 alpha-2, as the numbering plan tells. */
  readonly country: string
  /**
   * Calling code and the first digits of the national number: whoever earns by messages to numbers of their own has a range
   * of them behind one prefix.
   */
  readonly prefix: string
}

export type ReadNumber = PhoneNumber | { readonly problem: 'not_a_number' | 'not_mobile' }

const LONGEST = 64
const PREFIX_DIGITS = 3
/** Where a plan does not tell mobile from fixed (North America), the number may be one. Premium and shared-cost ones never are. */
const MOBILE = ['MOBILE', 'FIXED_LINE_OR_MOBILE']
/** Digits and what people write between them; words and extensions are no part of a mobile number. */
const TYPED = /^\+?[\p{Nd}\s().\-/\u2010-\u2015]+$/u
/** Contact lists wrap the numbers that are copied from them in marks of direction. */
const DIRECTION = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/**
 * Reads a typed number. One without `+` is read as a number of `home`, when there is one such country. The plans are loaded
 * with the first number: a server that sends no messages never holds them.
 */
export async function readPhoneNumber(typed: string, home?: string): Promise<ReadNumber> {
  const text = typed.normalize('NFKC').replace(DIRECTION, '').trim()
  if (text.length > LONGEST || !TYPED.test(text)) return { problem: 'not_a_number' }
  const { isSupportedCountry, parsePhoneNumberFromString } = await import('libphonenumber-js/max')
  const country = home !== undefined && isSupportedCountry(home) ? home : undefined
  const parsed = parsePhoneNumberFromString(text, { ...(country && { defaultCountry: country }), extract: false })
  if (parsed?.isValid() !== true || parsed.country === undefined) return { problem: 'not_a_number' }
  if (!MOBILE.includes(parsed.getType() ?? '')) return { problem: 'not_mobile' }
  const prefix = `+${parsed.countryCallingCode}${parsed.nationalNumber.slice(0, PREFIX_DIGITS)}`
  return { number: parsed.number, country: parsed.country, prefix }
}

/** The number as its owner recognises it and nobody learns it from. */
export function maskedNumber(number: string): string {
  return `••••\u00a0${number.slice(-2)}`
}
