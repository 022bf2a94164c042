/**
 * The lock of the data directory: one process at a time, for life. The embedded database takes no lock of its own, and a
 * second opener destroys acknowledged rows without an error.
 *
 * The lock is the file of the highest number in `<dataDir>/lock`. It names its holder, is linked into place whole, and is
 * never removed by another: who finds the holder dead links the next number, which only one can do. So there is no moment
 * between "remove the old" and "make the new" for a third. The file of the highest number stays for ever, released or not.
 */
import { link, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '../errors.ts'
import { newId } from './ids.ts'
import {
  answers,
  type Holder,
  isAlive,
  isPresence,
  openPresence,
  type Presence,
  parseHolder,
  self,
} from './lock_holder.ts'

export interface DataLock {
  /** Gives the directory free. The process must have closed the database before. */
  release(): Promise<void>
}

/** Rivals that come and go in between are waited for; more than this many in a row are no accident. */
const ATTEMPTS = 50

/**
 * Locks `dataDir` (made when missing, 0700). Throws AppError `data_locked`, naming directory and holder, while another live
 * process has it. What kill -9 or a power cut left behind is taken over, also when its process id is in use again.
 */
export async function lockDataDir(dataDir: string): Promise<DataLock> {
  const directory = join(dataDir, 'lock')
  await mkdir(directory, { recursive: true, mode: 0o700 })
  // The presence must listen before the lock can be seen: else a rival finds nobody there.
  const presence = await openPresence(directory)
  try {
    const holder = JSON.stringify(await self(presence.name))
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const highest = await highestNumber(directory)
      const rival = highest === undefined ? undefined : await readHolder(directory, highest)
      if (rival !== undefined && (await isAlive(directory, rival))) throw locked(dataDir, rival)
      const number = (highest ?? 0) + 1
      if (!(await claim(directory, number, holder))) continue
      await clean(directory, number)
      return { release: () => release(directory, number, presence) }
    }
    throw locked(dataDir, undefined)
  } catch (error) {
    await presence.close()
    throw error
  }
}

/** Links a file with this number into place, and tells whether it is the lock then. */
async function claim(directory: string, number: number, content: string): Promise<boolean> {
  const draft = await writeDraft(directory, content)
  try {
    await link(draft, join(directory, String(number)))
  } catch (error) {
    // EEXIST: a rival was first. ENOENT: the winner has swept our draft away.
    if (['EEXIST', 'ENOENT'].includes(codeOf(error) ?? '')) return false
    throw error
  } finally {
    await rm(draft, { force: true })
  }
  if ((await highestNumber(directory)) === number) return true
  // We had looked before others took, released and removed: our number was free again but is not the highest.
  await rm(join(directory, String(number)), { force: true })
  return false
}

/** Leaves a released mark under the number: numbers must never begin again while somebody may still hold an old view. */
async function release(directory: string, number: number, presence: Presence): Promise<void> {
  try {
    await rename(await writeDraft(directory, '{}'), join(directory, String(number)))
  } catch (error) {
    // The directory is gone, and the lock with it.
    if (codeOf(error) !== 'ENOENT') throw error
  } finally {
    await presence.close()
  }
}

async function writeDraft(directory: string, content: string): Promise<string> {
  const path = join(directory, `draft.${newId()}`)
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  return path
}

/**
 * Removes what earlier holders left. The number before ours stays, so that no listing can fall between two numbers; the
 * presence of a rival that is just asking stays, since that one may be the next holder.
 */
async function clean(directory: string, number: number): Promise<void> {
  for (const name of await readdir(directory)) {
    if (Number(name) >= number - 1 || (isPresence(name) && (await answers(directory, name)))) continue
    await rm(join(directory, name), { force: true })
  }
}

async function highestNumber(directory: string): Promise<number | undefined> {
  const numbers = (await readdir(directory)).filter((name) => /^\d{1,15}$/.test(name)).map(Number)
  return numbers.length === 0 ? undefined : Math.max(...numbers)
}

/** The holder written in a lock file; undefined when it was released, is unreadable (a power cut), or is gone meanwhile. */
async function readHolder(directory: string, number: number): Promise<Holder | undefined> {
  try {
    return parseHolder(await readFile(join(directory, String(number)), 'utf8'))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function locked(dataDir: string, rival: Holder | undefined): AppError<'data_locked'> {
  const who = rival === undefined ? 'several processes that are starting' : `process ${rival.pid} on ${rival.host}`
  const remedy = rival?.presence === undefined ? ` (if that is long gone, remove ${join(dataDir, 'lock')})` : ''
  return new AppError('data_locked', { status: 503, expose: false, detail: `${dataDir} is in use by ${who}${remedy}` })
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string } | null)?.code
}
