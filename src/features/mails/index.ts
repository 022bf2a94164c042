/**
 * Mails: the one consumer of `mail.requested`. Features state that a mail is due in the transaction of their change; it is
 * written in the person's language and sent here, outside of every request. Owns no table and no page: templates and texts
 * belong to the feature that asks, transport and repetition to the platform.
 */
import { z } from 'zod'
import type { RecordedFact } from '../../events.ts'
import type { Feature } from '../../feature.ts'
import { PermanentFailure } from '../../platform/delivery_rows.ts'

interface Deps {
  readonly send: (message: {
    id: string
    to: string
    subject: string
    html: string
    text: string
    locale: string
    date: Date
  }) => Promise<void>
  /** Renders `views/<template>.mail.njk` in a brand (by id; the default one without). */
  readonly renderMail: (
    template: string,
    locale: string,
    values: { readonly [name: string]: unknown },
    brand: string | undefined,
  ) => Promise<{ subject: string; html: string; text: string }>
  /**
   * Told right before sending when the request named a `reference` (a code's key): starts the code's time, and says whether
   * the mail is still wanted. Without it every mail is.
   */
  readonly sending?: ((reference: string) => Promise<boolean>) | undefined
}

/** The sealed part of `mail.requested`. `to: null` is the mail to nobody that hides whether an account exists. */
const requested = z.object({
  to: z.string().nullable(),
  template: z.string().regex(/^[a-z_]+\/[a-z_]+$/),
  locale: z.string(),
  values: z.record(z.string(), z.unknown()).default({}),
  reference: z.string().optional(),
  brand: z.string().optional(),
})

/** Makes the feature. */
export function createMails({ send, renderMail, sending }: Deps): Feature {
  const handle = async (fact: RecordedFact): Promise<void> => {
    const request = requested.safeParse(fact.sealed)
    if (!request.success) throw new PermanentFailure('the request for a mail is not complete')
    const { to, template, locale, values, reference, brand } = request.data
    if (to === null) return
    if (reference !== undefined && sending !== undefined && !(await sending(reference))) return
    const mail = await renderMail(template, locale, values, brand)
    await send({ id: fact.id, to, ...mail, locale, date: fact.occurredAt })
  }
  return { name: 'mails', subscribe: [{ consumer: 'mails', types: ['mail.requested'], handle }] }
}
