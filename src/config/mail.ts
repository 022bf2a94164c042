/** By which server mails leave, and whose name they bear. */
import { z } from 'zod'
import type { Parsed } from './values.ts'

export const mailShape = {
  smtp_url: z.url({ protocol: /^smtps?$/ }).optional(),
  mail_from: z.string().default('Genkan <no-reply@localhost>'),
}

export interface MailConfig {
  readonly smtpUrl: string | undefined
  readonly mailFrom: string
}

export function mailOf(settings: Parsed<typeof mailShape>): MailConfig {
  return { smtpUrl: settings.smtp_url, mailFrom: settings.mail_from }
}
