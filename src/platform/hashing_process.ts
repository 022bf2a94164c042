/** Hashes for the server that started it (`hashing.ts`), for as long as that is there. */
import { hash, verify } from './argon2id.ts'
import type { Answer, Task } from './hashing.ts'
import { letThreadsGiveWay } from './thread_priorities.ts'

async function answer(task: Task): Promise<Answer> {
  const { id, password } = task
  try {
    const done = await ('encoded' in task ? verify(task.encoded, password) : hash(password, task.parameters))
    return { id, ...done }
  } catch (error) {
    return { id, error: (error as Error).message }
  }
}

// Whoever stops a server may signal all of its processes, and those who sign in are still answered then.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.on('disconnect', () => process.exit(0))
process.on('message', async (task: Task) => {
  const answered = await answer(task)
  if (process.connected) process.send?.(answered)
})
await letThreadsGiveWay({ 'libuv-worker': 19 })
process.send?.({})
