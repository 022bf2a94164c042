/** Hashes and judges passwords for the server that started it (`hashing.ts`), for as long as that is there. */
import { type Done, hash, verify } from './argon2id.ts'
import type { Answer, Manner, Task } from './hashing.ts'
import { loadDictionaries, type Weakness, weaknessOf } from './password_strength.ts'
import { letThreadsGiveWay } from './thread_priorities.ts'

/** Beside somebody who wants all of a core it has a tenth of that. */
const NICE = 10
/**
 * Neither should the first registration wait for the dictionaries, nor should they compete with the first requests after a start,
 * which come at once when an instance takes over from another.
 */
const DICTIONARIES_MS = 30_000

type ToJudge = Extract<Task, { readonly own: readonly string[] }>

async function answer(task: Task): Promise<Answer> {
  const { id } = task
  try {
    return { id, ...(await ('own' in task ? judge(task) : hashOrVerify(task))) }
  } catch (error) {
    return { id, error: (error as Error).message }
  }
}

function hashOrVerify(task: Exclude<Task, ToJudge>): Promise<Done<string | boolean>> {
  return 'encoded' in task ? verify(task.encoded, task.password) : hash(task.password, task.parameters)
}

async function judge({ password, own }: ToJudge): Promise<Done<Weakness | null>> {
  await loadDictionaries()
  const start = performance.now()
  return { result: weaknessOf(password, own) ?? null, ms: performance.now() - start }
}

/** To a server that may have been killed meanwhile: that is no error of this process. */
function tell(answered: Answer): void {
  if (process.connected) process.send?.(answered, undefined, undefined, () => {})
}

// Whoever stops a server may signal all of its processes, and those who sign in are still answered then.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.on('disconnect', () => process.exit(0))
setTimeout(loadDictionaries, DICTIONARIES_MS)
let ready: Promise<void> | undefined
process.on('message', async (message: Manner | Task) => {
  if (typeof message === 'string') {
    ready = letThreadsGiveWay({ 'libuv-worker': message === 'idle' ? 'idle' : NICE, V8Worker: NICE })
    await ready
    tell({})
  } else {
    await ready
    tell(await answer(message))
  }
})
