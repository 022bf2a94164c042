import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from '@jest/globals'
import { createMailer } from '../../src/platform/mailer.ts'
import { codeFrom, linkFrom, type Mailbox, mailFolder, startMailbox } from './mailbox.ts'

const MAIL = {
  id: 'm1',
  date: new Date(),
  to: 'mari@example.com',
  subject: 'Koodisi on täällä',
  text: 'Your code is 123 456.\nOr open http://localhost:3000/interaction/u1/verify_email?token=a-b_c to go on.',
  html: '<p>Your code is <b>123 456</b></p>',
}

async function expectMail(mailbox: Mailbox): Promise<void> {
  const mail = await mailbox.to('mari@example.com')
  expect(mail.subject).toBe(MAIL.subject)
  expect(codeFrom(mail)).toBe('123456')
  expect(linkFrom(mail, 'verify_email')).toBe('http://localhost:3000/interaction/u1/verify_email?token=a-b_c')
  expect(mail.html).toContain('<b>123 456</b>')
}

it('catches mails over SMTP and can refuse them', async () => {
  const mailbox = await startMailbox()
  const mailer = createMailer({ smtpUrl: mailbox.url, from: 'id@example.com', dataDir: tmpdir() })
  mailbox.refuse(true)
  await expect(mailer.send(MAIL)).rejects.toThrow()
  mailbox.refuse(false)
  await mailer.send(MAIL)
  await expectMail(mailbox)
  await expect(mailbox.to('nobody@example.com', { milliseconds: 10 })).rejects.toThrow(
    /0 of 1 mails.*\nmari@example.com/,
  )
  await mailbox.stop()
})

it('reads the mails that were written to files', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'genkan-mail-'))
  const mailer = createMailer({ smtpUrl: undefined, from: 'id@example.com', dataDir })
  await mailer.send(MAIL)
  await expectMail(mailFolder(dataDir))
  rmSync(dataDir, { recursive: true })
})
