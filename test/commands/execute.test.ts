import { describe, expect, it } from '@jest/globals'
import { type CommandServices, count, duration, table } from '../../src/commands/command.ts'
import { COMMANDS, describe as describeFailure, execute } from '../../src/commands/execute.ts'
import { AppError } from '../../src/errors.ts'

const accounts = [
  {
    id: 'a1',
    email: 'ada@example.com',
    state: 'active',
    factors: ['totp'],
    secondFactorRequired: false,
    emailVerifiedAt: new Date(0),
    createdAt: new Date('2026-11-22T10:00:00Z'),
  },
]
const run = async (request: { command: string; args?: string[]; options?: object }, services: object = {}) => {
  const printed: string[] = []
  const provided = { pendingMigrations: async () => [], ...services } as unknown as CommandServices
  const result = await execute(provided, { args: [], options: {}, ...request } as never, (text) => printed.push(text))
  return { ...result, output: printed.join('') }
}
const withAccounts = (more: object = {}) => ({
  accounts: { list: async () => accounts, find: async (who: string) => accounts.find(({ id }) => id === who), ...more },
  sessions: { list: async () => [], endAll: async () => {} },
})

describe('commands', () => {
  it('have names, summaries and no option twice', () => {
    expect(new Set(COMMANDS.map(({ name }) => name)).size).toBe(COMMANDS.length)
    for (const { name, summary, options = [] } of COMMANDS) {
      expect(name).toMatch(/^[a-z]+( [a-z-]+){0,2}$/)
      expect(summary).not.toBe('')
      expect(new Set(options.map(({ flags }) => flags)).size).toBe(options.length)
    }
  })

  it('print text, or JSON when asked to', async () => {
    expect((await run({ command: 'accounts list' }, withAccounts())).output).toBe(
      'ACCOUNT  EMAIL            STATE   CREATED\na1       ada@example.com  active  2026-11-22T10:00:00.000Z\n',
    )
    const { output } = await run({ command: 'accounts list', options: { json: true } }, withAccounts())
    expect(JSON.parse(output)).toMatchObject([{ account: 'a1', email: 'ada@example.com' }])
  })

  it('fail with one line and exit 1', async () => {
    expect(await run({ command: 'accounts show', args: ['nobody'] }, withAccounts())).toEqual({
      exit: 1,
      error: 'there is no account nobody',
      output: '',
    })
    expect(await run({ command: 'rm -rf' })).toMatchObject({ exit: 1, error: 'there is no command rm -rf' })
  })

  it('wait for a database that is up to date', async () => {
    const services = { ...withAccounts(), pendingMigrations: async () => ['x'] }
    expect(await run({ command: 'accounts list' }, services)).toMatchObject({
      exit: 1,
      error: expect.stringContaining('genkan migrate'),
    })
  })

  it('print no control characters that strangers chose (A106)', async () => {
    const evil = [{ ...accounts[0], email: 'a\u001b]0;owned\u0007\u009b31m\u202e@example.com\r\nroot' }]
    const { output } = await run({ command: 'accounts list' }, withAccounts({ list: async () => evil }))
    expect(output).not.toMatch(/[^\P{C}\n]/u)
  })

  it('demand a second factor of an account, and no more', async () => {
    const asked: unknown[] = []
    const services = withAccounts({
      requireSecondFactor: async (...words: unknown[]) => {
        asked.push(words)
        return asked.length < 3
      },
    })
    const command = 'accounts require-second-factor'
    const on = await run({ command, args: ['a1'], options: { reason: 'staff' } }, services)
    const off = await run({ command, args: ['a1'], options: { off: true } }, services)
    const again = await run({ command, args: ['a1'], options: { off: true } }, services)
    expect(asked).toEqual([
      ['a1', true, 'staff'],
      ['a1', false, undefined],
      ['a1', false, undefined],
    ])
    expect([on, off, again].map(({ output }) => output)).toEqual([
      'account a1 must have a second factor\n',
      'account a1 need not have a second factor\n',
      'nothing changed: account a1 need not have a second factor\n',
    ])
  })

  it('delete an account only when told twice', async () => {
    const removed: string[] = []
    const services = withAccounts({ remove: async (id: string) => removed.push(id) > 0 })
    expect(await run({ command: 'accounts delete', args: ['a1'] }, services)).toMatchObject({
      exit: 1,
      error: expect.stringContaining('--yes'),
    })
    expect(removed).toEqual([])
    expect(await run({ command: 'accounts delete', args: ['a1'], options: { yes: true } }, services)).toMatchObject({
      exit: 0,
    })
    expect(removed).toEqual(['a1'])
  })

  it('hand on why an account was switched off, on or deleted', async () => {
    const seen: unknown[] = []
    const note = async (...given: unknown[]) => {
      seen.push(given)
      return true
    }
    const services = withAccounts({ disable: note, enable: note, remove: note })
    for (const verb of ['disable', 'enable', 'delete'])
      await run({ command: `accounts ${verb}`, args: ['a1'], options: { reason: verb, yes: true } }, services)
    await run({ command: 'accounts disable', args: ['a1'] }, services)
    expect(seen).toEqual([
      ['a1', 'disable'],
      ['a1', 'enable'],
      ['a1', 'delete'],
      ['a1', undefined],
    ])
  })

  it('fail when the ledger is not as it was written, saying where', async () => {
    const report = { ok: false, checked: 2, problems: [{ kind: 'fact_changed', seq: 2, id: 'f2' }] }
    const result = await run({ command: 'audit verify' }, { facts: { verify: async () => report } })
    expect(result).toMatchObject({ exit: 1, output: 'fact_changed 2 f2\n' })
  })

  it('pass a kept anchor on, and refuse what is none', async () => {
    const seen: unknown[] = []
    const verify = async (known: unknown) => {
      seen.push(known)
      return { ok: true, checked: 1, problems: [] }
    }
    const hash = 'h'.repeat(43)
    await run({ command: 'audit verify', options: { anchor: `7:${hash}` } }, { facts: { verify } })
    expect(seen).toEqual([{ seq: 7, hash }])
    expect(await run({ command: 'audit verify', options: { anchor: '7' } }, { facts: { verify } })).toMatchObject({
      exit: 1,
    })
  })

  it('take metadata from text and flags, flags on top', async () => {
    const made: unknown[] = []
    const clients = {
      create: async (metadata: unknown) => {
        made.push(metadata)
        return { clientId: 'web', secret: 's' }
      },
    }
    const result = await run(
      {
        command: 'clients create',
        args: ['web'],
        options: {
          metadata: 'client_id: other\nclient_name: From text\nscope: openid\n',
          name: 'From flag',
          redirectUri: ['https://a.example/'],
          defaultLocale: 'fi',
          registrationField: ['given_name=required', 'birthdate'],
          firstParty: true,
          public: true,
        },
      },
      { clients },
    )
    expect(result).toMatchObject({ exit: 0, output: 'client web created\nsecret (shown only now): s\n' })
    expect(made).toEqual([
      {
        client_id: 'web',
        client_name: 'From flag',
        scope: 'openid',
        redirect_uris: ['https://a.example/'],
        default_locale: 'fi',
        registration_fields: [
          { claim: 'given_name', required: true },
          { claim: 'birthdate', required: false },
        ],
        first_party: true,
        token_endpoint_auth_method: 'none',
      },
    ])
    for (const metadata of ['- a list', 'a: [', '"text"']) {
      const refused = await run({ command: 'clients create', args: ['web'], options: { metadata } }, { clients })
      expect(refused).toMatchObject({ exit: 1, error: expect.stringContaining('--metadata') })
    }
  })

  it('show no secret hash', async () => {
    const secret = { id: 's1', hash: 'the-hash', managed: 'command', createdAt: new Date(0) }
    const record = {
      clientId: 'web',
      metadata: {},
      managed: 'command',
      secrets: [secret],
      createdAt: new Date(0),
      updatedAt: new Date(0),
    }
    for (const options of [{}, { json: true }]) {
      const result = await run(
        { command: 'clients show', args: ['web'], options },
        { clients: { show: async () => record }, now: () => new Date(0) },
      )
      expect(result.output).toContain('s1')
      expect(result.output).not.toContain('the-hash')
    }
  })

  it('refuse an unknown algorithm and a wrong duration', async () => {
    const keys = { keys: { rotate: async () => Promise.reject(new Error('reached')) }, now: () => new Date() }
    expect((await run({ command: 'keys rotate', options: { alg: 'HS256' } }, keys)).error).toContain('--alg')
    expect((await run({ command: 'keys rotate', options: { publish: 'soon' } }, keys)).error).toContain('--publish')
  })
})

describe('what is typed', () => {
  it.each([
    ['0', 0],
    ['90s', 90],
    ['30m', 1800],
    ['24h', 86_400],
    ['7d', 604_800],
  ])('the duration %s', (text, seconds) => {
    expect(duration(text, '--x')).toBe(seconds)
  })

  it.each(['', '1', '1w', '-1h', '1.5h', 'h', '99999999d'])('no duration: %j', (text) => {
    expect(() => duration(text, '--x')).toThrow('--x')
  })

  it.each(['0', '1001', 'x', '1.5', '-1'])('no count: %s', (text) => {
    expect(() => count(text, '--x', 50, 1000)).toThrow('--x')
  })

  it('columns are as wide as their widest cell', () => {
    expect(
      table(
        ['A', 'B'],
        [
          ['1', '22'],
          ['333', ''],
        ],
      ),
    ).toBe('A    B\n1    22\n333')
  })
})

describe('what an operator reads of a failure', () => {
  it.each([
    [new AppError('not_found', { detail: 'two\nlines' }), 'two\nlines'],
    [new Error('first\nselect * from secrets'), 'first'],
    [new AggregateError([new Error('connect ECONNREFUSED')]), 'connect ECONNREFUSED'],
    ['text', 'text'],
  ])('%s', (error, text) => {
    expect(describeFailure(error)).toBe(text)
  })
})
