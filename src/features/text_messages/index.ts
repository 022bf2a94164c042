/**
 * Text messages. Owns what they may cost, and is the one consumer of `sms.requested`: a message is written in the person's
 * language and handed to the provider here, outside of every request, and repeated until the provider has taken it or its
 * code is not wanted any more. What a code means belongs to the room that asks for it; no table, no page.
 */
import { z } from 'zod'
import type { RecordedFact } from '../../events.ts'
import type { Feature } from '../../feature.ts'
import { PermanentFailure } from '../../platform/delivery_rows.ts'
import { createTextMessageService, type TextMessageDeps, type TextMessageService } from './service.ts'

export interface TextMessageFeatureDeps extends TextMessageDeps {
  readonly send: (message: { to: string; text: string; id: string }) => Promise<void>
  /** The text of a code's message, in a brand (by id; the default one without). */
  readonly writeCode: (code: string, locale: string, brand: string | undefined) => Promise<string>
  /** The name of this server, to which the phone's browser binds the code. */
  readonly host: string
  /** Told right before sending: starts the code's time, and says whether the message is still wanted. */
  readonly sending: (reference: string) => Promise<boolean>
}

const requested = z.object({
  to: z.string().regex(/^\+\d{6,15}$/),
  code: z.string(),
  locale: z.string(),
  brand: z.string().optional(),
  reference: z.string(),
})

/** The feature and its service: `service` is what rooms that send codes get. */
export function createTextMessages(deps: TextMessageFeatureDeps): Feature & { readonly service: TextMessageService } {
  const { send, writeCode, host, sending, measure } = deps
  const handle = async (fact: RecordedFact): Promise<void> => {
    const request = requested.safeParse(fact.sealed)
    if (!request.success) throw new PermanentFailure('the request for a text message is not complete')
    const { to, code, locale, brand, reference } = request.data
    if (!(await sending(reference))) return
    // The last line binds the code to this host: a browser fills it in here and nowhere else (WICG, origin-bound codes).
    const text = `${await writeCode(code, locale, brand)}\n\n@${host} #${code}`
    try {
      await send({ to, text, id: fact.id })
    } catch (error) {
      measure('failed')
      throw error
    }
    measure('sent')
  }
  return {
    name: 'text_messages',
    service: createTextMessageService(deps),
    subscribe: [{ consumer: 'text_messages', types: ['sms.requested'], handle }],
  }
}
