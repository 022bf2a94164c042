/** What the store holds of an Interaction or a pushed request: nothing that its id does not open (A110). */
import { describe, expect, it } from '@jest/globals'
import { type AdapterDeps, createAdapterFactory } from '../../../src/oidc/adapter/adapter.ts'
import { openPayload, sealPayload } from '../../../src/oidc/adapter/sealed_adapter.ts'
import type { OidcStore, Payload } from '../../../src/oidc/adapter/store.ts'

const UID = 'canary-uid-0001'
const PAYLOAD = {
  ...{ kind: 'Interaction', jti: UID, returnTo: `https://id.example/auth/${UID}`, cid: 'canary-cid' },
  ...{
    parJti: 'canary-pushed',
    params: { login_hint: 'canary@example.com', state: 'canary-state' },
    exp: 2_000_000_000,
  },
  session: { accountId: 'canary-account', uid: 'canary-session', cookie: 'canary-bearer' },
}

function adapterOn(records: Map<string, Payload>, model = 'Interaction') {
  const store: Partial<OidcStore> = {
    async save(model, id, payload) {
      records.set(`${model} ${id}`, JSON.parse(JSON.stringify(payload)) as Payload)
      return true
    },
    find: async (model, id) => records.get(`${model} ${id}`),
  }
  return createAdapterFactory({ store, unavailable: () => false } as unknown as AdapterDeps)(model)
}

describe('a stored Interaction', () => {
  it('shows none of its ids, nor what the client asked for', async () => {
    const records = new Map<string, Payload>()
    await adapterOn(records).upsert(UID, PAYLOAD, 3600)
    const stored = JSON.stringify([...records.values()])
    expect(stored).not.toContain('canary')
    expect(stored).not.toContain(Buffer.from('canary').toString('base64url').slice(0, 8))
    expect([...records.values()]).toEqual([{ kind: 'Interaction', sealed: expect.stringMatching(/^[\w-]+$/) }])
  })

  it('comes back whole to whoever brings its id, but for the session’s bearer id, and can be written again', async () => {
    const records = new Map<string, Payload>()
    const adapter = adapterOn(records)
    const { cookie: _bearer, ...session } = PAYLOAD.session
    await adapter.upsert(UID, PAYLOAD, 3600)
    const found = await adapter.find(UID)
    expect(found).toEqual({ ...PAYLOAD, session })
    await adapter.upsert(UID, { ...found, result: { login: { accountId: 'A' } } }, 3600)
    expect(await adapter.find(UID)).toEqual({ ...PAYLOAD, session, result: { login: { accountId: 'A' } } })
    expect(await adapter.find('another')).toBeUndefined()
  })

  it('is no different for a pushed request, whose use the store tells', async () => {
    const records = new Map<string, Payload>()
    const adapter = adapterOn(records, 'PushedAuthorizationRequest')
    const pushed = {
      jti: UID,
      kind: 'PushedAuthorizationRequest',
      clientId: 'canary-client',
      request: 'canary.request',
    }
    await adapter.upsert(UID, pushed, 60)
    expect(JSON.stringify([...records.values()])).not.toContain('canary')
    expect(await adapter.find(UID)).toEqual(pushed)
    const [key = '', stored] = [...records][0] ?? []
    records.set(key, { ...stored, consumed: 7 })
    expect(await adapter.find(UID)).toEqual({ ...pushed, consumed: 7 })
  })

  it('looks different each time', () => {
    expect(sealPayload(UID, PAYLOAD, [])).not.toEqual(sealPayload(UID, PAYLOAD, []))
  })

  it('opens under no other id, and not when it was changed or cut', () => {
    const { sealed } = sealPayload(UID, PAYLOAD, []) as { sealed: string }
    expect(openPayload(UID, { sealed })).toEqual(PAYLOAD)
    const bytes = Buffer.from(sealed, 'base64url')
    const flipped = Buffer.from(bytes)
    flipped[20] = (flipped[20] ?? 0) ^ 1
    for (const value of [flipped.toString('base64url'), bytes.subarray(0, -1).toString('base64url'), '', undefined])
      expect(() => openPayload(UID, { sealed: value })).toThrow()
    expect(() => openPayload('another', { sealed })).toThrow()
  })
})
