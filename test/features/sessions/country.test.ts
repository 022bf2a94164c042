/** Where a person has signed in, as far as a trusted proxy tells it: on the product, by the front door. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { signIn } from '../../support/journeys.ts'
import { type Member, startTarget, type Target } from '../../support/target.ts'

const HEADER = 'cf-ipcountry'

describe('the list of sessions', () => {
  let target: Target
  let ada: Member
  beforeAll(async () => {
    target = await startTarget({ env: { COUNTRY_HEADER: 'CF-IPCountry' } })
    ada = await target.signUp('ada@example.com')
  })
  afterAll(() => target?.close())

  /** What the account page and the command line say of a sign-in with this header. */
  async function seen(country: string): Promise<{ page: string; command: string | undefined }> {
    const browser = target.person({ headers: { [HEADER]: country } })
    await signIn(browser, await target.open(browser), ada.email)
    const page = await browser.get(`${target.issuer}/account/sessions`)
    const shown = await target.server.run('accounts', 'show', ada.email, '--json')
    const { sessions } = JSON.parse(shown.stdout) as { sessions: { seenAt: string; country?: string }[] }
    const [newest] = sessions.toSorted((a, b) => b.seenAt.localeCompare(a.seenAt))
    return { page: page.text, command: newest?.country }
  }

  it('names the country', async () => {
    expect(await seen('fi')).toEqual({ page: expect.stringContaining('Finland'), command: 'FI' })
  })

  it.each(['XX', 'T1', 'FIN', '', 'F<', 'FI,SE'])('says nothing for "%s"', async (country) => {
    expect((await seen(country)).command).toBeUndefined()
  })
})

describe('without a trusted proxy', () => {
  it('the word of whoever asks counts for nothing', async () => {
    const target = await startTarget({ env: { COUNTRY_HEADER: 'CF-IPCountry', TRUSTED_PROXIES: '192.0.2.1' } })
    try {
      const bob = await target.signUp('bob@example.com')
      const browser = target.person({ headers: { [HEADER]: 'FI' } })
      await signIn(browser, await target.open(browser), bob.email)
      expect((await target.server.run('accounts', 'show', bob.email, '--json')).stdout).not.toContain('"country"')
    } finally {
      await target.close()
    }
  })
})
