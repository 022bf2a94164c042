import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { API, SETTINGS } from '../support/journeys.ts'
import { until } from '../support/processes.ts'
import { realStores, type Server, startServer } from '../support/server.ts'
import { runCommand } from '../support/server_process.ts'
import { freshDatabaseUrl, startPostgres } from '../support/services.ts'

/** The command line as people use it: processes, on both kinds of stores, beside a running server and without one. */
const KEY = Buffer.alloc(32, 7).toString('base64')

describe('without a server', () => {
  let folder = ''
  const run = (command: readonly string[], env: { [name: string]: string } = {}) =>
    runCommand(command, {
      PATH: process.env.PATH ?? '',
      DATA_DIR: join(folder, 'data'),
      GENKAN_SECRET_KEYS: KEY,
      ...env,
    })

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'genkan-commands-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it.each([
    [[], 'serve'],
    [['clients', 'create'], '--redirect-uri'],
    [['backup', 'restore'], '--force'],
  ])('genkan %s --help', async (command, shown) => {
    const { code, stdout } = await run([...command, '--help'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^Usage: genkan/)
    expect(stdout).toContain(shown)
  })

  it('refuses unknown commands, options and missing arguments with exit 1', async () => {
    for (const command of [['nonsense'], ['clients', 'create']]) {
      const { code, stderr } = await run(command)
      expect(code).toBe(1)
      expect(stderr).toMatch(/^error: /)
    }
  })

  it('lists all problems of the configuration at once', async () => {
    const { code, stderr } = await run(['clients', 'list'], { PORT: 'x', GENKAN_ISSUER: 'http://id.example.com' })
    expect(code).toBe(1)
    expect(stderr).toContain('port')
    expect(stderr).toContain('issuer')
  })

  it('reads the settings that --config names, in front of GENKAN_CONFIG', async () => {
    const [named, other] = ['named.yaml', 'other.yaml'].map((name) => join(folder, name)) as [string, string]
    writeFileSync(named, 'port: none\n')
    writeFileSync(other, 'management_port: none\n')
    for (const command of [['clients', 'list'], ['serve']]) {
      const { code, stderr } = await run([...command, '--config', named], { GENKAN_CONFIG: other })
      expect(code).toBe(1)
      expect(stderr).toContain('\n  port:')
      expect(stderr).not.toContain('management_port')
    }
  })

  it('refuses several workers on the embedded default', async () => {
    const { code, stderr } = await run(['serve', '--workers', '2'])
    expect(code).toBe(1)
    expect(stderr).toContain('embedded')
  })

  it('names every wrong declaration, and starts nothing', async () => {
    const file = join(folder, 'genkan.yaml')
    writeFileSync(
      file,
      'clients:\n  - client_id: one\n    redirect_uris: [http://a.example/]\n  - client_id: two\n    scop: x\n',
    )
    const DATABASE_URL = await freshDatabaseUrl()
    const { code, stderr } = await run(['serve'], {
      DATABASE_URL,
      GENKAN_CONFIG: file,
      PORT: '0',
      MANAGEMENT_PORT: '0',
    })
    expect(code).toBe(1)
    expect(stderr).toContain('clients.one.redirect_uris')
    expect(stderr).toContain('clients.two.scop')
  })

  it('migrates, then works on the stores itself', async () => {
    const env = { DATABASE_URL: await (await startPostgres()).createDatabase() }
    expect((await run(['clients', 'list'], env)).stderr).toContain('genkan migrate')
    expect((await run(['migrate'], env)).stdout).toContain('applied')
    expect((await run(['migrate'], env)).stdout).toBe('the database is up to date\n')
    const made = await run(['clients', 'create', 'web', '--redirect-uri', 'https://a.example/', '--json'], env)
    expect(JSON.parse(made.stdout)).toEqual({ client_id: 'web', client_secret: expect.stringMatching(/^[\w-]{43}$/) })
    expect((await run(['clients', 'list'], env)).stdout).toContain('web')
  })
})

describe.each(['embedded', 'postgres'] as const)('beside a running server on %s', (kind) => {
  let server: Server
  const token = (secret: string) =>
    fetch(`${server.origin}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`machine:${secret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'orders:read' }),
    })
  const untilStatus = async (secret: string, status: number): Promise<number> => {
    const start = Date.now()
    while ((await token(secret)).status !== status && Date.now() - start < 5000)
      await new Promise((r) => setTimeout(r, 20))
    return Date.now() - start
  }

  beforeAll(async () => {
    const stores = kind === 'embedded' ? kind : await realStores()
    server = await startServer({ settings: { resources: SETTINGS.resources }, stores, process: 'own' })
  })
  afterAll(() => server.close())

  it('acts on what the server serves, within a second', async () => {
    const machine = ['--grant-type', 'client_credentials', '--scope', 'orders:read', '--resource', API]
    const made = await server.run('clients', 'create', 'machine', ...machine, '--json')
    expect(made).toMatchObject({ code: 0, stderr: '' })
    const { client_secret: first } = JSON.parse(made.stdout) as { client_secret: string }
    expect((await token(first)).status).toBe(200)

    const rotated = await server.run('clients', 'rotate-secret', 'machine', '--overlap', '24h', '--json')
    const { client_secret: second } = JSON.parse(rotated.stdout) as { client_secret: string }
    expect(await untilStatus(second, 200)).toBeLessThan(1000)
    expect((await token(first)).status).toBe(200)

    expect((await server.run('clients', 'disable', 'machine')).stdout).toBe('client machine disabled\n')
    expect(await untilStatus(second, 401)).toBeLessThan(1000)
    expect((await server.run('clients', 'enable', 'machine')).code).toBe(0)
    expect(await untilStatus(second, 200)).toBeLessThan(1000)
  })

  it('exports what was done, by whom, why and in which command', async () => {
    const disabled = await server.run('clients', 'disable', 'machine', '--reason', 'contract ended')
    expect(disabled).toMatchObject({ code: 0, stderr: '' })
    await server.run('clients', 'enable', 'machine')
    type Line = { seq: number; type: string; actor: string; request_id: string; data: object; hash: string }
    let lines: Line[] = []
    // Facts are in the ledger once they are sealed, a moment later.
    await until(async () => {
      const { code, stdout, stderr } = await server.run('audit', 'export', '--client', 'machine')
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      lines = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Line)
      return lines.filter(({ type }) => type === 'client.enabled').length === 2
    }, 10_000)
    // A job may state meanwhile that the replaced secret will soon have expired.
    const [off, on] = ['client.disabled', 'client.enabled'].map((wanted) =>
      lines.findLast(({ type }) => type === wanted),
    )
    expect(off).toMatchObject({
      ...{ type: 'client.disabled', actor: 'operator', hash: expect.stringMatching(/^[\w-]{43}$/) },
      data: { changes: { disabled: { old: false, new: true } }, reason: 'contract ended' },
    })
    expect(on).toMatchObject({ type: 'client.enabled', data: { changes: { disabled: { old: true, new: false } } } })
    expect(off?.request_id).toMatch(/^[\w-]{22}$/)
    expect(on?.request_id).not.toBe(off?.request_id)
    const long = await server.run('clients', 'disable', 'machine', '--reason', 'x'.repeat(201))
    expect(long).toMatchObject({ code: 1, stderr: expect.stringContaining('--reason') })
  })

  it('publishes a rotated key to everybody', async () => {
    const rotated = await server.run('keys', 'rotate', '--alg', 'RS256', '--publish', '1h', '--json')
    const { kid } = JSON.parse(rotated.stdout) as { kid: string }
    let kids: string[] = []
    for (let i = 0; i < 50 && !kids.includes(kid); i++) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      const { keys } = (await (await fetch(`${server.origin}/jwks`)).json()) as { keys: { kid: string; d?: string }[] }
      kids = keys.map((key) => key.kid)
      expect(keys.every((key) => key.d === undefined)).toBe(true)
    }
    expect(kids).toContain(kid)
  })

  it('finds itself in order', async () => {
    expect((await server.run('doctor')).code).toBe(0)
    expect(await server.run('audit', 'verify')).toMatchObject({ code: 0, stderr: '' })
  })

  if (kind === 'embedded') {
    it('answers everything through its socket', async () => {
      for (const command of ['accounts list', 'keys list', 'audit list', 'keys reseal', 'migrate']) {
        expect(await server.run(...command.split(' '))).toMatchObject({ code: 0, stderr: '' })
      }
      expect(await server.run('accounts', 'show', 'nobody@example.com')).toMatchObject({
        code: 1,
        stdout: '',
        stderr: 'genkan: there is no account nobody@example.com\n',
      })
    })

    it('backs up while it serves, and the backup opens elsewhere', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'genkan-backup-'))
      expect(await server.run('backup', 'create', join(folder, 'backup'))).toMatchObject({ code: 0, stderr: '' })
      const env = { ...server.env, DATA_DIR: join(folder, 'data') }
      expect(await runCommand(['backup', 'restore', join(folder, 'backup')], env)).toMatchObject({
        code: 0,
        stderr: '',
      })
      expect((await runCommand(['clients', 'list'], env)).stdout).toContain('machine')
      rmSync(folder, { recursive: true, force: true })
    })

    it('keeps its socket to its owner and refuses a second server, naming the first', async () => {
      expect(statSync(join(server.dataDir, 'genkan.sock')).mode & 0o777).toBe(0o600)
      const { code, stderr } = await server.run('serve')
      expect(code).toBe(1)
      expect(stderr).toContain(String(server.pid()))
    })
  }

  it('ends with exit 0 on SIGTERM, and commands work without it again', async () => {
    expect(await server.stop()).toBe(0)
    expect((await server.run('clients', 'list')).stdout).toContain('machine')
  })
})
