/** The consent page's place in the hosted conversation. */
import type { FlowState, Outcome, Step } from '../../interaction/step.ts'
import { dayIn } from '../../platform/locales.ts'
import { decisionSchema } from './schema.ts'
import { agreedBefore, askedBy, type ConsentService, offeredIn, permissionsOf } from './service.ts'
import type { Agreement } from './types.ts'

type Decision = { readonly action: 'allow' | 'deny' }

export interface ConsentStepDeps {
  readonly consents: Pick<ConsentService, 'find' | 'allow'>
  readonly accounts: {
    view(
      accountId: string,
    ): Promise<{ readonly email: string; readonly active: boolean; readonly locale?: string | undefined } | undefined>
  }
}

export function createConsentStep({ consents, accounts }: ConsentStepDeps): Step<Decision> {
  const beforeOf = async (state: FlowState, accountId: string): Promise<Agreement | undefined> => {
    const known = agreedBefore(state)
    return known === undefined ? consents.find(accountId, state.client.clientId) : (known ?? undefined)
  }
  return {
    name: 'consent',
    feature: 'consents',
    prompts: ['consent'],
    meets: ['consent'],
    needed: ({ prompt }) => prompt.name === 'consent',
    input: decisionSchema,

    async show(state) {
      const accountId = signedIn(state)
      const [before, account] = await Promise.all([
        accountId === undefined ? undefined : beforeOf(state, accountId),
        accountId === undefined ? undefined : accounts.view(accountId),
      ])
      return {
        account: { email: account?.email ?? '' },
        accountLocale: account?.locale,
        clientHost: hostOf(state.params.redirect_uri),
        ...permissionsShown(state, before),
        agentUntil: agentUntil(state),
        hadConsent: before !== undefined,
      }
    },

    async submit({ action }, state): Promise<Outcome> {
      if (action === 'deny') {
        return { ok: true, deny: { error: 'access_denied', description: 'the end-user denied the request' } }
      }
      // Bound to this browser's own session: nobody finishes a request for an account that is not signed in here.
      const accountId = signedIn(state)
      if (accountId === undefined) return { ok: false, code: 'session_ended' }
      const before = await beforeOf(state, accountId)
      const present = state.prompt.details.grantId
      const asked = askedBy(state, before)
      const grantId = typeof present === 'string' ? present : undefined
      return { ok: true, finish: { consent: await consents.allow(accountId, state.client.clientId, asked, grantId) } }
    },
  }
}

/** The day on which an agent's time is over, when it may act for so long; empty when the next sign-out ends it before. */
function agentUntil({ client, params, locale }: FlowState): string {
  const isOffline = String(params.scope ?? '')
    .split(' ')
    .includes('offline_access')
  return client.agent === undefined || !isOffline ? '' : dayIn(locale, new Date(client.agent.expiresAt))
}

/** What was verified is told by who verified it, and when. */
function permissionsShown(state: FlowState, before: Agreement | undefined) {
  const all = permissionsOf(askedBy(state, before), before)
  return {
    scopes: all.filter(({ verifiedBy }) => verifiedBy === undefined),
    verified: offeredIn(state).map(({ upstream, title, at }) => ({
      provider: title,
      day: dayIn(state.locale, new Date(at)),
      claims: all.filter(({ verifiedBy }) => verifiedBy === upstream),
    })),
  }
}

function signedIn({ session }: FlowState): string | undefined {
  return session?.accountId
}

/** Where the answer goes: the host of a web client, the scheme of a native one (RFC 8252 §7.1). */
function hostOf(redirectUri: unknown): string {
  if (typeof redirectUri !== 'string' || !URL.canParse(redirectUri)) return ''
  const url = new URL(redirectUri)
  return url.protocol === 'https:' || url.protocol === 'http:' ? url.host : url.protocol
}
