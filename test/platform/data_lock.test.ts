import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { lockDataDir } from '../../src/platform/data_lock.ts'
import { self } from '../../src/platform/lock_holder.ts'

const MODULE = fileURLToPath(new URL('../../src/platform/data_lock.ts', import.meta.url))

/** Locks the directory of each line it reads, and answers `locked` or the error; with `release` it releases. */
const CHILD = `
  import { createInterface } from 'node:readline'
  import { lockDataDir } from ${JSON.stringify(MODULE)}
  let lock
  console.log('ready')
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      if (line === 'release') await lock.release()
      else lock = await lockDataDir(line)
      console.log(line === 'release' ? 'released' : 'locked')
    } catch (error) {
      console.log(error.code + ' ' + error.message)
    }
  }
`

interface Opener {
  readonly pid: number
  ask(line: string): Promise<string>
  kill(): Promise<void>
}

let dir: string
let children: ChildProcess[] = []
let servers: Server[] = []

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'genkan-lock-'))
})
afterEach(async () => {
  await Promise.all(children.map(killed))
  for (const server of servers) server.close()
  children = []
  servers = []
  rmSync(dir, { recursive: true, force: true })
})

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
}

async function startOpener(): Promise<Opener> {
  const child = spawn(process.execPath, ['--input-type=module', '--disable-warning=ExperimentalWarning', '-e', CHILD], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async () => String((await lines.next()).value)
  expect(await answer()).toBe('ready')
  return {
    pid: child.pid ?? 0,
    ask(line) {
      child.stdin.write(`${line}\n`)
      return answer()
    },
    kill: () => killed(child),
  }
}

/** Writes a lock as another process would have left it. */
async function leaveLock(holder: object): Promise<void> {
  mkdirSync(join(dir, 'lock'))
  writeFileSync(join(dir, 'lock', '7'), JSON.stringify({ ...(await self(undefined)), ...holder }))
}

/** The writing end of a named pipe, once somebody reads from it. */
async function writerOf(path: string): Promise<number> {
  for (;;) {
    try {
      return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}

async function takesOver(): Promise<boolean> {
  const lock = await lockDataDir(dir)
  await lock.release()
  return true
}

describe('one opener at a time', () => {
  it('refuses a second opener, naming directory and holder, until the first releases', async () => {
    const other = await startOpener()
    expect(await other.ask(dir)).toBe('locked')
    await expect(lockDataDir(dir)).rejects.toMatchObject({
      code: 'data_locked',
      status: 503,
      expose: false,
      message: `${dir} is in use by process ${other.pid} on ${hostname()}`,
    })
    expect(await other.ask('release')).toBe('released')
    const lock = await lockDataDir(dir)
    expect(await other.ask(dir)).toBe(`data_locked ${dir} is in use by process ${process.pid} on ${hostname()}`)
    await lock.release()
  })

  it('refuses a second opener in the same process', async () => {
    const lock = await lockDataDir(dir)
    await expect(lockDataDir(dir)).rejects.toMatchObject({ code: 'data_locked' })
    await lock.release()
    await expect(takesOver()).resolves.toBe(true)
  })

  it('makes the directory, closed to others, and leaves little behind after many rounds', async () => {
    const deep = join(dir, 'a', 'b')
    for (let round = 0; round < 20; round++) {
      const lock = await lockDataDir(deep)
      expect(statSync(join(deep, 'lock')).mode & 0o777).toBe(0o700)
      for (const name of readdirSync(join(deep, 'lock'))) {
        if (/^\d+$/.test(name)) expect(statSync(join(deep, 'lock', name)).mode & 0o777).toBe(0o600)
      }
      await lock.release()
    }
    expect(readdirSync(join(deep, 'lock')).length).toBeLessThanOrEqual(2)
  })

  it('a refused opener leaves nothing behind', async () => {
    const lock = await lockDataDir(dir)
    const before = readdirSync(join(dir, 'lock')).sort()
    await expect(lockDataDir(dir)).rejects.toThrow()
    expect(readdirSync(join(dir, 'lock')).sort()).toEqual(before)
    await lock.release()
  })

  it('release is quiet when the directory is gone or it was released before', async () => {
    const first = await lockDataDir(dir)
    await first.release()
    await first.release()
    const second = await lockDataDir(dir)
    await first.release()
    await expect(lockDataDir(dir)).rejects.toMatchObject({ code: 'data_locked' })
    rmSync(dir, { recursive: true })
    await second.release()
  })

  it('says what is wrong when the directory cannot be written', async () => {
    writeFileSync(join(dir, 'file'), '')
    await expect(lockDataDir(join(dir, 'file'))).rejects.toMatchObject({ code: 'ENOTDIR' })
  })
})

describe('what a dead holder left behind', () => {
  it('kill -9: the next opener takes over at once', async () => {
    const first = await startOpener()
    expect(await first.ask(dir)).toBe('locked')
    await first.kill()
    const second = await startOpener()
    expect(await second.ask(dir)).toBe('locked')
    await second.kill()
    await expect(takesOver()).resolves.toBe(true)
  })

  it('the process id was used again by another process', async () => {
    await leaveLock({ pid: process.ppid, started: '1' })
    await expect(takesOver()).resolves.toBe(true)
  })

  it('our own process id was the holder (process 1 of a restarted container)', async () => {
    await leaveLock({ started: '1' })
    await expect(takesOver()).resolves.toBe(true)
  })

  it('a holder with our id and our start time is ourselves', async () => {
    await leaveLock({})
    await expect(takesOver()).rejects.toMatchObject({ code: 'data_locked' })
  })

  it('a zombie holds nothing', async () => {
    // The shell becomes a sleep that never asks for the exit code of its child.
    const script = `${JSON.stringify(process.execPath)} --input-type=module -e '
      import { lockDataDir } from ${JSON.stringify(MODULE)}
      await lockDataDir(${JSON.stringify(dir)})
      console.log(process.pid)
      setInterval(() => {}, 1000)' & exec sleep 60`
    const parent = spawn('/bin/sh', ['-c', script], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    children.push(parent)
    const pid = Number((await createInterface({ input: parent.stdout })[Symbol.asyncIterator]().next()).value)
    await expect(takesOver()).rejects.toMatchObject({ code: 'data_locked' })
    process.kill(pid, 'SIGKILL')
    const state = () => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0]
    while (state() !== 'Z') await new Promise((resolve) => setTimeout(resolve, 5))
    await expect(takesOver()).resolves.toBe(true)
  })

  it.each(['', '{', 'null', '[]', '{"pid":"x"}', `{"pid":${process.pid}}`, '\0\0\0'])(
    'a file damaged by a power cut: %j',
    async (content) => {
      mkdirSync(join(dir, 'lock'))
      writeFileSync(join(dir, 'lock', '3'), content)
      await expect(takesOver()).resolves.toBe(true)
    },
  )

  it('drafts and sockets of openers killed half-way are swept away', async () => {
    mkdirSync(join(dir, 'lock'))
    for (const name of ['draft.abc', 'alive.abcdefgh', '1', '2', '3']) writeFileSync(join(dir, 'lock', name), '')
    const lock = await lockDataDir(dir)
    expect(
      readdirSync(join(dir, 'lock'))
        .filter((name) => !/^alive\./.test(name))
        .sort(),
    ).toEqual(['3', '4'])
    expect(readdirSync(join(dir, 'lock'))).not.toContain('alive.abcdefgh')
    await lock.release()
  })

  it('no presence may name a file elsewhere', async () => {
    await leaveLock({ presence: '../../etc/passwd' })
    await expect(takesOver()).resolves.toBe(true)
  })
})

describe('a holder in another container on the same volume', () => {
  /** Both containers see a process 1 only; the other's namespace is not ours. */
  const elsewhere = { pid: 1, started: '5', namespace: 'pid:[1]', host: 'other' }

  async function speakFor(name: string): Promise<Server> {
    const server = createServer((socket) => socket.destroy())
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(join(dir, 'lock', name), resolve))
    return server
  }

  it('is refused while the kernel answers on its socket, and taken over when it does not', async () => {
    await leaveLock({ ...elsewhere, presence: 'alive.abcdefgh' })
    const server = await speakFor('alive.abcdefgh')
    await expect(takesOver()).rejects.toMatchObject({ message: `${dir} is in use by process 1 on other` })
    await new Promise((resolve) => server.close(resolve))
    await expect(takesOver()).resolves.toBe(true)
  })

  it('a killed one leaves its socket behind: nobody answers', async () => {
    const child = await startOpener()
    expect(await child.ask(dir)).toBe('locked')
    const path = join(dir, 'lock', '1')
    const holder = JSON.parse(readFileSync(path, 'utf8'))
    writeFileSync(path, JSON.stringify({ ...holder, ...elsewhere }))
    await expect(takesOver()).rejects.toMatchObject({ code: 'data_locked' })
    await child.kill()
    expect(statSync(join(dir, 'lock', holder.presence)).isSocket()).toBe(true)
    await expect(takesOver()).resolves.toBe(true)
  })

  it('a stopped one still holds the lock', async () => {
    const child = await startOpener()
    expect(await child.ask(dir)).toBe('locked')
    const path = join(dir, 'lock', '1')
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...elsewhere }))
    process.kill(child.pid, 'SIGSTOP')
    await expect(takesOver()).rejects.toMatchObject({ code: 'data_locked' })
    process.kill(child.pid, 'SIGCONT')
  })

  it('one that cannot be asked is taken for alive, with a word what to do', async () => {
    await leaveLock(elsewhere)
    await expect(takesOver()).rejects.toMatchObject({ message: expect.stringContaining(`remove ${join(dir, 'lock')}`) })
  })

  it('one from before a reboot is dead', async () => {
    await leaveLock({ ...elsewhere, boot: 'another boot' })
    await expect(takesOver()).resolves.toBe(true)
  })
})

describe('races', () => {
  it('of many openers of a dead lock exactly one wins, each time', async () => {
    for (let round = 0; round < 25; round++) {
      const settled = await Promise.allSettled(Array.from({ length: 12 }, () => lockDataDir(dir)))
      const won = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
      const lost = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []))
      expect(won).toHaveLength(1)
      expect(new Set(lost)).toEqual(new Set(['data_locked']))
      await won[0]?.release()
      // Left as by a process that died: nobody of this start time lives.
      const last = Math.max(...readdirSync(join(dir, 'lock')).map(Number).filter(Number.isInteger))
      writeFileSync(join(dir, 'lock', String(last)), JSON.stringify({ ...(await self(undefined)), started: '1' }))
    }
  })

  it('never lets two in while openers come and go', async () => {
    let inside = 0
    let entered = 0
    const worker = async () => {
      // Who goes in is chance, and on a busy machine most tries meet others.
      for (let tries = 0; tries < 40 || entered <= 10; tries++) {
        const lock = await lockDataDir(dir).catch((error: { code?: string }) => {
          expect(error.code).toBe('data_locked')
        })
        if (!lock) continue
        inside += 1
        expect(inside).toBe(1)
        entered += 1
        await new Promise(setImmediate)
        inside -= 1
        await lock.release()
      }
    }
    await Promise.all(Array.from({ length: 10 }, worker))
    expect(entered).toBeGreaterThan(10)
  })

  it('an opener that looked long ago finds its number free again, and does not take it for the lock', async () => {
    mkdirSync(join(dir, 'lock'))
    // A pipe for a lock file: the opener waits in the middle of its look for as long as we like.
    execFileSync('mkfifo', [join(dir, 'lock', '7')])
    const late = expect(lockDataDir(dir)).rejects.toMatchObject({ code: 'data_locked' })
    const pipe = await writerOf(join(dir, 'lock', '7'))
    // Meanwhile others have taken 8, 9 and 10 and released the first two, and 8 is swept away already.
    writeFileSync(join(dir, 'lock', '10'), JSON.stringify(await self(undefined)))
    writeSync(pipe, '{}')
    closeSync(pipe)
    await late
    expect(readdirSync(join(dir, 'lock'))).not.toContain('8')
  })

  it('processes: after each kill -9 of the holder exactly one of the waiting ones takes over', async () => {
    let openers = await Promise.all(Array.from({ length: 6 }, startOpener))
    while (openers.length > 0) {
      const answers = await Promise.all(openers.map((opener) => opener.ask(dir)))
      const winners = openers.filter((_, i) => answers[i] === 'locked')
      expect(winners).toHaveLength(1)
      expect(answers.filter((answer) => answer.startsWith('data_locked'))).toHaveLength(openers.length - 1)
      await winners[0]?.kill()
      openers = openers.filter((opener) => opener !== winners[0])
    }
  })
})

it('works where a path is too long for a socket', async () => {
  const deep = join(dir, 'x'.repeat(100))
  mkdirSync(deep)
  chmodSync(deep, 0o700)
  const lock = await lockDataDir(deep)
  await expect(lockDataDir(deep)).rejects.toMatchObject({ code: 'data_locked' })
  await lock.release()
  const again = await lockDataDir(deep)
  await again.release()
})
