/** Reads the one kind of body that pages send. Anything odd is a 4xx before any feature sees it (A78, A102, A104). */
import coBody from 'co-body'
import type { Context } from 'koa'
import { AppError } from '../errors.ts'

export type Form = { readonly [name: string]: string }

const LIMIT = 32 * 1024
const FIELDS = 50
const BROKEN = ['\0', '\uFFFD']

/**
 * Fields of an `application/x-www-form-urlencoded` body of at most `limit` bytes.
 * @throws {AppError} `unsupported_media_type`, `payload_too_large`, or `invalid_request` for duplicates and broken encodings
 */
export async function readForm(ctx: Context, limit = LIMIT): Promise<Form> {
  if (!ctx.is('application/x-www-form-urlencoded')) throw new AppError('unsupported_media_type')
  const text = await readText(ctx, limit)
  if (/%(?![0-9a-f]{2})/i.test(text)) throw new AppError('invalid_request', { detail: 'broken percent encoding' })
  const form: { [name: string]: string } = Object.create(null)
  const fields = [...new URLSearchParams(text)]
  if (fields.length > FIELDS) throw new AppError('invalid_request', { detail: 'too many fields' })
  for (const [name, value] of fields) {
    if (name in form) throw new AppError('invalid_request', { detail: 'a field was sent twice' })
    // U+FFFD is what broken UTF-8 becomes; NUL is refused by PostgreSQL.
    if (BROKEN.some((character) => (name + value).includes(character)))
      throw new AppError('invalid_request', { detail: 'broken text' })
    form[name] = value
  }
  return form
}

/** A body of text of at most `limit` bytes. Bytes that are no UTF-8 become U+FFFD. */
export async function readText(ctx: Context, limit: number): Promise<string> {
  try {
    return (await coBody.text(ctx.req, { limit, encoding: 'utf8' })) as string
  } catch (cause) {
    const { status } = cause as { status?: number }
    if (status === 413) throw new AppError('payload_too_large', { cause })
    throw new AppError('invalid_request', { cause, detail: 'the body cannot be read' })
  }
}
