import type Provider from 'oidc-provider'

/** Delivers one back-channel logout token (OIDC Back-Channel Logout 1.0 §2.5); rejects unless the client answers 200 or 204. */
export async function deliverLogout(provider: Provider, clientId: string, sub: string, sid: string): Promise<void> {
  const client = await provider.Client.find(clientId)
  if (client?.backchannelLogoutUri === undefined) return
  const model = provider.Client as unknown as { deliverLogout(this: unknown, sub: string, sid: string): Promise<void> }
  await model.deliverLogout.call(client, sub, sid)
}
