import { describe, expect, it } from '@jest/globals'
import { isJobStatement, postgresReader, redisReader } from './wire.ts'

/** Feeds `data` whole, then byte by byte into a second reader: both must have seen the same. */
function read(reader: typeof redisReader, data: Buffer): string[] {
  const whole: string[] = []
  reader((what) => whole.push(what))(data)
  const pieces: string[] = []
  const feed = reader((what) => pieces.push(what))
  for (const byte of data) feed(Buffer.from([byte]))
  expect(pieces).toEqual(whole)
  return whole
}

function message(type: string, ...strings: string[]): Buffer {
  const body = Buffer.from(strings.map((text) => `${text}\0`).join(''))
  const header = Buffer.alloc(5)
  header.write(type)
  header.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

const startup = Buffer.concat([Buffer.from([0, 0, 0, 12, 0, 3, 0, 0]), Buffer.from('u\0\0\0')])

describe('reading Redis requests', () => {
  it('counts commands, not lines: values may hold anything', () => {
    const value = '*1\r\n$4\r\nPING\r\n'
    const set = `*3\r\n$3\r\nset\r\n$1\r\na\r\n$${value.length}\r\n${value}\r\n`
    expect(read(redisReader, Buffer.from(`${set}*1\r\n$4\r\nPING\r\n`))).toEqual(['SET a', 'PING'])
  })

  it('counts a pipeline command by command', () => {
    const get = '*2\r\n$3\r\nGET\r\n$1\r\nk\r\n'
    expect(read(redisReader, Buffer.from(get.repeat(3)))).toEqual(['GET k', 'GET k', 'GET k'])
  })
})

describe('reading PostgreSQL messages', () => {
  it('counts simple queries without transaction control', () => {
    const data = Buffer.concat([startup, message('Q', 'BEGIN;'), message('Q', 'select 1'), message('Q', 'COMMIT;')])
    expect(read(postgresReader, data)).toEqual(['select 1'])
  })

  it('counts each execution of a named statement that was prepared once', () => {
    const execution = [message('B', '', 'find'), message('E', '')]
    const data = Buffer.concat([startup, message('P', 'find', 'select 2'), ...execution, ...execution])
    expect(read(postgresReader, data)).toEqual(['select 2', 'select 2'])
  })

  it('passes over a request for TLS before the start', () => {
    const ssl = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])
    expect(read(postgresReader, Buffer.concat([ssl, startup, message('Q', 'select 3')]))).toEqual(['select 3'])
  })
})

describe('telling jobs from requests', () => {
  it.each([
    ['insert into "outbox" ("id") values ($1)', false],
    ['with facts as (insert into "outbox" (id) values ($1)) insert into sessions (uid) values ($2)', false],
    ['select * from accounts where id = $1', false],
    ['with live as (select 1 from sessions) select * from live', false],
    ['select 1 from outbox where seq is null limit 1', true],
    ['update outbox o set seq = e.seq', true],
    ['insert into ledger (seq) select 1', true],
    ['update deliveries d set attempts = 1', true],
    ['select pg_advisory_xact_lock($1)', true],
  ])('%s', (sql, job) => expect(isJobStatement(sql)).toBe(job))
})
