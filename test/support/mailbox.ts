/** What a person finds in the inbox: from a small SMTP server, or from the `.eml` files that the embedded default writes. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { domainToASCII } from 'node:url'
import PostalMime, { type Email } from 'postal-mime'
import { SMTPServer } from 'smtp-server'
import { readCatalogues } from './catalogues.ts'
import { freePort } from './services.ts'

export interface Mail {
  readonly to: readonly string[]
  readonly from: string
  readonly subject: string
  readonly text: string
  readonly html: string
  readonly headers: { readonly [name: string]: string }
}

export interface Mailbox {
  all(): Promise<readonly Mail[]>
  /**
   * The newest mail to an address, once there are at least `count` of them (1 by default). Notices of sign-ins in new
   * browsers, which come by themselves a moment later, count only with `arrivals`.
   * Rejects after `milliseconds` (20 s by default), saying what did arrive.
   */
  to(address: string, options?: { count?: number; milliseconds?: number; arrivals?: boolean }): Promise<Mail>
}

export interface SmtpMailbox extends Mailbox {
  readonly url: string
  /** What each message was sent to by RCPT TO (RFC 5321 §4.1.1.3), whatever its header says. */
  recipients(): readonly (readonly string[])[]
  /** Answers the next messages with a temporary failure until called with `false`. */
  refuse(refusing: boolean): void
  stop(): Promise<void>
}

/** In every language. */
const ARRIVALS = [...readCatalogues('views/messages').values()].map(
  (texts) => texts['mail.security_notice.new_device.heading'] ?? '',
)

export function isArrival({ text }: Mail): boolean {
  return ARRIVALS.includes(text.split('\n', 1)[0]?.trim() ?? '')
}

/** An SMTP server on loopback that keeps every message. */
export async function startMailbox(): Promise<SmtpMailbox> {
  const mails: Mail[] = []
  const recipients: string[][] = []
  let refusing = false
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    closeTimeout: 100,
    onData: (stream, { envelope }, done) => {
      const parts: Buffer[] = []
      stream.on('data', (part: Buffer) => parts.push(part))
      stream.on('end', () => {
        if (refusing) return done(Object.assign(new Error('try later'), { responseCode: 451 }))
        void parse(Buffer.concat(parts)).then((mail) => {
          recipients.push(envelope.rcptTo.map(({ address }) => asciiDomain(address)))
          mails.push(mail)
          done()
        }, done)
      })
    },
  })
  server.on('error', () => {})
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()))
  return {
    ...mailbox(async () => mails),
    url: `smtp://127.0.0.1:${port}`,
    recipients: () => recipients,
    refuse: (next) => {
      refusing = next
    },
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

/** The server below shows domains decoded; what went over the wire was ASCII (the client offers no SMTPUTF8). */
function asciiDomain(address: string): string {
  const cut = address.lastIndexOf('@')
  return `${address.slice(0, cut)}@${domainToASCII(address.slice(cut + 1))}`
}

/** The mails under `<dataDir>/mail`, oldest first. */
export function mailFolder(dataDir: string): Mailbox {
  const folder = join(dataDir, 'mail')
  // A file is written whole and never again.
  const known = new Map<string, Promise<Mail>>()
  const read = (path: string) => {
    const mail = known.get(path) ?? parse(readFileSync(path))
    known.set(path, mail)
    return mail
  }
  return mailbox(async () => {
    if (!existsSync(folder)) return []
    const files = readdirSync(folder)
      .filter((file) => file.endsWith('.eml'))
      .map((file) => join(folder, file))
    const dated = files.map((path) => ({ path, at: statSync(path).mtimeMs }))
    dated.sort((a, b) => a.at - b.at || a.path.localeCompare(b.path))
    return Promise.all(dated.map(({ path }) => read(path)))
  })
}

function mailbox(all: () => Promise<readonly Mail[]>): Mailbox {
  return {
    all,
    to: async (address, { count = 1, milliseconds = 20_000, arrivals = false } = {}) => {
      const until = Date.now() + milliseconds
      for (;;) {
        const mails = await all()
        const found = mails.filter((mail) => mail.to.includes(address) && (arrivals || !isArrival(mail)))
        const newest = found.at(-1)
        if (newest !== undefined && found.length >= count) return newest
        if (Date.now() > until) {
          const there = mails.map((mail) => `${mail.to.join(', ')}: ${mail.subject}`).join('\n')
          throw new Error(
            `${found.length} of ${count} mails to ${address} after ${milliseconds} ms; there are:\n${there}`,
          )
        }
        await sleep(50)
      }
    },
  }
}

async function parse(source: Buffer): Promise<Mail> {
  const email: Email = await PostalMime.parse(source)
  return {
    to: (email.to ?? []).map(({ address = '' }) => address),
    from: email.from?.address ?? '',
    subject: email.subject ?? '',
    text: email.text ?? '',
    html: email.html ?? '',
    headers: Object.fromEntries(email.headers.map(({ key, value }) => [key.toLowerCase(), value])),
  }
}

/** The six-digit code of a mail; throws when it has none. */
export function codeFrom(mail: Mail): string {
  const code = /(?<![\d\w/=-])\d{3} ?\d{3}(?![\d\w])/.exec(mail.text)?.[0].replace(' ', '')
  if (code === undefined) throw new Error(`no code in the mail "${mail.subject}":\n${mail.text}`)
  return code
}

/** The first link of a mail that contains `part`; throws when it has none. */
export function linkFrom(mail: Mail, part = ''): string {
  const links = [...mail.text.matchAll(/https?:\/\/[^\s<>"')]+/g)].map(([link]) => link)
  const link = links.find((each) => each.includes(part))
  if (link === undefined) throw new Error(`no link with "${part}" in the mail "${mail.subject}":\n${mail.text}`)
  return link
}
