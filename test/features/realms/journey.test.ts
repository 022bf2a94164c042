/** Realms by the front door: the DNS is a server on loopback, the provider an independent one in a process of its own. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { choose, redeem, signIn } from '../../support/journeys.ts'
import { stepOf } from '../../support/people.ts'
import { type RealmRoom, startRealmRoom } from '../../support/realms.ts'
import type { Member } from '../../support/target.ts'

let room: RealmRoom
beforeAll(async () => {
  room = await startRealmRoom()
})
afterAll(() => room?.close())
beforeEach(async () => {
  room.dns.answer('well')
  await room.fake.tell({ reset: true, automatic: 'continue' })
})

describe('a domain that nobody has proven', () => {
  let member: Member
  let record: { name: string; value: string }
  beforeAll(async () => {
    member = await room.target.signUp('anna@routed.example')
    await room.run('add', 'Routed.example', '--upstream', 'acme')
    const list = JSON.parse((await room.run('list', '--json')).stdout) as { domain: string; record: typeof record }[]
    record = list.find(({ domain }) => domain === 'routed.example')?.record ?? record
    expect(record.name).toBe('_genkan.routed.example')
  })
  const isUnproven = async () => {
    const { page } = await room.type(member.email)
    expect(stepOf(page)).toBe('password')
  }

  it('leads nobody, and its provider vouches for nobody in it (A11)', async () => {
    await isUnproven()
    const { page } = await room.come('anna', { email: member.email, email_verified: true })
    expect(stepOf(page)).toBe('upstream_account')
    expect(page.forms[0]?.fields.some(({ name }) => name === 'email')).toBe(true)
  })

  it.each([
    ['nothing', {}, /no such record/],
    ['the token of another', { '_genkan.routed.example': [[`genkan-domain=${'x'.repeat(43)}`]] }, /another value/],
    ['a wildcard', { '*.routed.example': [['v=spf1 -all']] }, /another value/],
  ])('is not proven by %s', async (_, records, reason) => {
    room.dns.set(records)
    const { code, stderr } = await room.run('prove', 'routed.example')
    expect([code, reason.test(stderr)]).toEqual([1, true])
    await isUnproven()
  })

  it('is not proven while the DNS is away', async () => {
    room.dns.answer('servfail')
    const { code, stderr } = await room.run('prove', 'routed.example')
    expect([code, stderr]).toEqual([1, expect.stringContaining('did not answer')])
    await isUnproven()
  })

  it('is said to be so by genkan doctor', async () => {
    const { stdout } = await room.target.server.run('doctor')
    const line = stdout.split('\n').find((each) => each.includes('realms'))
    expect(line).toContain(`routed.example is not proven: publish ${record.name} TXT "${record.value}"`)
    expect(line).toContain('declared.example is not proven')
  })

  it('is proven by the value, in whatever pieces, once', async () => {
    room.publish({ [record.name]: [['v=other'], [record.value.slice(0, 9), record.value.slice(9)]] })
    for (const _ of [1, 2])
      expect((await room.run('prove', 'routed.example')).stdout).toBe('routed.example is proven\n')
    expect((await room.facts('realm.verified')).filter(({ data }) => data.domain === 'routed.example')).toHaveLength(1)
    expect(room.isAtProvider((await room.type(member.email)).page)).toBe(true)
  })

  it("is not a command's to change when it is declared", async () => {
    for (const command of [
      ['remove', 'declared.example'],
      ['add', 'declared.example', '--upstream', 'acme'],
    ]) {
      expect((await room.run(...command)).stderr).toContain('is declared')
    }
    expect((await room.run('add', 'x.example', '--upstream', 'nobody')).stderr).toContain('there is no upstream nobody')
    expect((await room.run('add', 'x', '--upstream', 'acme')).stderr).toContain('must be an e-mail domain')
  })
})

describe('a proven domain that leads to its provider', () => {
  it('leads known and unknown addresses there alike, and names them', async () => {
    const emails = ['anna@routed.example', 'nobody@routed.example']
    const names: string[][] = []
    for (const email of emails) names.push([...(await room.type(email)).page.params.keys()].sort())
    expect(names[0]).toEqual(names[1])
    const { requests } = await room.fake.seen()
    const hints = requests.flatMap(({ body }) => body?.login_hint ?? [])
    expect(hints).toEqual(emails)
    expect(room.isAtProvider((await room.type('Anna@ROUTED.example')).page)).toBe(true)
    expect(stepOf((await room.type('anna@www.routed.example')).page)).toBe('password')
  })

  it('signs in whom the provider verifies there, linked without asking', async () => {
    const [{ account_id: sub } = { account_id: '' }] = await room.facts('account.registered')
    const { request, page } = await room.come('anna', { email: 'anna@routed.example', email_verified: true })
    expect((await redeem(room.target.client, request, page)).claims()?.sub).toBe(sub)
  })

  it('A11: its provider vouches for no address of another domain', async () => {
    const boss = await room.target.signUp('boss@org1.example')
    const { browser, page } = await room.come('mallory', { email: boss.email, email_verified: true })
    expect(stepOf(page)).toBe('upstream_account')
    const waiting = await browser.submit(page, {}, { form: '/upstream_account' })
    expect(stepOf(waiting)).toBe('verify_email')
    const rows = await room.target.sql('select 1 from identities where account_id = $1', [boss.sub])
    expect(rows).toEqual([])
  })

  it('still lets whoever comes back take another way', async () => {
    const { email } = await room.target.signUp('berta@routed.example')
    const { browser, page: away } = await room.type(email)
    await room.fake.tell({ automatic: 'access_denied' })
    const back = await room.comeBack(browser, away)
    expect([back.status, back.forms.some(({ action }) => action.endsWith('/upstream'))]).toEqual([400, true])
    expect(back.text).toContain('routed.example')
    const end = await signIn(browser, await choose(browser, back, 'password'), email)
    expect(end.params.has('code')).toBe(true)
  })

  it('offers the provider beside the own methods under the policy offer', async () => {
    await room.run('add', 'routed.example', '--upstream', 'acme', '--policy', 'offer')
    const { page } = await room.type('anna@routed.example')
    expect(stepOf(page)).toBe('password')
    expect(page.text).toContain('Continue with Acme')
    await room.run('add', 'routed.example', '--upstream', 'acme')
  })
})
