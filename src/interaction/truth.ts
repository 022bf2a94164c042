/** What is true of an account at the moment its conversation finishes, and which of its proofs still count. */
import { type AccountView, type FlowState, MAILBOX, type Proof } from './step.ts'

export interface AccountTruth {
  readonly active: boolean
  readonly epoch: number
  /** When the present password was set, in milliseconds since the epoch. */
  readonly passwordAt?: number | undefined
}

interface Accounts {
  state(accountId: string): Promise<AccountTruth | undefined>
  note(account: AccountView): Promise<AccountTruth | undefined>
}

/** What a step has read in this request need not be read again. A later end of it all is caught when the engine resumes. */
export async function truthOf(
  accounts: Accounts,
  accountId: string,
  read: AccountView | undefined,
): Promise<AccountTruth | undefined> {
  const noted = read?.accountId === accountId ? await accounts.note(read) : undefined
  return noted ?? accounts.state(accountId)
}

/** "End everything" voids every proof (A53), a new password those made with the old one (A54). */
export function stillCounts({ method, at, epoch }: Proof, now: AccountTruth): boolean {
  return epoch === now.epoch && !(method === 'pwd' && at < (now.passwordAt ?? 0))
}

/** What was shown in this conversation; of a step-up, without what the session brought along. */
export function newProofs({ session, progress }: Pick<FlowState, 'session' | 'progress'>): readonly Proof[] {
  const brought = session?.proofs ?? []
  return progress.proofs.filter(
    ({ method, at }) => method !== MAILBOX && !brought.some((proof) => proof.method === method && proof.at === at),
  )
}

/**
 * When a second factor was shown in this conversation by a person who wants to be remembered in this browser; undefined
 * when none was (a remembered browser does not prolong itself), or on a shared computer.
 */
export function trustedAt(state: Pick<FlowState, 'session' | 'progress'>): number | undefined {
  const { accountId, answers, remember } = state.progress
  if (accountId === undefined || answers.trust_device !== accountId || remember === false) return undefined
  const isSecond = ({ method, amr, second }: Proof) => (second === true && method !== 'device') || amr?.includes('mfa')
  return newProofs(state).find(isSecond)?.at
}

/** All that was shown in the session that goes on: what was shown before stays true, and as old as it is. */
export function sessionProofs({
  session,
  progress: { accountId, proofs },
}: Pick<FlowState, 'session' | 'progress'>): readonly Proof[] {
  const shown = proofs.filter(({ method }) => method !== MAILBOX)
  if (session === undefined || session.accountId !== accountId) return shown
  const epoch = shown[0]?.epoch
  const before = session.proofs.filter(
    (old) => old.epoch === epoch && !shown.some(({ method }) => method === old.method),
  )
  return [...before, ...shown]
}
