/** Files that carry secrets of a person (mails, text messages of the demo): there is never half of one, and nobody else reads it. */
import { chmod, mkdir, open, rename } from 'node:fs/promises'
import { join } from 'node:path'

/** The file appears complete or not at all, readable by its owner only; it replaces one of the same name. */
export async function writeWhole(directory: string, name: string, content: Buffer | string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const unfinished = join(directory, `.${name}.${process.pid}`)
  const file = await open(unfinished, 'w', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  await chmod(unfinished, 0o600)
  await rename(unfinished, join(directory, name))
}
