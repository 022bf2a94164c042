/** Hashes for the server that started it (`hashing.ts`), for as long as that is there. */
import { hash, verify } from './argon2id.ts'
import type { Answer, Manner, Task } from './hashing.ts'
import { letThreadsGiveWay } from './thread_priorities.ts'

/** Beside somebody who wants all of a core it has a tenth of that. */
const NICE = 10

async function answer(task: Task): Promise<Answer> {
  const { id, password } = task
  try {
    const done = await ('encoded' in task ? verify(task.encoded, password) : hash(password, task.parameters))
    return { id, ...done }
  } catch (error) {
    return { id, error: (error as Error).message }
  }
}

/** To a server that may have been killed meanwhile: that is no error of this process. */
function tell(answered: Answer): void {
  if (process.connected) process.send?.(answered, undefined, undefined, () => {})
}

// Whoever stops a server may signal all of its processes, and those who sign in are still answered then.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.on('disconnect', () => process.exit(0))
let ready: Promise<void> | undefined
process.on('message', async (message: Manner | Task) => {
  if (typeof message === 'string') {
    ready = letThreadsGiveWay({ 'libuv-worker': message === 'idle' ? 'idle' : NICE })
    await ready
    tell({})
  } else {
    await ready
    tell(await answer(message))
  }
})
