import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { createMails } from '../../../src/features/mails/index.ts'
import { createDeliveries } from '../../../src/platform/deliveries.ts'
import { createDispatcher } from '../../../src/platform/dispatcher.ts'
import { createLedger } from '../../../src/platform/ledger.ts'
import { createMailer, type Mailer } from '../../../src/platform/mailer.ts'
import { createOutbox } from '../../../src/platform/outbox.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { type SmtpMailbox, startMailbox } from '../../support/mailbox.ts'
import { testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const secretBox = createSecretBox([Buffer.alloc(32, 1)])

describe.each(['embedded', 'postgres'] as const)('a mail on its way, on %s', (kind) => {
  let database: Database
  let mailbox: SmtpMailbox
  let mailer: Mailer
  let now = Date.parse('2026-11-22T10:00:00Z')
  const clock = { now: () => new Date(now) }
  const logged: object[] = []
  const logger = { warn: (facts: object) => logged.push(facts) }
  beforeEach(async () => {
    database = await freshDatabase(kind)
    mailbox = await startMailbox()
    mailer = createMailer({ smtpUrl: mailbox.url, from: 'no-reply@id.example', dataDir: '/nowhere' })
  })
  afterEach(async () => {
    mailer.close()
    await mailbox.stop()
    await database.close()
  })

  const setUp = (sending: (reference: string) => Promise<boolean> = async () => true) => {
    const { subscribe: subscriptions = [] } = createMails({
      send: mailer.send,
      renderMail: async (template, locale, { code }) => ({
        subject: `${template} ${locale}`,
        html: `<b>${String(code)}</b>`,
        text: String(code),
      }),
      sending,
    })
    const ledger = createLedger({ personal: testPersonal, database, secretBox, clock, subscriptions })
    const deliveries = createDeliveries({ personal: testPersonal, database, secretBox, clock, subscriptions, logger })
    const outbox = createOutbox({ personal: testPersonal, secretBox, clock })
    const run = async () => {
      await ledger.seal()
      return deliveries.deliver()
    }
    return { outbox, deliveries, run, seal: ledger.seal }
  }
  const request = (outbox: ReturnType<typeof createOutbox>) =>
    database.transaction((tx) =>
      outbox.record(
        [
          {
            type: 'mail.requested',
            sealed: {
              to: 'ann@example.test',
              template: 'email_codes/code',
              locale: 'en',
              values: { code: '123456' },
              reference: 'code:1',
            },
          },
        ],
        tx,
      ),
    )

  it('F38: waits for a mail server that is away, goes out once, and its time starts with each try', async () => {
    const started: number[] = []
    const { outbox, run } = setUp(async () => {
      started.push(now)
      return true
    })
    mailbox.refuse(true)
    await request(outbox)
    expect(await run()).toBe(0)
    now += 60_000
    expect(await run()).toBe(0)
    mailbox.refuse(false)
    now += 3_600_000
    expect(await run()).toBe(1)
    now += 3_600_000
    expect(await run()).toBe(0)
    const mails = await mailbox.all()
    expect(mails).toMatchObject([{ to: ['ann@example.test'], subject: 'email_codes/code en' }])
    expect(started).toHaveLength(3)
    expect(started[2]).toBe(now - 3_600_000)
    expect(JSON.stringify(logged)).not.toMatch(/ann@|123456/)
    expect(JSON.stringify(await database.db('deliveries'))).not.toMatch(/ann@|123456/)
    expect((await database.db('outbox').first()).sealed).toBeNull()
  })

  it('F38: a code that was replaced while the server was away is not sent any more', async () => {
    const { outbox, run } = setUp(async () => false)
    await request(outbox)
    expect(await run()).toBe(1)
    expect(await mailbox.all()).toEqual([])
  })

  it('leaves by itself after the commit', async () => {
    const { outbox, deliveries, seal } = setUp()
    const dispatcher = createDispatcher({ seal, deliveries, logger })
    outbox.onWake(dispatcher.wake)
    await request(outbox)
    expect((await mailbox.to('ann@example.test', { milliseconds: 3000 })).text.trim()).toBe('123456')
    await dispatcher.stop()
  })
})
