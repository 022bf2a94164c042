/** The consent page's place in the hosted conversation. */
import type { FlowState, Outcome, Step } from '../../interaction/step.ts'
import {
  type Detail,
  type DetailType,
  detailDigest,
  detailProblem,
  detailsIn,
  expiryOf,
} from '../../platform/authorization_details.ts'
import { type DetailWords, plainWords, wordsOf } from '../../platform/detail_words.ts'
import { sha256 } from '../../platform/ids.ts'
import { dayIn } from '../../platform/locales.ts'
import { decisionSchema } from './schema.ts'
import { agreedBefore, askedBy, type ConsentService, offeredIn, permissionsOf } from './service.ts'
import type { Agreement } from './types.ts'

type Decision = { readonly action: 'allow' | 'deny'; readonly shown?: string | undefined }

export interface ConsentStepDeps {
  readonly consents: Pick<ConsentService, 'find' | 'allow'>
  readonly detailTypes: readonly DetailType[]
  readonly accounts: {
    view(
      accountId: string,
    ): Promise<{ readonly email: string; readonly active: boolean; readonly locale?: string | undefined } | undefined>
  }
}

export function createConsentStep({ consents, accounts, detailTypes }: ConsentStepDeps): Step<Decision> {
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
      const details = detailsOf(state, detailTypes)
      return {
        account: { email: account?.email ?? '' },
        accountLocale: account?.locale,
        clientHost: hostOf(state.params.redirect_uri),
        ...permissionsShown(state, before),
        details: details?.map((shown) => ({ ...shown.words, until: untilOf(shown, state) })) ?? [],
        shown: digestOf(details),
        agentUntil: agentUntil(state),
        hadConsent: before !== undefined,
      }
    },

    async submit({ action, shown = '' }, state): Promise<Outcome> {
      if (action === 'deny') {
        return { ok: true, deny: { error: 'access_denied', description: 'the end-user denied the request' } }
      }
      // Bound to this browser's own session: nobody finishes a request for an account that is not signed in here.
      const accountId = signedIn(state)
      if (accountId === undefined) return { ok: false, code: 'session_ended' }
      const details = detailsOf(state, detailTypes)
      // What is granted is the request's, and was shown in these words: else the page is shown again.
      if (details === undefined || shown !== digestOf(details)) return { ok: false, code: 'consent_changed' }
      const before = await beforeOf(state, accountId)
      const present = state.prompt.details.grantId
      const asked = { ...askedBy(state, before), details: details.map((shown) => agreed(shown, state)) }
      const grantId = typeof present === 'string' ? present : undefined
      return { ok: true, finish: { consent: await consents.allow(accountId, state.client.clientId, asked, grantId) } }
    },
  }
}

interface ShownDetail {
  readonly type: DetailType
  readonly detail: Detail
  readonly words: DetailWords
}

/**
 * The details that the request asks for, in words (RFC 9396 §7). They come from the Interaction, where the engine has put them.
 * Undefined when one of them is nothing that the settings know any more: it cannot be said, so it cannot be granted.
 */
function detailsOf({ params, locale }: FlowState, types: readonly DetailType[]): ShownDetail[] | undefined {
  if (types.length === 0) return []
  const details = detailsIn(params.authorization_details)
  const shown = details.flatMap((detail) => {
    const type = types.find((each) => each.type === detail.type)
    if (type === undefined || detailProblem(type, detail) !== undefined) return []
    return [{ type, detail, words: wordsOf(type, detail, locale) }]
  })
  return shown.length === details.length ? shown : undefined
}

/** Binds an answer to what was on the page; empty for a page without details. */
function digestOf(details: readonly ShownDetail[] = []): string {
  if (details.length === 0) return ''
  return sha256(
    JSON.stringify(details.map(({ detail, words }) => [detailDigest(detail), words.locale, plainWords(words)])),
  )
}

/** The day until which it would not be asked again. */
function untilOf({ type }: ShownDetail, { now, locale }: FlowState): string {
  const expiry = expiryOf(type, new Date(now))
  return expiry === undefined ? '' : dayIn(locale, expiry)
}

function agreed({ type, detail, words }: ShownDetail, { now }: FlowState) {
  return {
    ...{ type: type.type, digest: detailDigest(detail), detail },
    ...{ text: plainWords(words), locale: words.locale, expiresAt: expiryOf(type, new Date(now)) },
  }
}

/** The day on which an agent's time is over, when it may act for so long; empty when the next sign-out ends it before. */
function agentUntil({ client: { agent }, params, locale, now }: FlowState): string {
  const isOffline = String(params.scope ?? '')
    .split(' ')
    .includes('offline_access')
  if (agent === undefined || !isOffline) return ''
  return dayIn(locale, new Date(agent.expiresAt ?? now + (agent.seconds ?? 0) * 1000))
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
