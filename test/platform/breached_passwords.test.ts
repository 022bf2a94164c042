import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createBreachedPasswords, problemOfList } from '../../src/platform/breached_passwords.ts'
import { createHttpClient } from '../../src/platform/http_client.ts'

const sha1 = (password: string) => createHash('sha1').update(password).digest('hex').toUpperCase()
const folder = mkdtempSync(join(tmpdir(), 'genkan-breached-'))
afterAll(() => rmSync(folder, { recursive: true }))

function list(name: string, lines: readonly string[], end = '\n'): string {
  const path = join(folder, name)
  writeFileSync(path, lines.map((line) => `${line}${end}`).join(''))
  return path
}

let checked: string[]
let warned: unknown[]
beforeEach(() => {
  checked = []
  warned = []
})

function breached(sources: { file?: string; api?: string }) {
  const { fetch } = createHttpClient({ allowedNetworks: ['127.0.0.1'], timeoutMs: 1000, maxBytes: 256 * 1024 })
  return createBreachedPasswords({
    ...{ ...sources, fetch },
    checked: (source, result) => checked.push(`${source} ${result}`),
    warn: (error) => warned.push(error),
  }).isBreached
}

describe('a list on disk', () => {
  const words = Array.from({ length: 5000 }, (_, i) => `password number ${i}`)
  const hashes = words.map(sha1).sort()

  it.each([
    ['with counts of every length', hashes.map((hash, i) => `${hash}:${i ** 2}`), '\n'],
    ['without counts', hashes, '\n'],
    ['with the line ends of Windows', hashes.map((hash) => `${hash}:7`), '\r\n'],
  ] as const)('%s: finds each that is there and none that is not', async (name, lines, end) => {
    const file = list(name, lines, end)
    expect(problemOfList(file)).toBeUndefined()
    const isBreached = breached({ file })
    for (const word of words.filter((_, i) => i % 7 === 0)) expect(await isBreached(word)).toBe(true)
    // Both ends, and their neighbours.
    for (const hash of [...hashes.slice(0, 4), ...hashes.slice(-4)]) {
      expect(await isBreached(words.find((word) => sha1(word) === hash) ?? '')).toBe(true)
    }
    for (let i = 0; i < 300; i++) expect(await isBreached(`another ${i}`)).toBe(false)
    expect(checked).toContain('file breached')
    expect(checked).toContain('file clean')
  })

  it.each([1, 2, 3, 4, 9])('of %s lines', async (count) => {
    const few = words.slice(0, count)
    const isBreached = breached({ file: list(`few-${count}`, few.map(sha1).sort()) })
    for (const word of few) expect(await isBreached(word)).toBe(true)
    expect(await isBreached('another')).toBe(false)
  })

  it('without a line end at its end', async () => {
    const path = join(folder, 'open-ended')
    writeFileSync(path, hashes.join('\n'))
    expect(problemOfList(path)).toBeUndefined()
    const last = words.find((word) => sha1(word) === hashes.at(-1)) ?? ''
    expect(await breached({ file: path })(last)).toBe(true)
  })

  it.each([
    ['is not there', join(folder, 'nowhere'), 'cannot be read (ENOENT)'],
    ['is a folder', folder, 'cannot be read (EISDIR)'],
    ['is empty', list('empty', []), 'is no SHA-1'],
    ['is not sorted', list('unsorted', [...hashes.slice(2500), ...hashes.slice(0, 2500)]), 'is not sorted'],
    [
      'is in lower case',
      list(
        'lower',
        hashes.map((hash) => hash.toLowerCase()),
      ),
      'is no SHA-1',
    ],
    [
      'holds NTLM hashes',
      list(
        'ntlm',
        hashes.map((hash) => hash.slice(8)),
      ),
      'is no SHA-1',
    ],
  ])('that %s is refused at start', (_, path, problem) => {
    expect(problemOfList(path)).toContain(problem)
  })

  it('that vanishes later lets the password pass, and says so', async () => {
    expect(await breached({ file: join(folder, 'gone') })('password number 1')).toBe(false)
    expect([checked, warned.length]).toEqual([['file failed'], 1])
  })
})

describe('a range API', () => {
  let server: Server
  let api: string
  let requests: IncomingMessage[]
  let answer: (prefix: string) => { status?: number; body?: string; hang?: boolean }
  beforeAll(async () => {
    server = createServer((request, response) => {
      requests.push(request)
      const { status = 200, body = '', hang } = answer((request.url ?? '').slice('/range/'.length))
      if (hang !== true) response.writeHead(status).end(body)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    api = `http://127.0.0.1:${(server.address() as AddressInfo).port}/range/`
  })
  beforeEach(() => {
    requests = []
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  it('learns five hex digits and nothing else, and pads', async () => {
    const rest = sha1('hunter2').slice(5)
    answer = () => ({ body: [`${'0'.repeat(35)}:3`, `${rest}:17043`, `${'F'.repeat(35)}:1`].join('\r\n') })
    expect(await breached({ api })('hunter2')).toBe(true)
    const [request] = requests
    expect(request?.url).toBe(`/range/${sha1('hunter2').slice(0, 5)}`)
    expect(request?.headers['add-padding']).toBe('true')
    expect(JSON.stringify([request?.url, request?.headers])).not.toMatch(new RegExp(`hunter2|${rest}`, 'i'))
    expect(checked).toEqual(['api breached'])
  })

  it('that does not have the rest, or only as padding, finds nothing', async () => {
    answer = () => ({ body: `${'0'.repeat(35)}:3\r\n${sha1('hunter2').slice(5)}:0` })
    expect(await breached({ api })('hunter2')).toBe(false)
    expect(checked).toEqual(['api clean'])
  })

  it.each([
    ['answers 503', () => ({ status: 503 })],
    ['says nothing', () => ({ hang: true })],
    ['never ends', () => ({ body: 'x'.repeat(300 * 1024) })],
  ] as const)(
    'that %s lets the password pass within about a second, with a metric and a line of the log',
    async (_, how) => {
      answer = how
      const started = Date.now()
      expect(await breached({ api })('hunter2')).toBe(false)
      expect(Date.now() - started).toBeLessThan(2500)
      expect([checked, warned.length]).toEqual([['api failed'], 1])
    },
  )

  it('is not asked when the list on disk has it already', async () => {
    answer = () => ({ body: '' })
    expect(await breached({ file: list('first', [sha1('hunter2')]), api })('hunter2')).toBe(true)
    expect(requests).toEqual([])
  })
})
