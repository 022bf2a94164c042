import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { AppError } from '../../src/errors.ts'
import { createLogger } from '../../src/platform/logger.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { runInRequest } from '../../src/platform/request_scope.ts'
import { freshDatabase } from '../support/services.ts'

function capture(level = 'trace') {
  const lines: string[] = []
  const logger = createLogger({ level, destination: { write: (line: string) => void lines.push(line) } })
  return { logger, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') }
}

describe('logger', () => {
  it('writes JSON with level, time, message and the request id', () => {
    const { logger, last } = capture()
    runInRequest({ requestId: 'r1', ip: '::1', userAgent: 'x' }, () => logger.info({ route: 'token' }, 'answered'))
    expect(last()).toMatchObject({ level: 'info', requestId: 'r1', route: 'token', msg: 'answered' })
    expect(Number.isNaN(Date.parse(last().time))).toBe(false)
    logger.info('without a request')
    expect(last()).not.toHaveProperty('requestId')
    expect(last()).not.toHaveProperty('hostname')
  })

  it('follows the level', () => {
    const { logger, lines } = capture('warn')
    logger.info('no')
    logger.warn('yes')
    expect(lines).toHaveLength(1)
  })

  it('A106: one event is one line, whatever is inside', () => {
    const { logger, lines, last } = capture()
    const hostile = 'x\r\n{"level":"fatal","msg":"forged"}\u2028\u001b[31m\u0000"}\n\u0085'
    logger.info({ hostile, [hostile]: 1, err: new Error(hostile) }, hostile)
    logger.error(new Error(hostile))
    logger.info(`%s ${hostile}`, hostile)
    expect(lines).toHaveLength(3)
    for (const line of lines) {
      expect(line.endsWith('\n')).toBe(true)
      expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u)
      expect(JSON.parse(line).level).not.toBe('fatal')
    }
    expect(last().level).toBe('info')
  })

  it('A106: planted secrets never appear, by key at any depth or by form in any text', () => {
    const { logger, lines } = capture()
    const canary = 'CANARY-5f2d'
    const keys = `password newPassword current_password secret client_secret clientSecret token access_token accessToken
      refresh_token id_token code code_verifier cookie Cookie set-cookie authorization Authorization proxy-authorization
      client_assertion assertion xsrf csrf hash sealed user_code device_code otp privateKey login_hint id_token_hint`
    for (const key of keys.split(/\s+/)) {
      for (const value of [canary, [canary], { inner: canary }]) {
        logger.info({ [key]: value, a: { b: [{ [key]: value }] }, headers: { [key]: value } }, 'fields')
      }
    }
    const texts = [
      `GET /auth?state=${canary}&code=${canary}#id_token=${canary}`,
      `https://user:${canary}@host.example/x?y=${canary}`,
      `postgres://genkan:${canary}@db/genkan`,
      `Authorization: Bearer ${canary}-abcdef`,
      `Basic ${canary}Zm9vOmJhcg==`,
      `jwt eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ${canary}.sig${canary}`,
    ]
    for (const text of texts) {
      logger.info({ url: text, deep: [{ text }], err: new Error(text, { cause: new Error(text) }) }, text)
      logger.warn(text)
      logger.error(new Error(text))
      logger.error(new Error(text), 'failed')
      logger.info('with %s', text)
      logger.info({ where: URL.canParse(text) ? new URL(text) : text, bytes: Buffer.from(text) }, 'x')
    }
    logger.child({ password: canary }).info({ map: new Map([['x', canary]]) }, 'child')
    logger.info({ one: { two: { three: { four: { five: { six: canary } } } } } }, 'deep')
    expect(lines.filter((line) => line.includes(canary))).toEqual([])
    expect(lines.length).toBeGreaterThan(100)
  })

  it('keeps what operators need', () => {
    const { logger, last } = capture()
    logger.info(
      { status: 200, route: 'token', nested: { clientId: 'c1', at: new Date(0), none: null, on: true } },
      'ok',
    )
    expect(last()).toMatchObject({
      status: 200,
      nested: { clientId: 'c1', at: '1970-01-01T00:00:00.000Z', none: null, on: true },
    })
    const error = new AppError('temporarily_unavailable', {
      cause: Object.assign(new Error('no'), { code: 'ECONNREFUSED' }),
    })
    logger.error({ err: error }, 'failed')
    expect(last().err).toMatchObject({
      type: 'AppError',
      code: 'temporarily_unavailable',
      status: 503,
      cause: { code: 'ECONNREFUSED', message: 'no' },
    })
    expect(last().err.stack[0]).toMatch(/^at /)
  })

  it('survives cycles, getters that throw and huge values', () => {
    const { logger, lines } = capture()
    const cycle: Record<string, unknown> = { name: 'x' }
    cycle.self = cycle
    logger.info(cycle, 'cycle')
    const trap = {
      get bad(): string {
        throw new Error('trap')
      },
    }
    logger.info({ trap, many: Array.from({ length: 10_000 }, (_, i) => i), long: 'y'.repeat(1_000_000) }, 'huge')
    expect(lines).toHaveLength(2)
    expect(lines[1]?.length).toBeLessThan(10_000)
  })
})

describe('errors of the database in the log', () => {
  let database: Database
  beforeAll(async () => {
    database = await freshDatabase('postgres')
  })
  afterAll(() => database.close())

  it('A107: neither statement, parameters, rows nor host', async () => {
    const { logger, lines, last } = capture()
    const canary = 'canary@example.test'
    const account = {
      id: canary,
      email_hash: canary,
      sealed_personal: canary,
      created_at: new Date(),
      updated_at: new Date(),
    }
    await database.db('accounts').insert(account)
    const failures = [
      () => database.db('accounts').insert(account),
      () => database.db('outbox').insert({ id: 'x', type: 't', mac: 'm', occurred_at: canary }),
      () => database.db.raw('select ?::int', [canary]),
      () => database.db.raw('select * from nowhere where name = ?', [`a - b ${canary}`]),
      () => database.db.raw('sel ect ?', [canary]),
    ]
    for (const failure of failures) {
      const error = await Promise.resolve(failure()).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      expect(error).toBeInstanceOf(Error)
      logger.error({ err: error }, 'failed')
      logger.error(error as Error)
      logger.error({ err: new AppError('internal_error', { cause: error }) }, 'failed')
      expect(last().err.cause.code).toMatch(/^[0-9A-Z]{5}$/)
    }
    expect(lines.filter((line) => /canary|insert into|select |\$1/i.test(line))).toEqual([])
  })
})
