/** The room of notices as other rooms see it: what is told, as the mail that was asked for, without its one-time link. */
import type { Fact } from '../../src/events.ts'
import { securityNotice, type Tell } from '../../src/features/notices/types.ts'

export function fakeNotices(clock: { now(): Date }, facts: Fact[]): { readonly tell: Tell } {
  const deps = { clock, issuer: 'https://id.example', home: '/account' }
  return {
    tell: async (event, account, page, _tx, details) => {
      facts.push(securityNotice(deps, event, account, page, details))
    },
  }
}
