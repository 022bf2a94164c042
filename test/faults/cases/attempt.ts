/** How acts end, for cases that look at single ones. */
import { setTimeout as sleep } from 'node:timers/promises'
import * as acts from '../acts.ts'
import { type Code, NotDone } from '../acts.ts'
import type { Stage } from '../case.ts'

export interface End<T> {
  readonly value?: T
  readonly refused?: string
  readonly error?: string
}

/** What came of an act, or how it was refused (503 or 429), or what else went wrong. */
export async function attempt<T>(work: Promise<T>): Promise<End<T>> {
  try {
    return { value: await work }
  } catch (error) {
    if (error instanceof NotDone && error.kind === 'refused') return { refused: error.message }
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

/** What was refused meanwhile is no verdict: the other instance is asked again. */
export async function patiently<T>(work: () => Promise<T>): Promise<End<T>> {
  for (let tries = 0; ; tries++) {
    const end = await attempt(work())
    if (end.refused === undefined && !/no answer|fetch failed|ECONN|hang up/.test(end.error ?? '')) return end
    if (tries === 20) return end
    await sleep(250)
  }
}

export const reason = ({ refused, error, value }: End<unknown>): string => refused ?? error ?? JSON.stringify(value)

/** Signs the first account of the journal in at another browser, to tokens. */
export async function wholeSignIn(stage: Pick<Stage, 'world' | 'journal'>, scope?: string): Promise<acts.Tokens> {
  return acts.redeem(stage.world, await freshCode(stage, scope))
}

/** With `scope` alone (`openid`): for tokens that are renewed without a look at the account's data. */
export async function freshCode({ world, journal }: Pick<Stage, 'world' | 'journal'>, scope?: string): Promise<Code> {
  const [account] = journal.accounts
  if (account === undefined) throw new Error('no account')
  const parameters = scope === undefined ? {} : { scope }
  return (await acts.signIn(world, 'spa', acts.elsewhere(world, account), parameters)).code
}

export const machineToken = ({ world }: Pick<Stage, 'world'>) =>
  acts.tokens(world, 'machine', { grant_type: 'client_credentials', resource: 'https://api.test.example' })

/** The tokens of two fresh sign-ins, and a code that nobody has redeemed. */
export async function unspent(stage: Stage): Promise<{ code: Code; token: string; other: string }> {
  const { refresh_token: token } = await wholeSignIn(stage)
  const { refresh_token: other } = await wholeSignIn(stage)
  return { token, other, code: await freshCode(stage) }
}
