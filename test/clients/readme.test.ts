/** What the READMEs of examples/clients show is what the tests beside this one run, to the letter. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const CLIENTS = join(ROOT, 'examples/clients')
const EXAMPLES = readdirSync(CLIENTS).filter((name) => statSync(join(CLIENTS, name)).isDirectory())
/** A block that names its file: ```yaml genkan.yaml */
const BLOCK = /^```(\w+) (\S+)\n([\s\S]*?)^```$/gm

const read = (path: string) => readFileSync(path, 'utf8')

/** The README with each block as its file is now. */
function withFiles(folder: string, readme: string): string {
  return readme.replace(BLOCK, (_block, language: string, file: string) => {
    return `\`\`\`${language} ${file}\n${read(join(folder, file))}\`\`\``
  })
}

describe.each(EXAMPLES)('examples/clients/%s', (example) => {
  const folder = join(CLIENTS, example)
  const path = join(folder, 'README.md')

  it('shows its files as they are (GENKAN_TEST_GOLDEN=write writes them anew)', () => {
    const readme = read(path)
    const fresh = withFiles(folder, readme)
    if (process.env.GENKAN_TEST_GOLDEN === 'write') writeFileSync(path, fresh)
    else expect(readme).toBe(fresh)
  })

  it('shows every file that is needed', () => {
    const shown = [...read(path).matchAll(BLOCK)].map(([, , file]) => file)
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file !== 'README.md' && statSync(join(folder, file)).isFile())
      .sort()
    expect(shown).toEqual(expect.arrayContaining(files))
    expect(files).toEqual(expect.arrayContaining(['example.env', 'genkan.yaml']))
  })

  it('has a test of its name, and is named where people look for it', () => {
    expect(existsSync(join(ROOT, 'test/clients', `${example}.test.ts`))).toBe(true)
    expect(read(join(CLIENTS, 'README.md'))).toContain(`](${example})`)
    expect(read(join(ROOT, 'README.md'))).toContain(`(examples/clients/${example})`)
  })
})
