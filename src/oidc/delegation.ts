/**
 * Tokens that are made of other tokens (RFC 8693 §4): who acts for whom, and what they hang on. The engine ties a token to a
 * Grant of its own client; one that another client holds is tied to the grant, and the session, of the token it was made of.
 */

import type Provider from 'oidc-provider'
import type { Client } from 'oidc-provider'
import { createNotes } from '../platform/notes.ts'
import { actingIn, type IsTakenBack } from './actors.ts'
import { keepInPayload } from './models.ts'

/** What a token hangs on: it is dead when one of them is. */
export interface Root {
  readonly grantId: string
  /** The client that the person let act. */
  readonly clientId: string
  /** When the token lives no longer than the sign-in that it came from. */
  readonly sessionUid?: string | undefined
}

/** Who alone may act for the people of a client, as a claim (RFC 8693 §4.4): one object, also where there are several. */
export function mayActOf(client: Client | undefined): { readonly may_act?: object } {
  const allowed = client?.may_act as readonly string[] | undefined
  return allowed === undefined ? {} : { may_act: { sub: allowed.length === 1 ? allowed[0] : allowed } }
}

/** Whether the claim, when there is one, names the actor. What we have never written names nobody. */
export function mayAct(claim: unknown, actor: string): boolean {
  if (claim === undefined) return true
  const { sub } = (claim ?? {}) as { sub?: unknown }
  return sub === actor || (Array.isArray(sub) && sub.includes(actor))
}

/** A token of the engine that is about to be saved. */
export interface IssuedToken {
  readonly kind: string
  readonly format?: string
  readonly grantId?: string
  readonly root?: Root
}

const carried = createNotes<object, object>()

/** Gives a token that is about to be saved its claims; without, they are those of the sign-in at hand. */
export function carry(token: object, claims: object): void {
  carried.set(token, claims)
}

/**
 * Claims of a person's access token beside the engine's own. A JWT names its grant, since nothing of it is stored: whoever
 * has it exchanged is asked whether the grant is alive. It opens nothing.
 */
export function personClaims(token: IssuedToken, client: Client | undefined, authentication: object): object {
  const claims = carried.get(token) ?? { ...authentication, ...mayActOf(client) }
  const grantId = token.grantId ?? token.root?.grantId
  return { ...claims, ...(token.format === 'jwt' && grantId !== undefined && { grant_id: grantId }) }
}

/** Whether everything that a token hangs on is alive, for this account. Reading a Grant compares its epoch. */
export async function isAlive(provider: Provider, root: Root, accountId: string): Promise<boolean> {
  if ((await provider.Client.find(root.clientId)) === undefined) return false
  const grant = await provider.Grant.find(root.grantId)
  if (grant?.accountId !== accountId || grant.clientId !== root.clientId) return false
  if (root.sessionUid === undefined) return true
  const session = await provider.Session.findByUid(root.sessionUid)
  return session?.accountId === accountId && session.grantIdFor(root.clientId) === root.grantId
}

interface FoundToken {
  readonly root?: Root
  readonly accountId: string
  readonly clientId: string
  readonly extra?: { readonly act?: unknown }
}

interface TokenModel {
  find(value: string, options?: object): Promise<FoundToken | undefined>
}

/** Lets access tokens hang on a root, wherever the engine looks one up: userinfo, introspection, revocation, here. */
export function hangOnRoots(provider: Provider, isTakenBack: IsTakenBack): void {
  keepInPayload(provider.AccessToken, ['root'])
  const model = provider.AccessToken as unknown as TokenModel
  const find = model.find
  model.find = async (value, options) => {
    const token = await find.call(model, value, options)
    if (token?.root === undefined) return token
    const { root, accountId, clientId, extra } = token
    if (!(await isAlive(provider, root, accountId))) return undefined
    const acting = actingIn(extra?.act, clientId)
    return (await isTakenBack(accountId, root.clientId, acting)) ? undefined : token
  }
}
