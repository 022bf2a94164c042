/**
 * Passwords that are known from breaches elsewhere (NIST SP 800-63B-4 §3.1.1.2, ASVS 6.2.12), in two sources that an operator
 * may give: a sorted list of SHA-1 hashes on disk, and a range API of the kind that Have I Been Pwned offers, which learns
 * five hex digits of the hash. They are asked when a password is set, and once a month after a sign-in, for which nobody waits;
 * the dictionary of common passwords is another matter and always there. A source that fails lets the password pass: it must not close registration.
 */
import { hash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { HttpClient } from './http_client.ts'

export interface BreachedPasswords {
  /** Whether the password, as it is hashed for storage, is in any of the sources. */
  isBreached(password: string): Promise<boolean>
}

interface Options {
  readonly file?: string | undefined
  /** A base to which five hex digits are appended. */
  readonly api?: string | undefined
  /** Guarded, and with a time-out of a second. */
  readonly fetch: HttpClient['fetch']
  readonly checked: (source: 'file' | 'api', result: 'clean' | 'breached' | 'failed') => void
  readonly warn: (error: unknown, message: string) => void
}

/** Looks in the sources in their order; the first that has the password decides. */
export function createBreachedPasswords({ file, api, fetch, checked, warn }: Options): BreachedPasswords {
  const sources = [
    ...(file === undefined ? [] : [{ name: 'file' as const, has: (sha1: string) => fileHas(file, sha1) }]),
    ...(api === undefined ? [] : [{ name: 'api' as const, has: (sha1: string) => apiHas(api, fetch, sha1) }]),
  ]
  return {
    async isBreached(password) {
      const sha1 = hash('sha1', password, 'hex').toUpperCase()
      for (const { name, has } of sources) {
        const found = await has(sha1).catch((error: unknown) => {
          warn(error, 'a list of breached passwords cannot be asked')
          return undefined
        })
        checked(name, found === undefined ? 'failed' : found ? 'breached' : 'clean')
        if (found === true) return true
      }
      return false
    },
  }
}

const HASH_DIGITS = 40
const LINE = /^[0-9A-F]{40}(:\d{1,12})?$/
/** Longer than two lines, so that a whole one begins in any piece of the file. */
const PIECE = 128
const SAMPLES = 1000

/** What is wrong with a list, or undefined: found at start in a thousand places, since a whole list has tens of gigabytes. */
export function problemOfList(path: string): string | undefined {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const { size } = fstatSync(file)
    const buffer = Buffer.alloc(PIECE)
    let last = ''
    for (let sample = 0; sample <= SAMPLES; sample++) {
      const offset = Math.floor((Math.max(0, size - PIECE) * sample) / SAMPLES)
      const line = firstLine(buffer.toString('latin1', 0, readSync(file, buffer, 0, PIECE, offset)), offset)
      if (line === undefined || !LINE.test(line))
        return `near byte ${offset}: is no SHA-1 in upper-case hex with an optional :count`
      if (line.slice(0, HASH_DIGITS) < last) return `near byte ${offset}: is not sorted`
      last = line.slice(0, HASH_DIGITS)
    }
    return undefined
  } catch (error) {
    return `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

/** The first line that begins in a piece of the file; the piece that begins the file begins one. */
function firstLine(piece: string, offset: number): string | undefined {
  const lines = piece.split(/\r?\n/)
  return offset === 0 ? lines[0] : (lines[1] ?? '') === '' ? undefined : lines[1]
}

/** Binary search over bytes: thirty-odd reads of a list of any size, none of it kept in memory. */
async function fileHas(path: string, sha1: string): Promise<boolean> {
  const file = await open(path, 'r')
  try {
    let low = 0
    let high = (await file.stat()).size
    // Invariant: the line that is looked for, when there is one, begins at or after `low` and before `high`.
    while (high - low > PIECE) {
      const middle = Math.floor((low + high) / 2)
      const line = firstLine(await read(file, middle, PIECE), middle)
      if (line === undefined || line.slice(0, HASH_DIGITS) > sha1) high = middle
      else low = middle
    }
    const piece = await read(file, low, high - low + PIECE)
    return piece.split(/\r?\n/).some((line) => line.slice(0, HASH_DIGITS) === sha1)
  } finally {
    await file.close()
  }
}

async function read(file: FileHandle, offset: number, length: number): Promise<string> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset)
  return buffer.toString('latin1', 0, bytesRead)
}

const PREFIX_DIGITS = 5

/** K-anonymity: a prefix that some hundred hashes share is asked for, and padding hides how many there are. */
async function apiHas(api: string, fetch: HttpClient['fetch'], sha1: string): Promise<boolean> {
  const url = new URL(sha1.slice(0, PREFIX_DIGITS), api.endsWith('/') ? api : `${api}/`)
  const answer = await fetch(url, { headers: { 'Add-Padding': 'true' } })
  if (!answer.ok) throw new Error(`the range API answered ${answer.status}`)
  const rest = sha1.slice(PREFIX_DIGITS)
  const found = (await answer.text()).split(/\r?\n/).find((line) => line.slice(0, rest.length).toUpperCase() === rest)
  // Lines of padding have a count of 0.
  return found !== undefined && Number(found.slice(rest.length + 1)) > 0
}
