/**
 * Agents that act through a service, by exchanging its tokens (RFC 8693), by the front door: the account page lists them, and
 * what is taken back there ends at once, for this person and this service alone (R27).
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import {
  ACCESS_TOKEN,
  EXCHANGE_SETTINGS,
  exchangeRequests,
  LEDGER,
  service,
  VAULT,
} from '../../support/exchange_room.ts'
import { API } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, OFFLINE, type Person } from '../../support/people.ts'
import { refusalReason } from '../../support/refusals.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests, type Fields, tokensOf } from '../../support/token_requests.ts'

const agent = { owner: 'Harbour Assistants', purpose: 'orders what runs out', expires_at: '2099-01-01T00:00:00Z' }
const errands = service('errands', {
  ...{ client_name: 'Errand helper', resource_server_for: [API], agent },
  token_exchange: [
    { resource: LEDGER, scopes: ['ledger:read', 'orders:read'] },
    { resource: VAULT, scopes: ['ledger:read'] },
  ],
})
// It asks, and another machine that is no agent acts.
const carrier = service('carrier', {
  ...{ resource_server_for: [API], agent },
  token_exchange: [{ resource: LEDGER, scopes: ['ledger:read'], actors: ['idle'] }],
})
const INACTIVE = { active: false }
const REFUSED = [400, 'invalid_request']

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))(
  'delegations on %s',
  (kind) => {
    let server: Server
    let client: ClientRequests
    let room: ReturnType<typeof exchangeRequests>
    let ann: Person
    let reference = ''

    beforeAll(async () => {
      const stores = kind === 'embedded' ? kind : await realStores()
      const settings = { ...EXCHANGE_SETTINGS, clients: [...EXCHANGE_SETTINGS.clients, errands, carrier] }
      server = await startServer({ settings, stores })
      client = clientRequests(server.issuer)
      room = exchangeRequests(client)
      ann = await person('ann')
    })
    afterAll(() => server?.close())

    const person = (name: string) => newPerson(server.issuer, mailFolder(server.dataDir), `${name}@example.com`)
    const page = (who: Person) => who.browser.get(`${server.issuer}/account/clients`)
    const act = async (who: Person, path: string) =>
      who.browser.submit(await page(who), {}, { form: `/account/agents/${path}` })
    const outcome = async (by: string, token: string, fields: Fields = {}) => {
      const { status, body, headers } = await room.exchange(by, token, fields)
      reference = headers.get('x-request-id') ?? ''
      return status === 200 ? 200 : [status, body.error]
    }
    const acting = async (name: string) => ({
      ...{ actor_token: await room.machine(name, API), actor_token_type: ACCESS_TOKEN },
    })
    const facts = async (type: string) => {
      const { stdout } = await server.run('audit', 'list', '--type', type, '--json')
      return stdout
    }

    it('an agent is listed with service, place, scopes and last use, taken back, and allowed again', async () => {
      const bob = await person('bob')
      const [anns, bobs] = [(await room.token(ann)).access, (await room.token(bob)).access]
      expect((await page(ann)).text).not.toContain('Errand helper')
      expect(await outcome('errands', anns, { scope: 'ledger:read' })).toBe(200)
      expect(await outcome('errands', bobs)).toBe(200)
      const listed = (await page(ann)).text
      expect(listed).toMatch(/Agents acting for you.*Errand helper.*Acts through web.*https:\/\/ledger\.test\.example/s)
      expect(listed).toMatch(/ledger:read.*Last used/s)
      expect(listed).not.toMatch(/Acts through web.*orders:read.*Last used/s)

      const taken = await act(ann, 'errands/through/web/revoke')
      expect(taken.text).toContain('The agent may no longer act for you through this service.')
      expect(taken.text).toMatch(/Errand helper.*Taken back on/s)
      // Neither there, nor at another resource server, nor with a new token of the same service.
      expect(await outcome('errands', anns)).toEqual(REFUSED)
      expect(await refusalReason(server, reference)).toBe('actor_taken_back')
      expect(await outcome('errands', anns, { resource: VAULT })).toEqual(REFUSED)
      expect(await outcome('errands', (await room.token(ann)).access)).toEqual(REFUSED)
      // What others do for her, and what it does for others, goes on.
      expect(await outcome('orders', anns)).toBe(200)
      expect(await outcome('errands', bobs)).toBe(200)
      expect((await page(bob)).text).not.toContain('Taken back on')

      const allowed = await act(ann, 'errands/through/web/allow')
      expect(allowed.text).toContain('The agent may act for you through this service again.')
      expect(allowed.text).not.toContain('Taken back on')
      expect(await outcome('errands', anns)).toBe(200)
      expect(await outcome('errands', anns, { resource: VAULT })).toBe(200)
      for (const type of ['delegation.revoked', 'delegation.allowed']) {
        const stated = await facts(type)
        expect(stated).toContain('"errands"')
        expect(stated).toContain('"web"')
      }
    })

    it('what it was given before is inactive, opens nothing, and makes nothing', async () => {
      const cid = await person('cid')
      const { access } = await room.token(cid)
      const jwt = tokensOf(await room.exchange('errands', access)).access
      const opaque = tokensOf(await room.exchange('errands', access, { resource: VAULT })).access
      const further = tokensOf(await room.exchange('ledger', jwt, { resource: VAULT })).access
      const others = tokensOf(await room.exchange('orders', access)).access
      const told = async (asker: string, token: string) => (await client.introspect(asker, token)).body
      for (const token of [opaque, further]) expect(await told('vault', token)).toMatchObject({ active: true })
      expect(await told('ledger', jwt)).toMatchObject({ active: true })
      await act(cid, 'errands/through/web/revoke')
      for (const token of [opaque, further]) expect(await told('vault', token)).toEqual(INACTIVE)
      expect(await told('ledger', jwt)).toEqual(INACTIVE)
      expect(await outcome('ledger', jwt, { resource: VAULT })).toEqual(REFUSED)
      expect(await refusalReason(server, reference)).toBe('actor_taken_back')
      // Its own token is no way around either.
      expect(await outcome('errands', jwt, { resource: VAULT })).toEqual(REFUSED)
      expect(await told('ledger', others)).toMatchObject({ active: true })
      expect(await outcome('ledger', others, { resource: VAULT })).toBe(200)
      await act(cid, 'errands/through/web/allow')
      expect(await outcome('ledger', jwt, { resource: VAULT })).toBe(200)
    })

    it('only through the service that was meant; the service itself goes on', async () => {
      const dan = await person('dan')
      const web = await dan.tokens('web', { ...OFFLINE, scope: 'openid offline_access ledger:read', resource: API })
      const { access } = await room.token(dan)
      const opaque = (await room.token(dan, 'opaque')).access
      for (const token of [access, opaque]) expect(await outcome('errands', token)).toBe(200)
      await act(dan, 'errands/through/web/revoke')
      expect(await outcome('errands', access)).toEqual(REFUSED)
      expect(await outcome('errands', opaque)).toBe(200)
      const refreshed = await client.refresh('web', web.refresh)
      expect(refreshed.status).toBe(200)
    })

    it('an agent whose token another client brings is listed; an actor that is no agent is not', async () => {
      const eve = await person('eve')
      const { access } = await room.token(eve)
      expect(await outcome('orders', access)).toBe(200)
      expect(await outcome('gateway', access, await acting('bot'))).toBe(200)
      const listed = (await page(eve)).text
      expect(listed).toMatch(/Agents acting for you.*bot.*Billing.*Acts through web/s)
      expect(listed).not.toContain('>orders<')
      await act(eve, 'bot/through/web/revoke')
      expect(await outcome('gateway', access, await acting('bot'))).toEqual(REFUSED)
      expect(await outcome('orders', access)).toBe(200)
    })

    it('an agent that lets a machine act in its place stays the one that has the token', async () => {
      const fay = await person('fay')
      const { access } = await room.token(fay)
      const made = tokensOf(await room.exchange('carrier', access, await acting('idle'))).access
      await act(fay, 'carrier/through/web/revoke')
      expect(await outcome('carrier', access, await acting('idle'))).toEqual(REFUSED)
      expect((await client.introspect('ledger', made)).body).toEqual(INACTIVE)
    })

    it('nobody takes back or allows what is not listed, nor by a form from elsewhere (A55)', async () => {
      const gus = await person('gus')
      expect(await outcome('errands', (await room.token(gus)).access)).toBe(200)
      const shown = await page(gus)
      const form = shown.forms.find(({ action }) => action.endsWith('/errands/through/web/revoke'))
      const whole = Object.fromEntries((form?.fields ?? []).map(({ name, value }) => [name, value]))
      const post = async (path: string, body: { readonly [field: string]: string }) =>
        (await gus.browser.post(`${server.issuer}/account/agents/${path}`, body, shown.url)).status
      expect(await post('errands/through/web/allow', whole)).toBe(404)
      expect(await post('errands/through/opaque/revoke', whole)).toBe(404)
      expect(await post('%00/through/%FF/revoke', whole)).toBe(404)
      expect(await post('errands/through/web/revoke', {})).toBe(403)
      expect((await page(gus)).text).not.toContain('Taken back on')
      expect(await post('errands/through/web/revoke', whole)).toBe(200)
    })

    it('it is gone with the account', async () => {
      const hal = await person('hal')
      const { access } = await room.token(hal)
      expect(await outcome('errands', access)).toBe(200)
      expect((await server.run('accounts', 'disable', hal.email)).code).toBe(0)
      expect(await outcome('errands', access)).toEqual(REFUSED)
      expect((await server.run('accounts', 'delete', hal.email, '--yes')).code).toBe(0)
      expect(await outcome('errands', access)).toEqual(REFUSED)
      // The twin: the same service goes on for others.
      expect(await outcome('errands', (await room.token(ann)).access)).toBe(200)
    })
  },
)
