/**
 * Text messages: by a request to a provider's HTTP API when one is configured, else as files in the data directory. What a
 * provider needs is three words in a JSON body, so that any of them fits without a library.
 */
import { join } from 'node:path'
import { PermanentFailure } from './delivery_rows.ts'
import type { HttpClient } from './http_client.ts'
import { writeWhole } from './whole_file.ts'

export interface TextMessage {
  /** E.164: `+`, country calling code, number. */
  readonly to: string
  readonly text: string
  /** The fact's id: repetitions have the same, so that a provider recognises them. */
  readonly id: string
}

export interface TextSender {
  /** Resolves when the message is accepted or on disk. Throws `PermanentFailure` when no repetition can help. */
  send(message: TextMessage): Promise<void>
}

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

export interface TextProvider {
  readonly url: string
  readonly headers: { readonly [name: string]: string }
  /** JSON in whose texts `{to}`, `{text}` and `{id}` are filled in. */
  readonly bodyTemplate: Json
}

/** Sends each message as a POST with a JSON body. Nothing that the provider answers is kept: it may quote the number. */
export function createHttpTextSender(
  { url, headers, bodyTemplate }: TextProvider,
  http: Pick<HttpClient, 'fetch'>,
): TextSender {
  return {
    async send(message) {
      const body = JSON.stringify(filled(bodyTemplate, { ...message }))
      const { status } = await http.fetch(url, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body,
      })
      if (status >= 200 && status < 300) return
      const failure = `the provider of text messages answered ${status}`
      throw PERMANENT.includes(status) ? new PermanentFailure(failure) : new Error(failure)
    },
  }
}

/** About this one message. Other refusals (of our key, of too many requests) an operator can mend meanwhile. */
const PERMANENT = [400, 404, 410, 422]

/** Filled after parsing, text by text: whatever a message holds, it is never read as JSON. */
function filled(template: Json, values: { readonly [name: string]: string }): Json {
  if (typeof template === 'string')
    return template.replace(/\{(to|text|id)\}/g, (_, name: string) => values[name] ?? '')
  if (Array.isArray(template)) return template.map((item) => filled(item, values))
  if (template === null || typeof template !== 'object') return template
  return Object.fromEntries(Object.entries(template).map(([key, item]) => [key, filled(item, values)]))
}

/** Writes each message to `<data directory>/sms/<id>.txt`; ids sort by time. */
export function createFileTextSender(dataDir: string): TextSender {
  return {
    send: ({ to, text, id }) =>
      writeWhole(join(dataDir, 'sms'), `${id.replace(/[^\w-]/g, '')}.txt`, `To: ${to}\n\n${text}\n`),
  }
}
