/** RFC 9470 §3: the example client reads what a resource server asks for. */
import { expect, it } from '@jest/globals'
import { stepUpOf } from '../../examples/web/step_up.ts'

const insufficient = (more: string) => `Bearer realm="orders", error="insufficient_user_authentication"${more}`

it.each([
  [insufficient(', acr_values="urn:genkan:acr:mfa phr", max_age="300"'), 'urn:genkan:acr:mfa phr', '300'],
  [insufficient(', max_age="5"'), undefined, '5'],
  [insufficient(', acr_values="phr"'), 'phr', undefined],
  [insufficient(''), undefined, undefined],
])('%s', (challenge, acrs, maxAge) => {
  expect(stepUpOf(challenge)).toEqual({ ...(acrs && { acr_values: acrs }), ...(maxAge && { max_age: maxAge }) })
})

it.each([null, '', 'Bearer', 'Bearer error="invalid_token", acr_values="phr"', 'Basic realm="x"'])(
  '%s is about something else',
  (challenge) => {
    expect(stepUpOf(challenge)).toBeUndefined()
  },
)
