/**
 * The container image without a container engine: the Dockerfile's own steps in temporary folders, then its own command as an
 * unprivileged user on a tree that nobody may write to.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { parse } from 'yaml'
import { loadConfig } from '../src/config/config.ts'
import { entrust, freePort, startPostgres, startRedis } from './support/services.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const NODE_FOLDER = dirname(process.execPath)
const DATA = '/var/lib/genkan'
const UNPRIVILEGED = 65_534

interface Stage {
  readonly name: string
  readonly from: string
  readonly steps: readonly { readonly instruction: string; readonly value: string }[]
}

function parseDockerfile(text: string): Stage[] {
  const lines = text.replace(/\\\n\s*/g, '').split('\n')
  const stages: (Stage & { steps: { instruction: string; value: string }[] })[] = []
  for (const line of lines) {
    const [, instruction, value = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? []
    if (instruction === undefined) continue
    if (instruction === 'FROM') {
      const [from = '', , name = String(stages.length)] = value.split(/\s+/)
      stages.push({ name, from, steps: [] })
    } else stages.at(-1)?.steps.push({ instruction, value })
  }
  return stages
}

/** Runs the steps of one stage in `<scratch>/<stage>`; what the Dockerfile says of absolute paths is moved below it. */
function runStage(stage: Stage, scratch: string): { folder: string; env: Record<string, string> } {
  const root = join(scratch, stage.name)
  let folder = root
  const env: Record<string, string> = {}
  for (const { instruction, value } of stage.steps) {
    if (instruction === 'WORKDIR') folder = join(root, value)
    if (instruction === 'ENV') for (const [, name = '', set = ''] of value.matchAll(/(\w+)=(\S+)/g)) env[name] = set
    mkdirSync(folder, { recursive: true })
    if (instruction === 'COPY') copy(value, folder, scratch)
    if (instruction === 'RUN') runStep(value, folder, root)
  }
  return { folder, env }
}

function copy(value: string, folder: string, scratch: string): void {
  const words = value.split(/\s+/)
  const from = /^--from=(\w+)$/.exec(words[0] ?? '')?.[1]
  if (from !== undefined) words.shift()
  const target = words.pop() ?? ''
  for (const source of words) {
    const absolute = from === undefined ? join(ROOT, source) : join(scratch, from, source)
    const destination = target.endsWith('/') ? join(folder, target, basename(source)) : join(folder, target)
    cpSync(absolute, destination, { recursive: true, verbatimSymlinks: true })
  }
}

function runStep(command: string, folder: string, root: string): void {
  if (command === 'npm ci') {
    // The same packages are here already: hard links take a second, a second download would take minutes.
    execFileSync('cp', ['-al', join(ROOT, 'node_modules'), join(folder, 'node_modules')])
    // npm writes these in place; the links must not lead it to ours.
    for (const own of ['.package-lock.json', '.cache']) {
      const path = join(folder, 'node_modules', own)
      if (!existsSync(path)) continue
      rmSync(path, { recursive: true })
      if (own !== '.cache') cpSync(join(ROOT, 'node_modules', own), path)
    }
    return
  }
  const moved = command.replaceAll(DATA, join(root, DATA)).replace(/chown \S+ \S+/, 'true')
  const script = command.startsWith('npm prune') ? `${moved} --offline --no-audit --no-fund` : moved
  const env = { PATH: `${NODE_FOLDER}:${process.env.PATH ?? ''}`, HOME: folder }
  const done = spawnSync('sh', ['-ec', script], { cwd: folder, encoding: 'utf8', env })
  if (done.status !== 0) throw new Error(`RUN ${command} failed:\n${done.stdout}${done.stderr}`)
}

describe('the image', () => {
  const stages = parseDockerfile(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'))
  const final = stages.at(-1)
  const said = (instruction: string) =>
    final?.steps.filter((step) => step.instruction === instruction).at(-1)?.value ?? ''
  const scratch = mkdtempSync(join(tmpdir(), 'genkan-image-'))
  let folder = ''
  let env: Record<string, string> = {}

  beforeAll(() => {
    chmodSync(scratch, 0o711)
    for (const stage of stages) ({ folder, env } = runStage(stage, scratch))
    execFileSync('chmod', ['-R', 'a+rX,a-w', folder])
  }, 300_000)
  afterAll(() => {
    execFileSync('chmod', ['-R', 'u+w', scratch])
    rmSync(scratch, { recursive: true, force: true })
  })

  it('starts from node:24, ends as an unprivileged user, keeps data in a volume and knows its health', () => {
    expect(stages.map(({ from }) => from)).toEqual(['node:24-slim', 'node:24-slim'])
    expect(said('USER')).toBe('node')
    expect(said('VOLUME')).toBe(DATA)
    expect(said('HEALTHCHECK')).toMatch(/readyz/)
    expect(said('STOPSIGNAL')).toBe('SIGTERM')
    expect(env).toMatchObject({ NODE_ENV: 'production', DATA_DIR: DATA })
  })

  it('holds production packages and JavaScript only', () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>
      devDependencies: Record<string, string>
    }
    const there = (name: string) => existsSync(join(folder, 'node_modules', name))
    expect(Object.keys(dependencies).filter((name) => !there(name))).toEqual([])
    expect(['typescript', 'jest', '@biomejs/biome', 'playwright-core', 'node'].filter(there)).toEqual([])
    expect(Object.keys(devDependencies)).toContain('typescript')
    const sources = execFileSync('find', [join(folder, 'dist'), '-name', '*.ts', '-not', '-name', '*.d.ts']).toString()
    expect(sources).toBe('')
    expect(existsSync(join(folder, 'src')) || existsSync(join(folder, 'test'))).toBe(false)
  })

  it('starts as an unprivileged user on a read-only tree, answers, is healthy, and stops on SIGTERM with 0', async () => {
    const dataDir = mkdtempSync(join(scratch, 'data-'))
    const root = process.getuid?.() === 0
    if (root) chownSync(dataDir, UNPRIVILEGED, UNPRIVILEGED)
    const port = await freePort()
    const variables = {
      ...env,
      PATH: process.env.PATH ?? '',
      DATA_DIR: dataDir,
      PORT: String(port),
      MANAGEMENT_PORT: String(await freePort()),
      GENKAN_ISSUER: `http://localhost:${port}`,
      GENKAN_SECRET_KEYS: Buffer.alloc(32, 7).toString('base64'),
      DATABASE_URL: await (await startPostgres()).createDatabase(),
      REDIS_URL: (await startRedis()).url,
    }
    const words = (value: string) => JSON.parse(value) as string[]
    const [, ...command] = [...words(said('ENTRYPOINT')), ...words(said('CMD'))]
    const user = root ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {}
    const child = spawn(process.execPath, command, {
      cwd: folder,
      env: variables,
      ...user,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const release = await entrust(child.pid ?? 0)
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (part) => {
        output += part
      })
    }
    const exit = new Promise<number | null>((done) => child.once('exit', done))

    const [, check = '[]'] = /CMD (\[.*\])$/.exec(said('HEALTHCHECK')) ?? []
    const [, ...health] = words(check)
    const healthy = () =>
      new Promise<boolean>((done) => {
        const probe = spawn(process.execPath, health, { env: variables, ...user, stdio: 'ignore' })
        probe.once('exit', (code) => done(code === 0))
      })
    for (let tries = 100; !(await healthy()); tries--) {
      if (child.exitCode !== null || tries === 0) throw new Error(`the image did not become healthy:\n${output}`)
      await sleep(200)
    }
    const discovery = await fetch(`http://127.0.0.1:${port}/.well-known/openid-configuration`)
    expect(await discovery.json()).toMatchObject({ issuer: variables.GENKAN_ISSUER })
    child.kill('SIGTERM')
    expect(await exit).toBe(0)
    await release()
    expect(output).not.toMatch(/EACCES|EROFS|EPERM/)
  })
})

describe('compose.yaml', () => {
  interface Service {
    readonly environment?: Record<string, string>
    readonly read_only?: boolean
    readonly cap_drop?: readonly string[]
    readonly command?: readonly string[]
    readonly ports?: readonly string[]
    readonly volumes?: readonly string[]
  }
  const { services, secrets } = parse(readFileSync(join(ROOT, 'compose.yaml'), 'utf8')) as {
    services: Record<string, Service>
    secrets: Record<string, { environment: string }>
  }

  it('runs the server without rights on a read-only tree, its stores unreachable from outside', () => {
    expect(Object.keys(services)).toEqual(['server', 'postgres', 'redis'])
    expect(services.server).toMatchObject({ read_only: true, cap_drop: ['ALL'], volumes: [`data:${DATA}`] })
    expect(services.postgres?.ports ?? services.redis?.ports).toBeUndefined()
  })

  it('keeps what Redis holds on disk and never evicts it', () => {
    const words = services.redis?.command?.join(' ')
    expect(words).toMatch(/--appendonly yes/)
    expect(words).toMatch(/--maxmemory-policy noeviction/)
  })

  it('gives the server settings that it takes', () => {
    const { GENKAN_SECRET_KEYS_FILE: mounted, ...plain } = services.server?.environment ?? {}
    expect(mounted).toBe('/run/secrets/secret_keys')
    const given: Record<string, string> = {
      ...plain,
      NODE_ENV: 'production',
      GENKAN_SECRET_KEYS: Buffer.alloc(32, 1).toString('base64'),
    }
    const filled = Object.entries(given).map(([name, value]) => {
      const set = value.replace(/\$\{\w+:-([^}]*)\}/g, '$1').replace(/\$\{\w+:\?[^}]*\}/g, 'word')
      return [name, set] as const
    })
    const config = loadConfig(Object.fromEntries(filled))
    expect(config).toMatchObject({ embedded: false, production: true, issuer: 'http://localhost:3000' })
    expect(Object.keys(secrets)).toEqual(['secret_keys'])
  })
})
