/** What every page under /account shares: who is there, the frame, forms, and the word about the last act. */
import type { RouterContext } from '@koa/router'
import type { Context } from 'koa'
import type { ZodType } from 'zod'
import type { Form } from '../../http/form.ts'
import type { SignedIn } from '../account_sign_in/types.ts'

/** What the rooms that put pages under /account are given. A template is named `<feature>/<page>`. */
export interface AccountArea {
  readonly gate: {
    /** The signed-in person; undefined when there is none, and then the answer is a redirect that comes back to `page`. */
    enter(ctx: Context, page: string): Promise<SignedIn | undefined>
    /** The same for sensitive acts: asks whoever proved themselves too long ago, or at less than their highest level. */
    enterFresh(ctx: Context, page: string): Promise<SignedIn | undefined>
    /** Forgets this browser: cookies and what it kept of the pages. */
    forget(ctx: Context): void
  }
  /** A session is over after so many seconds without a request. */
  readonly idleSeconds: number
  show(ctx: Context, me: SignedIn, template: string, context: object, status?: number): void
  /** The page again, with what went wrong. */
  fail(ctx: Context, me: SignedIn, template: string, failed: Failed, context: object): void
  /** 303 to `url`, whose page says once what was done. */
  done(ctx: Context, url: string, code: DoneCode): void
  redirect(ctx: Context, url: string): void
  /** The fields of a form that one of our own pages sent (A55). */
  form(ctx: RouterContext): Promise<Form>
  parse<T>(schema: ZodType<T>, fields: Form): { data?: T; field?: string }
  /** For forms that none of our pages can send wrong: what does not fit is refused. */
  need<T>(schema: ZodType<T>, fields: Form): T
}

export interface Failed {
  readonly code: string
  readonly field?: string | undefined
  readonly retryAfter?: number | undefined
  /** 400, or 429 with `retryAfter`, when left out. */
  readonly status?: number | undefined
}

/** An act's end: the code of what to say on the next page, or why it could not be. */
export type Act<Done = unknown> =
  | { readonly ok: true; readonly value: Done }
  | { readonly ok: false; readonly code: string; readonly field?: string; readonly retryAfter?: number | undefined }

/** What a page may say after an act; the texts are `account.done.<code>`. */
export const DONE_CODES = [
  'profile_saved',
  'password_changed',
  'password_set',
  'email_changed',
  'code_sent',
  'session_ended',
  'others_ended',
  'client_revoked',
  'agent_taken_back',
  'agent_allowed',
  'language_saved',
  'device_forgotten',
  'devices_forgotten',
  'totp_added',
  'totp_updated',
  'totp_removed',
  'phone_added',
  'phone_updated',
  'phone_removed',
  'recovery_codes_saved',
  'passkey_added',
  'passkey_renamed',
  'passkey_removed',
  'identity_linked',
  'identity_removed',
  'identification_removed',
  'approval_granted',
  'approval_denied',
] as const

export type DoneCode = (typeof DONE_CODES)[number]

/** A line of /account/security. Each room of a method states its own; the page only lists them. */
export interface SecurityRow {
  /** Message key of the method's name. */
  readonly label: string
  /** Message key of how it stands; `count` is its value, where it has one. */
  readonly state: string
  readonly count?: number | undefined
  /** Something should be done soon. */
  readonly warns?: boolean | undefined
  /** The page on which it is changed. */
  readonly link: string
}

/** The person's address and the language of the page. */
export function requestOf(ctx: Context): { ip: string; locale: string } {
  const { ip, locale } = ctx.state as { ip: string; locale: string }
  return { ip, locale }
}

/**
 * What the browser's keeper of passkeys should know of the account (WebAuthn L3 §5.1.10): its names, and with `accepted` which
 * credentials are still good. '' for an account without passkeys.
 */
export function signalsOf(issuer: string, { account }: SignedIn, accepted?: readonly string[]): string {
  if (accepted === undefined && !account.factors.includes('passkey')) return ''
  return JSON.stringify({
    rpId: new URL(issuer).hostname,
    userId: Buffer.from(account.accountId, 'utf8').toString('base64url'),
    ...(accepted && { allAcceptedCredentialIds: accepted }),
    name: account.email,
    displayName: account.name ?? account.email,
  })
}
