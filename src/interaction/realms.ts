/**
 * What a realm closes, as pure functions. Where a domain's provider is the only way in, a proof by anything else is not kept,
 * whichever page, tab, old session or forged form it comes from: so no step, level or finish could count it by mistake.
 */
import { authenticated, type FlowState, type Progress, type Proof, type Realm, type Step } from './step.ts'

/** Whether only the realm's provider signs the account in; without an account, whoever has the identifier. */
export function isConfined(realm: Realm | undefined, accountId?: string): realm is Realm {
  if (realm?.policy !== 'enforce') return false
  return accountId === undefined || !realm.breakGlass.includes(accountId)
}

function isVouched(proofs: readonly Proof[], { upstream }: Realm): boolean {
  return proofs.some(({ by }) => by?.upstream === upstream)
}

/**
 * The progress as it may be kept: of an address that a realm closes, nothing but the address, unless its provider has vouched
 * for the account. No recovery and no registration goes on with such an address either. `email` is whom the realm was found by.
 */
export function confine(progress: Progress, realm: Realm | undefined, email: string | undefined): Progress {
  const { accountId, proofs, path, finished } = progress
  // What is over stays as it was: it serves no other interaction.
  if (!isConfined(realm, accountId) || finished !== undefined || isVouched(proofs, realm)) return progress
  if (accountId === undefined && path === 'login') return progress
  const { recover: _, recover_code: __, verify_email: ___, ...answers } = progress.answers
  return { ...progress, path: 'login', identifier: email, accountId: undefined, proofs: [], chosen: undefined, answers }
}

/** Under this name the answers hold the address whose owner says that the account is kept for the day the provider is away. */
export const BREAK_GLASS = 'break_glass'

const asksForBreakGlass = ({ answers, identifier }: Progress) =>
  identifier !== undefined && answers[BREAK_GLASS] === identifier

/** Whether the page of the realm is due: an address was typed that is led to its provider. The same whoever has an account (A31). */
export function isRouted({ realm, progress }: Pick<FlowState, 'realm' | 'progress'>): boolean {
  if (realm === undefined || realm.policy === 'offer') return false
  if (progress.path !== 'login' || progress.identifier === undefined || authenticated(progress)) return false
  return realm.policy === 'route' || !asksForBreakGlass(progress)
}

/** Whether the realm of the typed address closes this step. */
export function isClosed(
  { meets, inRealm }: Step,
  { realm, progress }: Pick<FlowState, 'realm' | 'progress'>,
): boolean {
  if (!isConfined(realm) || authenticated(progress) || !meets.includes('authentication')) return false
  return inRealm === 'break_glass' ? !asksForBreakGlass(progress) : inRealm !== 'provider'
}

/** Whether an account signs in by methods of its own although its domain is closed to all others. */
export function breaksGlass({ realm, progress }: Pick<FlowState, 'realm' | 'progress'>): boolean {
  const { accountId, proofs } = progress
  if (realm?.policy !== 'enforce' || accountId === undefined) return false
  return realm.breakGlass.includes(accountId) && authenticated(progress) && !isVouched(proofs, realm)
}
