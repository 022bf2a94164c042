/**
 * Whoever has nothing but a passkey and their mailbox, and loses the passkey: signing in goes on by mail, and after the waiting
 * a new passkey takes the place of the lost one. On the product, in moved time.
 */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import type { Browser, Page } from '../../support/browser.ts'
import { choose } from '../../support/journeys.ts'
import { codeFrom } from '../../support/mailbox.ts'
import { addPasskey, authenticatorOf, challengeOn, passkeyPage, showPasskey } from '../../support/passkey_people.ts'
import { stepOf } from '../../support/people.ts'
import { startTarget, type Target } from '../../support/target.ts'

const EMAIL = 'only@passkeys.example'
const DAY = 86_400
const NEW_PASSKEY = '/account/passkeys/new'

let target: Target
let mails = 0
beforeAll(async () => {
  target = await startTarget()
})
afterAll(() => target?.close())

const nextCode = async () => {
  mails += 1
  const isCode = ({ to, subject }: { to: readonly string[]; subject: string }) =>
    to.includes(EMAIL) && /\d{6}/.test(subject)
  for (;;) {
    const mail = (await target.mailbox.all()).filter(isCode)[mails - 1]
    if (mail !== undefined) return codeFrom(mail)
    await target.settled()
  }
}

/** From the page that asks who it is, or knows, by a mailed code. */
async function byMail(browser: Browser, page: Page): Promise<Page> {
  const named =
    stepOf(page) === 'identifier' ? await browser.submit(page, { identifier: EMAIL }, { form: '/identifier' }) : page
  const asked = await choose(browser, named, 'email_code')
  return browser.submit(asked, { code: await nextCode() }, { form: '/email_code' })
}

/** A sensitive page: signs in by mail, and once more because the page asks for the account's highest level. */
async function atPasskeys(browser: Browser): Promise<Page> {
  const inside = await byMail(browser, await browser.get(`${target.issuer}${NEW_PASSKEY}`))
  return byMail(browser, inside)
}

it('a lost only passkey is replaced after the waiting, and opens nothing any more', async () => {
  const first = target.person()
  const start = await target.open(first, { prompt: 'create' })
  const sent = await first.submit(start, { email: EMAIL }, { form: '/register' })
  await first.submit(sent, { code: await nextCode() }, { form: '/verify_email' })
  const lost = authenticatorOf(target)
  await addPasskey(target, first, lost)

  // A plain sign-in asks for no more than the mailbox.
  const plain = target.person()
  expect((await byMail(plain, await target.open(plain))).params.has('code')).toBe(true)

  const stuck = target.person()
  const asked = await atPasskeys(stuck)
  expect(stepOf(asked)).toBe('passkey')
  const offer = await choose(stuck, asked, 'lost_factor')
  const waiting = await stuck.submit(offer, {}, { form: '/lost_factor', button: 'request' })
  expect(waiting.text).toContain('The removal was asked for')

  await target.server.shiftDate(3 * DAY)
  const back = target.person()
  const due = await choose(back, await atPasskeys(back), 'lost_factor')
  const inside = await back.submit(due, {}, { form: '/lost_factor', button: 'remove' })
  // The page that was asked for wants the highest level of the account, which is what was lost: it is set up there and then.
  expect(stepOf(inside)).toBe('enrol')
  const found = authenticatorOf(target)
  const setup = await choose(back, inside, 'passkey_setup')
  const credential = found.create(await challengeOn(back, setup))
  const end = await back.submit(setup, { credential }, { form: '/passkey_setup' })
  expect(new URL(end.url).pathname).toBe(NEW_PASSKEY)

  const thief = target.person()
  const refused = await showPasskey(thief, await passkeyPage(target, thief), lost)
  expect(refused.params.has('code')).toBe(false)
  const owner = target.person()
  expect((await showPasskey(owner, await passkeyPage(target, owner), found)).params.has('code')).toBe(true)
})
