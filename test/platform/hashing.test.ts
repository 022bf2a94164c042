/** The process that hashes passwords: what it is given, and what becomes of those who wait when it ends or hangs. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { createHashingProcess, type HashingProcess } from '../../src/platform/hashing.ts'
import { childrenOf, until, waysOf } from '../support/processes.ts'

const USUAL = { memoryKib: 19_456, passes: 2, parallelism: 1 }
const SMALL = { memoryKib: 1024, passes: 2, parallelism: 1 }
/** Takes a second or so. */
const SLOW = { memoryKib: 262_144, passes: 4, parallelism: 1 }
/** What it is said to take: nothing is given up. */
const LONG_MS = 60_000
const BUSY = { code: 'temporarily_unavailable', status: 503, retryAfter: 1 }

/** A server that is killed when the first of many hashes is done. Its process has the same stderr, which ends with that. */
const KILLED = `
  const { createHashingProcess } = await import(${JSON.stringify(new URL('../../src/platform/hashing.ts', import.meta.url))})
  const hashing = createHashingProcess({ width: 2, logger: console })
  await hashing.begin()
  const hashes = Array.from({ length: 500 }, () => hashing.hash('x', ${JSON.stringify(SMALL)}, ${LONG_MS}))
  await Promise.race(hashes)
  process.kill(process.pid, 'SIGKILL')`

/**
 * A server on a core that somebody else wants, who is a little nice since other tests run there as well, and not there for ever
 * when the server ends before.
 */
const SQUEEZED = `
  import { spawn } from 'node:child_process'
  import { once } from 'node:events'
  const { createHashingProcess } = await import(${JSON.stringify(new URL('../../src/platform/hashing.ts', import.meta.url))})
  const [said, warned] = [[], []]
  const logger = { error: (why) => said.push(why), warn: (what) => warned.push(what) }
  const hashing = createHashingProcess({ width: 1, logger })
  await hashing.begin()
  const other = spawn('nice', ['-n', '5', process.execPath, '-e', 'console.log(0); for (const end = Date.now() + 30_000; Date.now() < end; );'])
  await once(other.stdout, 'data')
  const { result } = await hashing.hash('x', ${JSON.stringify(USUAL)}, 30)
  other.kill('SIGKILL')
  await hashing.close()
  console.log(JSON.stringify({ kind: result.split('$')[1], said, warned }))
  // The process that was late needs some of the processor to end, too.
  process.exit()`

/** A server whose hashes are late when it has no file descriptors left to start another process with. */
const EXHAUSTED = `
  import { execFileSync } from 'node:child_process'
  import { openSync } from 'node:fs'
  const { createHashingProcess } = await import(${JSON.stringify(new URL('../../src/platform/hashing.ts', import.meta.url))})
  const said = []
  const hashing = createHashingProcess({ width: 1, logger: { error: (why) => said.push(why.err?.code), warn() {} } })
  await hashing.begin()
  execFileSync('pkill', ['-STOP', '-P', String(process.pid), '-f', 'hashing_process'])
  const answer = hashing.hash('x', ${JSON.stringify(SMALL)}, 10).catch(({ code }) => code)
  try {
    for (;;) openSync('/dev/null')
  } catch {}
  console.log(JSON.stringify({ answer: await answer, said }))
  process.exit()`

const FLAGS = ['--disable-warning=ExperimentalWarning', '--input-type=module']

const said: object[] = []
const warned: object[] = []
const logger = { error: (why: object) => void said.push(why), warn: (what: object) => void warned.push(what) }
const open: HashingProcess[] = []
afterEach(async () => {
  for (const one of open.splice(0)) await one.close()
  said.length = 0
  warned.length = 0
})

/** A begun one, and its process. */
async function begun(more: { niceMs?: number } = {}): Promise<{ hashing: HashingProcess; pid: number }> {
  const before = childrenOf(process.pid)
  const hashing = createHashingProcess({ width: 2, logger, ...more })
  open.push(hashing)
  await hashing.begin()
  const [pid = 0] = childrenOf(process.pid).filter((each) => !before.includes(each))
  return { hashing, pid }
}

/** How a server ended, and what it and its process said. */
async function killedWhileHashing(): Promise<{ signal: string | null; text: string }> {
  const server = spawn(process.execPath, [...FLAGS, '-e', KILLED], { stdio: ['ignore', 'ignore', 'pipe'] })
  let text = ''
  for await (const piece of server.stderr) text += piece
  return { signal: server.signalCode, text }
}

describe('the process that hashes', () => {
  it('hashes and verifies any text, several at once', async () => {
    const { hashing } = await begun()
    const texts = ['secret words', 'abc\0def', 'ключ 🔑', '\ud800 alone', '"\\\n', '']
    const hashes = await Promise.all(texts.map((text) => hashing.hash(text, SMALL, LONG_MS)))
    expect(new Set(hashes.map(({ result }) => result)).size).toBe(texts.length)
    for (const [at, { result: encoded, ms }] of hashes.entries()) {
      expect(ms).toBeGreaterThan(0)
      expect(encoded).toMatch(/^\$argon2id\$v=19\$m=1024,t=2,p=1\$/)
      const right = await Promise.all(texts.map((text) => hashing.verify(encoded, text, LONG_MS)))
      expect(right.map(({ result }) => result)).toEqual(texts.map((_, other) => other === at))
    }
  })

  it('says what is wrong with parameters or a hash, and goes on', async () => {
    const { hashing, pid } = await begun()
    await expect(hashing.hash('x', { ...SMALL, memoryKib: 8, parallelism: 4 }, LONG_MS)).rejects.toThrow(/memory/i)
    await expect(hashing.verify('$argon2id$broken', 'x', LONG_MS)).rejects.toThrow()
    const { result: encoded } = await hashing.hash('x', SMALL, LONG_MS)
    expect(await hashing.verify(encoded, 'x', LONG_MS)).toMatchObject({ result: true })
    expect([childrenOf(process.pid).includes(pid), said]).toEqual([true, []])
  })

  it('judges passwords, of many at once each by its own words', async () => {
    const { hashing } = await begun()
    const passwords = ['sunshine', 'violet-tangent-8', 'virtanen12', '\ud800 alone, "and quoted"']
    const found = await Promise.all(passwords.map((password) => hashing.weaknessOf(password, ['virtanen'])))
    expect(found.map(({ result }) => result)).toEqual(['common', undefined, 'own_words', undefined])
    expect(found.every(({ ms }) => ms > 0)).toBe(true)
  })

  it('lets the event loop of its server go on while it loads its dictionaries and while it judges', async () => {
    const { hashing } = await begun()
    let turns = 0
    let isJudged = false
    const judged = hashing.weaknessOf('@4!8|0$5+'.repeat(28), []).finally(() => {
      isJudged = true
    })
    while (!isJudged) {
      turns++
      await sleep(1)
    }
    await judged
    // On the loop itself it would be over before the second.
    expect(turns).toBeGreaterThan(10)
  })

  it('when it hangs, who chooses a password is told to come again in seconds, and the hashes of others are left to it', async () => {
    const { hashing, pid } = await begun()
    process.kill(pid, 'SIGSTOP')
    const start = performance.now()
    const hashed = hashing.hash('x', SMALL, LONG_MS)
    await expect(hashing.weaknessOf('sunshine', [])).rejects.toMatchObject(BUSY)
    expect(performance.now() - start).toBeGreaterThan(2900)
    expect(performance.now() - start).toBeLessThan(4000)
    process.kill(pid, 'SIGCONT')
    expect((await hashed).result).toContain('$argon2id$')
    expect((await hashing.weaknessOf('sunshine', [])).result).toBe('common')
    expect([childrenOf(process.pid), said.length, warned.length]).toEqual([[pid], 0, 0])
  })

  it('when it hangs while nobody signs in, another judges after a while', async () => {
    const { hashing, pid } = await begun()
    process.kill(pid, 'SIGSTOP')
    await expect(hashing.weaknessOf('sunshine', [])).rejects.toMatchObject(BUSY)
    await until(() => !childrenOf(process.pid).includes(pid), 20_000)
    expect((await hashing.weaknessOf('sunshine', [])).result).toBe('common')
    expect(said).toEqual([{ code: null, signal: 'SIGKILL' }])
  }, 30_000)

  it('is given nothing of what its server knows', async () => {
    process.env.GENKAN_SECRET_KEYS = 'canary'
    try {
      const { pid } = await begun()
      const names = readFileSync(`/proc/${pid}/environ`, 'utf8')
        .split('\0')
        .map((each) => each.split('=')[0])
      expect(names.filter((name) => name !== '' && !name?.startsWith('NODE_CHANNEL_'))).toEqual([
        'UV_THREADPOOL_SIZE',
        'MALLOC_ARENA_MAX',
      ])
    } finally {
      delete process.env.GENKAN_SECRET_KEYS
    }
  })

  it('hears no signal that is meant for its server, and ends with that', async () => {
    const { hashing, pid } = await begun()
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(pid, signal)
    expect((await hashing.hash('x', SMALL, LONG_MS)).result).toContain('$argon2id$')
    const late = hashing.hash('x', SLOW, LONG_MS)
    const refused = expect(late).rejects.toMatchObject(BUSY)
    await hashing.close()
    await refused
    expect([childrenOf(process.pid).includes(pid), said]).toEqual([false, []])
  })

  it('when it is killed those who wait are told to come again, and another is started for who comes then', async () => {
    const { hashing, pid } = await begun()
    const lost = [hashing.hash('x', SLOW, LONG_MS), hashing.weaknessOf('y', [])]
    const refused = lost.map((each) => expect(each).rejects.toMatchObject(BUSY))
    process.kill(pid, 'SIGKILL')
    await Promise.all(refused)
    expect(said).toEqual([{ code: null, signal: 'SIGKILL' }])
    await sleep(500)
    const { result: encoded } = await hashing.hash('x', SMALL, LONG_MS)
    expect(await hashing.verify(encoded, 'x', LONG_MS)).toMatchObject({ result: true })
  })

  it('says nothing when its server is killed while answers are on their way', async () => {
    // One in three is killed at such a moment.
    const heard = await Promise.all(Array.from({ length: 10 }, killedWhileHashing))
    expect(heard).toEqual(heard.map(() => ({ signal: 'SIGKILL', text: '' })))
  }, 60_000)

  it('when it hangs another does its work, and one that hangs again is ended in time', async () => {
    const { hashing, pid } = await begun()
    process.kill(pid, 'SIGSTOP')
    const hashes = await Promise.all(['x', 'y'].map((text) => hashing.hash(text, SMALL, 10)))
    expect(hashes.map(({ result }) => result.split('$')[1])).toEqual(['argon2id', 'argon2id'])
    expect([said, warned]).toEqual([[], [{ hashes: 2 }]])
    await until(() => !childrenOf(process.pid).includes(pid), 10_000)

    for (const each of childrenOf(process.pid)) process.kill(each, 'SIGSTOP')
    const start = performance.now()
    await expect(hashing.hash('x', SMALL, 10)).rejects.toMatchObject(BUSY)
    expect(performance.now() - start).toBeGreaterThan(3300)
    expect(performance.now() - start).toBeLessThan(4500)
    await until(() => childrenOf(process.pid).length === 0, 10_000)
    expect([said, warned.length]).toEqual([[{ code: null, signal: 'SIGKILL' }], 1])
  })

  it('one that was late is only nice for a while, and then takes again what nobody else wants', async () => {
    const { hashing, pid } = await begun({ niceMs: 2000 })
    expect(waysOf(pid, 'libuv-worker')).toEqual(['idle'])
    process.kill(pid, 'SIGSTOP')
    await hashing.hash('x', SMALL, 10)
    await until(() => !childrenOf(process.pid).includes(pid), 10_000)
    const [nice = 0] = childrenOf(process.pid)
    expect(waysOf(nice, 'libuv-worker')).toEqual(['class 0, nice 10'])
    await sleep(2000)
    await hashing.hash('x', SMALL, LONG_MS)
    const [idle = 0] = childrenOf(process.pid).filter((each) => each !== nice)
    expect(waysOf(idle, 'libuv-worker')).toEqual(['idle'])
    await until(() => !childrenOf(process.pid).includes(nice), 10_000)
    expect([said, warned.length]).toEqual([[], 1])
  }, 30_000)

  it('when no other can be started who waits is told to come again, and the server goes on', async () => {
    const command = `ulimit -n 100; exec "$0" "$@"`
    const server = spawn('bash', ['-c', command, process.execPath, ...FLAGS, '-e', EXHAUSTED], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let heard = ''
    for await (const piece of server.stdout) heard += piece
    expect(JSON.parse(heard)).toEqual({ answer: BUSY.code, said: expect.arrayContaining(['EMFILE']) })
  }, 60_000)

  it('hashes where somebody else wants all there is of the processor', async () => {
    const [cpu] = readFileSync('/proc/self/status', 'utf8').match(/(?<=Cpus_allowed_list:\s*)\d+/) ?? []
    const server = spawn('taskset', ['-c', String(cpu), process.execPath, ...FLAGS, '-e', SQUEEZED], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let heard = ''
    for await (const piece of server.stdout) heard += piece
    expect(JSON.parse(heard)).toEqual({ kind: 'argon2id', said: [], warned: [{ hashes: 1 }] })
  }, 60_000)

  it('does not keep its server when it hangs', async () => {
    const { hashing, pid } = await begun()
    process.kill(pid, 'SIGSTOP')
    const start = performance.now()
    await hashing.close()
    expect(performance.now() - start).toBeLessThan(4000)
    expect(childrenOf(process.pid)).not.toContain(pid)
  })

  it('one that ends as soon as it has begun is not started for each who comes', async () => {
    const { hashing, pid } = await begun()
    await sleep(500)
    process.kill(pid, 'SIGKILL')
    await until(() => said.length === 1, 10_000)
    const next = hashing.hash('x', SMALL, LONG_MS)
    // Not 0, which would be everybody in this group.
    process.kill(childrenOf(process.pid).at(-1) ?? Number.NaN, 'SIGKILL')
    await expect(next).rejects.toMatchObject(BUSY)
    const refusals = await Promise.allSettled(Array.from({ length: 20 }, () => hashing.hash('x', SMALL, LONG_MS)))
    expect(refusals.every(({ status }) => status === 'rejected')).toBe(true)
    expect(childrenOf(process.pid)).toEqual([])
  })
})
