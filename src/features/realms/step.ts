/** The page that leads people of a domain to its provider. It knows the address only: it is the same whoever has an account. */
import { z } from 'zod'
import { BREAK_GLASS, isRouted } from '../../interaction/realms.ts'
import type { Step } from '../../interaction/step.ts'

export interface RealmStepDeps {
  /** How pages call a provider. */
  readonly title: (upstream: string) => Promise<string>
}

export function createRealmStep({ title }: RealmStepDeps): Step<{ action: 'break_glass' }> {
  return {
    name: 'realm',
    feature: 'realms',
    prompts: ['login', 'create', 'select_account'],
    meets: ['account', 'authentication'],
    inRealm: 'provider',
    needed: isRouted,
    offer: (state) => (isRouted(state) ? { step: 'realm', label: 'realm.offer' } : undefined),
    input: z.object({ action: z.literal('break_glass') }),
    async show({ realm, progress: { identifier = '' } }) {
      if (realm === undefined) return {}
      const { domain, upstream, policy } = realm
      return { identifier, domain, upstream, provider: await title(upstream), closed: policy === 'enforce' }
    },
    /** Whoever says so sees the pages of the account's own methods; only an account that keeps them gets past one. */
    async submit(_, { progress: { identifier }, realm }) {
      if (realm?.policy !== 'enforce' || identifier === undefined) return { ok: false, code: 'stale' }
      return { ok: true, patch: { answers: { [BREAK_GLASS]: identifier } } }
    },
  }
}
