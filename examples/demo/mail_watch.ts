/** Tells of each mail that the provider writes into the mail directory: one line with what a person would look for. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import PostalMime from 'postal-mime'

export interface ArrivedMail {
  readonly file: string
  readonly to: string
  readonly subject: string
  readonly code: string | undefined
  readonly link: string | undefined
}

/** Calls `tell` for every `.eml` file that was not there before. Looks twice a second; `stop()` ends it. */
export function watchMails(directory: string, tell: (mail: ArrivedMail) => void): { stop(): void } {
  mkdirSync(directory, { recursive: true })
  const mails = () => readdirSync(directory).filter((name) => name.endsWith('.eml'))
  const known = new Set(mails())
  const timer = setInterval(() => {
    for (const name of mails().sort()) {
      if (known.has(name)) continue
      known.add(name)
      readMail(join(directory, name)).then(tell, () => undefined)
    }
  }, 500)
  return { stop: () => clearInterval(timer) }
}

/** Reads a mail as its recipient would: to whom, about what, and the code and the link in it. */
async function readMail(file: string): Promise<ArrivedMail> {
  const mail = await PostalMime.parse(readFileSync(file))
  const text = mail.text ?? ''
  return {
    file,
    to: mail.to?.map((recipient) => recipient.address).join(', ') ?? '',
    subject: mail.subject ?? '',
    code: /(?<![\w/=-])\d{6}(?![\w/=-])/.exec(text)?.[0],
    link: /https?:\/\/[^\s<>"]+/.exec(text)?.[0],
  }
}
