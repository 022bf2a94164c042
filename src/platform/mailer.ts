/**
 * Mail: by SMTP when a server is configured, else as `.eml` files in the data directory. Addresses are checked once more and
 * travel as objects: no library parses a recipient out of text (A28).
 */
import { join } from 'node:path'
import type { SendMailOptions, SentMessageInfo, Transporter } from 'nodemailer'
import { PermanentFailure } from './delivery_rows.ts'
import { writeWhole } from './whole_file.ts'

export interface Message {
  /** The fact's id: repetitions have the same Message-ID, so that a receiver recognises them. */
  readonly id: string
  /** One plain address: `local@domain`. */
  readonly to: string
  readonly subject: string
  readonly html: string
  readonly text: string
  /** BCP 47 tag of the language it is written in. */
  readonly locale?: string | undefined
  /** When it was asked for. */
  readonly date: Date
}

export interface Mailer {
  /** Resolves when the message is accepted or on disk. Throws `PermanentFailure` when no repetition can help. */
  send(message: Message): Promise<void>
  /** Closes idle connections. */
  close(): void
}

interface Options {
  /** `smtp://user:password@host:port` or `smtps://…`. */
  readonly smtpUrl?: string | undefined
  /** `Name <address>` or `address`. */
  readonly from: string
  readonly dataDir: string
}

const CONNECT_MS = 5_000
const SOCKET_MS = 20_000
const SUBJECT_LENGTH = 200

/** Makes the mailer. Throws Error when `from` is not an address. */
export function createMailer({ smtpUrl, from, dataDir }: Options): Mailer {
  const sender = parseSender(from)
  const compose = (message: Message): SendMailOptions => {
    if (!plainAddress(message.to)) throw new PermanentFailure('not one plain address')
    return {
      from: sender,
      to: { name: '', address: message.to },
      envelope: { from: sender.address, to: [message.to] },
      subject: oneLine(message.subject).slice(0, SUBJECT_LENGTH),
      text: message.text,
      html: message.html,
      date: message.date,
      messageId: `<${message.id.replace(/[^\w-]/g, '')}@${sender.address.split('@')[1]}>`,
      headers: {
        // RFC 3834 §5: no holiday notes in return.
        'Auto-Submitted': 'auto-generated',
        ...(message.locale === undefined ? {} : { 'Content-Language': oneLine(message.locale) }),
      },
    }
  }
  return smtpUrl === undefined ? fileMailer(join(dataDir, 'mail'), compose) : smtpMailer(smtpUrl, compose)
}

const LOCAL = /^[\p{L}\p{M}\p{N}!#$%&'*+/=?^_`{|}~-]+(\.[\p{L}\p{M}\p{N}!#$%&'*+/=?^_`{|}~-]+)*$/u
const DOMAIN = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i

/** Whether the text is one addr-spec without quotes, comments, lists or control characters (RFC 5321 §4.1.2 dot-string). */
export function plainAddress(text: string): boolean {
  const [local = '', domain = '', ...more] = text.split('@')
  if (more.length > 0 || Buffer.byteLength(text) > 254 || Buffer.byteLength(local) > 64) return false
  return LOCAL.test(local) && DOMAIN.test(domain)
}

type Compose = (message: Message) => SendMailOptions

/** Nothing in a message may name a file or an address to be read in. */
const CLOSED = { disableFileAccess: true, disableUrlAccess: true } as const

/** Made for the first message, and the library loaded with it: most commands write none. */
function createSender(options: object) {
  let transport: Promise<Transporter> | undefined
  return {
    async send(mail: SendMailOptions): Promise<SentMessageInfo> {
      transport ??= import('nodemailer').then(({ createTransport }) => createTransport({ ...CLOSED, ...options }))
      return (await transport).sendMail(mail)
    },
    close: () => void transport?.then((made) => made.close()),
  }
}

function smtpMailer(url: string, compose: Compose): Mailer {
  const { send, close } = createSender({
    url,
    pool: true,
    maxConnections: 4,
    maxMessages: 100,
    // The pool must not repeat by itself what a server may have accepted: the delivery row decides.
    maxRequeues: 0,
    connectionTimeout: CONNECT_MS,
    greetingTimeout: CONNECT_MS,
    dnsTimeout: CONNECT_MS,
    socketTimeout: SOCKET_MS,
  })
  return {
    async send(message) {
      const composed = compose(message)
      try {
        await send(composed)
      } catch (error) {
        throw refusal(error)
      }
    },
    close,
  }
}

/** What a server answers may quote the recipient, so its text is dropped; a refused recipient is not tried again. */
function refusal(error: unknown): Error {
  const { code, responseCode, command } = error as { code?: string; responseCode?: number; command?: string }
  const status = responseCode === undefined ? '' : ` ${responseCode}`
  const text = `mail not accepted: ${code ?? 'unknown'}${status} ${command ?? ''}`.trim()
  const refused = command === 'RCPT TO' && responseCode !== undefined && responseCode >= 500
  return refused ? new PermanentFailure(text) : new Error(text)
}

function fileMailer(directory: string, compose: Compose): Mailer {
  const { send, close } = createSender({ streamTransport: true, buffer: true, newline: 'windows' })
  return {
    async send(message) {
      const { message: content } = await send(compose(message))
      const time = message.date.toISOString().replace(/[:.]/g, '-')
      // The name follows from the fact: a repetition replaces the same file.
      await writeWhole(directory, `${time}-${message.id.replace(/[^\w-]/g, '')}.eml`, content as Buffer)
    },
    close,
  }
}

function parseSender(from: string): { name: string; address: string } {
  const [, name = '', bracketed] = /^\s*"?([^"<]*?)"?\s*<([^<>]+)>\s*$/.exec(from) ?? []
  const address = (bracketed ?? from).trim()
  if (!plainAddress(address)) throw new Error('the sender of mails is not an address')
  return { name: oneLine(name), address }
}

function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim()
}
