/** The product as it was before its newest migration, from the repository's history: what runs beside a new version for a while. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
let known: string | undefined

/** A folder with the older tree, which uses our packages. @throws where there is no history */
export function olderTree(): string {
  if (known !== undefined) return known
  const git = (...words: readonly string[]) =>
    execFileSync('git', words, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  // Where a file of `migrations` was added last, on the first line of descent.
  const newest = git('log', '-1', '--first-parent', '--diff-filter=A', '-m', '--format=%H', '--', 'migrations')
  if (newest === '') throw new Error('the history has no commit that added a migration')
  const folder = mkdtempSync(join(tmpdir(), 'genkan-older-'))
  const archive = join(folder, 'older.tar')
  const parts = ['src', 'views', 'migrations', 'package.json']
  git('archive', '--output', archive, `${newest}^`, ...parts)
  const root = join(folder, 'tree')
  mkdirSync(root)
  execFileSync('tar', ['-xf', archive, '-C', root])
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'))
  known = root
  return root
}
