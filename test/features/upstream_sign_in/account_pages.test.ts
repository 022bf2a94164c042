/** Connected sign-ins on the account pages: connected, listed and taken away by their owner, and by nobody else. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Browser, Page } from '../../support/browser.ts'
import { clockOf, openAccount } from '../../support/second_factors.ts'
import { PROVIDER, startUpstreamRoom, type UpstreamRoom } from '../../support/upstreams.ts'

const PAGE = '/account/identities'
const TEXTS = JSON.parse(readFileSync('views/messages/en.upstreams.json', 'utf8')) as { readonly [key: string]: string }
let room: UpstreamRoom
beforeAll(async () => {
  room = await startUpstreamRoom({ others: [{ name: 'other', title: 'Other' }] })
})
afterAll(() => room?.close())
beforeEach(() => room.fake.tell({ reset: true, automatic: 'continue' }))

/** Somebody new with the page open, in a browser that stops at the provider. */
async function somebody(email: string): Promise<{ sub: string; browser: Browser; page: Page }> {
  const { sub } = await room.target.signUp(email)
  const browser = room.person()
  const page = await openAccount(room.target, browser, PAGE, { email, clock: clockOf(room.target) })
  return { sub, browser, page }
}

const rows = (sub: string) =>
  room.target.sql<{ id: string; upstream: string }>('select id, upstream from identities where account_id = $1', [sub])

describe('connecting', () => {
  it('leads to the provider and back, lists it, tells the owner, and signs in by it from then on', async () => {
    const { sub, browser, page } = await somebody('mia@elsewhere.example')
    expect(page.text).toContain(TEXTS['identities.none'])
    await room.fake.tell({ account: 'mia', claims: { email: 'mia@acme.example', name: 'Mia' } })
    const done = await room.through(browser, page)
    expect([done.status, new URL(done.url).pathname]).toEqual([200, PAGE])
    expect(done.text).toContain(TEXTS['account.done.identity_linked'])
    expect(done.text).toContain('mia@acme.example')
    expect(await rows(sub)).toMatchObject([{ upstream: PROVIDER }])
    await room.target.settled()
    const mails = (await room.target.mailbox.all()).filter(({ to }) => to.includes('mia@elsewhere.example'))
    expect(mails.map(({ subject }) => subject)).toContain('Acme was connected to your Genkan account')
    const elsewhere = room.person()
    const end = await room.through(elsewhere, await room.target.open(elsewhere))
    expect(end.params.has('code')).toBe(true)
  })

  it('never takes an identity from an account that has proven itself', async () => {
    await room.fake.tell({ account: 'mia', claims: {} })
    const { sub, browser, page } = await somebody('thief@elsewhere.example')
    const refused = await room.through(browser, page)
    expect(refused.status).toBe(409)
    expect(refused.text).toContain(TEXTS['error.identity_taken'])
    expect(await rows(sub)).toEqual([])
  })

  it("A17: an answer that another session waits for connects nothing, and is nobody's any more", async () => {
    await room.fake.tell({ account: 'planted', claims: {} })
    const attacker = await somebody('attacker@elsewhere.example')
    const away = await room.leave(attacker.browser, attacker.page)
    const { parameters } = await room.fake.travel(away.url, room.callback())
    const victim = await somebody('victim@elsewhere.example')
    const url = `${room.callback()}?${new URLSearchParams(parameters)}`
    const page = await victim.browser.get(url, `${room.fake.issuer}/`)
    expect(new URL(page.url).pathname).toBe(PAGE)
    expect([await rows(victim.sub), await rows(attacker.sub)]).toEqual([[], []])
  })

  it('A12: what began at one provider does not end at the callback of another', async () => {
    await room.fake.tell({ account: 'mixed', claims: {} })
    const { sub, browser, page } = await somebody('mixed@elsewhere.example')
    const away = await room.leave(browser, page)
    const { parameters } = await room.fake.travel(away.url, room.callback())
    const crossed = await browser.get(`${room.callback('other')}?${new URLSearchParams(parameters)}`)
    expect(crossed.status).toBe(400)
    const late = await browser.get(`${room.callback()}?${new URLSearchParams(parameters)}`)
    expect(late.status).toBe(400)
    expect(await rows(sub)).toEqual([])
  })
})

describe('disconnecting', () => {
  it('is for its owner only, ends the other sessions, and the sign-in leads to a new account then', async () => {
    await room.fake.tell({ account: 'nia', claims: {} })
    const { sub, browser, page } = await somebody('nia@elsewhere.example')
    const done = await room.through(browser, page)
    const [row] = await rows(sub)
    const stranger = await somebody('stranger@elsewhere.example')
    const form = stranger.page.forms.find(({ action }) => action.endsWith('/link'))
    const csrf = form?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
    const forged = await stranger.browser.post(
      `${room.target.issuer}${PAGE}/${row?.id}/remove`,
      { csrf },
      stranger.page.url,
    )
    expect(forged.status).toBe(404)
    const removed = await browser.submit(done, {}, { form: `/${row?.id}/remove` })
    expect(removed.text).toContain(TEXTS['account.done.identity_removed'])
    expect(await rows(sub)).toEqual([])
    const elsewhere = room.person()
    const asked = await room.through(elsewhere, await room.target.open(elsewhere))
    expect(new URL(asked.url).pathname).toMatch(/^\/interaction\//)
  })

  it('a link of a notice that says it was not me disconnects what was connected lately', async () => {
    await room.fake.tell({ account: 'pia', claims: {} })
    const { sub, browser, page } = await somebody('pia@elsewhere.example')
    await room.through(browser, page)
    expect(await rows(sub)).toHaveLength(1)
    await room.target.settled()
    const mail = (await room.target.mailbox.all()).find(
      ({ to, subject }) => to.includes('pia@elsewhere.example') && subject.startsWith('Acme was connected'),
    )
    const url = /http\S+\/notices\/disown\?token=\S+/.exec(mail?.text ?? '')?.[0] ?? ''
    const owner = room.target.person()
    await owner.submit(await owner.get(url), {}, { form: '/disown' })
    expect(await rows(sub)).toEqual([])
  })
})
