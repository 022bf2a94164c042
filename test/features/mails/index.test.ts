import { describe, expect, it } from '@jest/globals'
import type { RecordedFact } from '../../../src/events.ts'
import { createMails } from '../../../src/features/mails/index.ts'
import { PermanentFailure } from '../../../src/platform/delivery_rows.ts'

type Options = Partial<Parameters<typeof createMails>[0]>

const occurredAt = new Date('2026-11-22T10:00:00Z')
const sealed = { to: 'ann@example.test', template: 'email_codes/code', locale: 'fi', values: { code: '123456' } }
const fact = (part: RecordedFact['sealed'] = sealed): RecordedFact => ({
  id: 'f1',
  type: 'mail.requested',
  occurredAt,
  sealed: part,
})

function setUp(options: Options = {}) {
  const sent: object[] = []
  const rendered: unknown[] = []
  const feature = createMails({
    send: async (message) => {
      sent.push(message)
    },
    renderMail: async (template, locale, values, brand) => {
      rendered.push([template, locale, values, brand])
      return { subject: 's', html: '<p>', text: 't' }
    },
    ...options,
  })
  const [subscription] = feature.subscribe ?? []
  if (subscription === undefined) throw new Error('no subscription')
  return { sent, rendered, subscription }
}

describe('mails', () => {
  it('renders in the language of the request and sends under the id of the fact', async () => {
    const { sent, rendered, subscription } = setUp()
    expect(subscription.types).toEqual(['mail.requested'])
    await subscription.handle(fact())
    expect(rendered).toEqual([['email_codes/code', 'fi', { code: '123456' }, undefined]])
    expect(sent).toEqual([
      { id: 'f1', to: 'ann@example.test', subject: 's', html: '<p>', text: 't', locale: 'fi', date: occurredAt },
    ])
  })

  it('sends nothing to nobody', async () => {
    const { sent, subscription } = setUp()
    await subscription.handle(fact({ ...sealed, to: null }))
    expect(sent).toEqual([])
  })

  it('starts the time of a code right before sending, and drops a mail that is no longer wanted', async () => {
    const events: string[] = []
    let wanted = true
    const { sent, subscription } = setUp({
      sending: async (reference) => {
        events.push(reference)
        return wanted
      },
      send: async () => {
        events.push('sent')
      },
    })
    await subscription.handle(fact({ ...sealed, reference: 'code:1' }))
    expect(events).toEqual(['code:1', 'sent'])
    wanted = false
    await subscription.handle(fact({ ...sealed, reference: 'code:2' }))
    await subscription.handle(fact())
    expect(events).toEqual(['code:1', 'sent', 'code:2', 'sent'])
    expect(sent).toEqual([])
  })

  it('fails for good without a complete request, and passes on what may be repeated', async () => {
    const { subscription } = setUp()
    for (const part of [undefined, {}, { ...sealed, template: '../../etc/passwd' }, { ...sealed, to: 1 }]) {
      await expect(subscription.handle({ ...fact(), sealed: part })).rejects.toBeInstanceOf(PermanentFailure)
    }
    const away = setUp({
      send: async () => {
        throw new Error('away')
      },
    })
    await expect(away.subscription.handle(fact())).rejects.toThrow('away')
  })
})
