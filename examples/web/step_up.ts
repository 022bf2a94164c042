/** What a resource server asks for when a sign-in is too weak or too old for what was tried: RFC 9470 §3. */

/** Parameters for the next authorization request. */
export interface StepUp {
  readonly acr_values?: string
  readonly max_age?: string
}

/** Reads the challenge of a 401; undefined when it is about something else. */
export function stepUpOf(challenge: string | null): StepUp | undefined {
  const parameters = new Map(
    [...(challenge ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
  )
  if (parameters.get('error') !== 'insufficient_user_authentication') return undefined
  const [acrs, maxAge] = [parameters.get('acr_values'), parameters.get('max_age')]
  return { ...(acrs === undefined ? {} : { acr_values: acrs }), ...(maxAge === undefined ? {} : { max_age: maxAge }) }
}
