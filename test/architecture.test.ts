/**
 * The rules of the house that no other tool can see: names across the roots, what a feature folder holds, a view for each
 * step, a text for each error code, the shape of migrations, and that nobody switched a rule off.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { FACT_CLASSES } from '../src/events.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

function filesUnder(folder: string): string[] {
  if (!existsSync(join(ROOT, folder))) return []
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(join(ROOT, path)).isFile())
    .sort()
}

function foldersIn(folder: string): string[] {
  if (!existsSync(join(ROOT, folder))) return []
  return readdirSync(join(ROOT, folder), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
}

const FEATURES = foldersIn('src/features')
const SOURCES = filesUnder('src').filter((path) => path.endsWith('.ts'))
const TYPESCRIPT = [...SOURCES, ...['migrations', 'test', 'examples'].flatMap(filesUnder)].filter((path) =>
  path.endsWith('.ts'),
)
/** `<locale>.json` and `<locale>.<room>.json`, joined by locale. */
const CATALOGUES = new Map<string, Record<string, string>>()
for (const file of readdirSync(join(ROOT, 'views/messages')).sort()) {
  const locale = file.slice(0, file.indexOf('.'))
  const texts = JSON.parse(read(join('views/messages', file))) as Record<string, string>
  CATALOGUES.set(locale, { ...CATALOGUES.get(locale), ...texts })
}

/** What an import statement names, with whether it is a type only. Formatted code has one shape of import. */
function importsOf(path: string): { readonly from: string; readonly typeOnly: boolean }[] {
  return [...read(path).matchAll(/^(?:import|export)(\s+type)?\s[^'"`;]*?from '([^']+)'/gm)].map(
    ([, type, from = '']) => ({ from, typeOnly: type !== undefined }),
  )
}

describe('names across the roots', () => {
  it('finds the house', () => {
    expect(FEATURES).toEqual(expect.arrayContaining(['accounts', 'passwords', 'sessions', 'clients']))
    expect(SOURCES.length).toBeGreaterThan(50)
  })

  it('a folder of views is a feature or a room with pages', () => {
    const rooms = ['assets', 'device', 'interaction', 'logout', 'messages']
    expect(foldersIn('views').filter((name) => !FEATURES.includes(name) && !rooms.includes(name))).toEqual([])
  })

  it('a folder of feature tests is a feature', () => {
    expect(foldersIn('test/features').filter((name) => !FEATURES.includes(name))).toEqual([])
  })

  it('a folder of tests mirrors a folder of src, or is a kind of test', () => {
    const kinds = [
      'attacks',
      'bench',
      'browser',
      'clients',
      'contracts',
      'examples',
      'faults',
      'golden',
      'protocol',
      'conformance',
      'clients',
      'races',
      'support',
    ]
    const strangers = foldersIn('test').filter((name) => !kinds.includes(name) && !existsSync(join(ROOT, 'src', name)))
    expect(strangers).toEqual([])
  })

  it('a word that says nothing names no file', () => {
    const empty = /(^|\/|_)(utils?|helpers?|common|managers?|data|info|misc)(\.|\/)/
    expect(TYPESCRIPT.filter((path) => empty.test(path))).toEqual([])
  })
})

describe.each(FEATURES)('feature %s', (feature) => {
  const folder = join('src/features', feature)

  it('has only files of the known kinds', () => {
    const kinds = [
      'index.ts',
      'types.ts',
      'routes.ts',
      'step.ts',
      'service.ts',
      'repository.ts',
      'schema.ts',
      'rules.ts',
      'errors.ts',
    ]
    const files = filesUnder(folder).map((path) => path.slice(folder.length + 1))
    expect(files).toContain('index.ts')
    expect(files.filter((name) => !kinds.includes(name))).toEqual([])
  })

  it('opens with what it owns and where it hands off', () => {
    const header = /^\/\*\*([\s\S]*?)\*\//.exec(read(join(folder, 'index.ts')))?.[1]?.replace(/\s*\*\s*/g, ' ') ?? ''
    expect(header.trim().length).toBeGreaterThan(80)
  })

  it('has a view for each of its steps', () => {
    const path = join(folder, 'step.ts')
    if (!existsSync(join(ROOT, path))) return
    const names = [...read(path).matchAll(/^\s+name: '([a-z_]+)'/gm)].map(([, name]) => name)
    expect(names.length).toBeGreaterThan(0)
    for (const name of names) expect(existsSync(join(ROOT, 'views', feature, `${name}.njk`)) ? '' : name).toBe('')
  })
})

describe('views', () => {
  const templates = filesUnder('views').filter((path) => path.endsWith('.njk'))
  const steps = FEATURES.flatMap((feature) => {
    const path = join('src/features', feature, 'step.ts')
    if (!existsSync(join(ROOT, path))) return []
    return [...read(path).matchAll(/^\s+name: '([a-z_]+)'/gm)].map(([, name]) => `${feature}/${name}`)
  })

  it('has no template that nobody renders', () => {
    const sources = SOURCES.map(read).join('\n')
    const included = templates.map(read).join('\n')
    const unused = templates.filter((path) => {
      const file = path.slice('views/'.length)
      const name = file.replace(/(\.mail)?\.njk$/, '')
      const [room = '', page = ''] = name.split('/')
      const own = filesUnder(join('src/features', room)).map(read).join('\n')
      const rendered = sources.includes(`'${name}'`) || sources.includes(file) || own.includes(`'${page}'`)
      // The parts of every mail are put together by name.
      return !(steps.includes(name) || rendered || included.includes(file) || room === 'mails')
    })
    expect(unused).toEqual([])
  })
})

describe('texts', () => {
  it('have the same keys in every locale', () => {
    const [first, ...others] = [...CATALOGUES.values()].map((texts) => Object.keys(texts).sort())
    expect([...CATALOGUES.keys()]).toEqual(expect.arrayContaining(['en', 'fi']))
    for (const other of others) expect(other).toEqual(first)
  })

  it('has one for every code that a person may meet, in every locale', async () => {
    const codes = new Set<string>()
    for (const path of ['src/errors.ts', ...FEATURES.map((feature) => join('src/features', feature, 'errors.ts'))]) {
      if (!existsSync(join(ROOT, path))) continue
      const exported = (await import(pathToFileURL(join(ROOT, path)).href)) as Record<string, unknown>
      const lists = Object.entries(exported).filter(([name]) => name.endsWith('_CODES'))
      // A feature whose failures only operators meet keeps its list to itself and says so.
      if (lists.length === 0) expect(read(path)).toMatch(/operator/)
      for (const [, list] of lists)
        for (const code of Array.isArray(list) ? list : Object.keys(list as object)) codes.add(code)
    }
    const shown = SOURCES.filter((path) => /^src\/(http|interaction)\/|\/(step|routes)\.ts$/.test(path))
    for (const path of shown) {
      for (const [, code = ''] of read(path).matchAll(/(?:new AppError|ok: false, code: )\(?'([a-z_]+)'/g))
        codes.add(code)
    }
    // Not a failure but a word to the dispatcher: the conversation has moved on.
    codes.delete('stale')
    expect(codes.size).toBeGreaterThan(10)
    for (const [locale, texts] of CATALOGUES) {
      const missing = [...codes].filter((code) => texts[`error.${code}`] === undefined)
      expect({ locale, missing }).toEqual({ locale, missing: [] })
    }
  })
})

describe('migrations', () => {
  const files = readdirSync(join(ROOT, 'migrations')).sort()

  it.each(files)('%s is named <UTC minute>_<feature>_<verb>_<object>', (file) => {
    const [, minute = '', subject = ''] = /^(\d{12})_([a-z_]+)\.ts$/.exec(file) ?? []
    const iso = minute.replace(/^(....)(..)(..)(..)(..)$/, '$1-$2-$3T$4:$5:00Z')
    expect(new Date(iso).toISOString().slice(0, 16)).toBe(iso.slice(0, 16))
    // `recovery_codes` begins like `recovery`: the longest name is meant.
    const owners = [...FEATURES, 'platform', 'oidc'].filter((name) => subject.startsWith(`${name}_`))
    const owner = owners.sort((a, b) => b.length - a.length)[0]
    expect(owner).toBeDefined()
    expect(subject.slice((owner ?? '').length + 1)).toMatch(/^(create|add|drop|change|rename|index|fill|move)_[a-z_]+$/)
  })

  it('have one minute each, in order', () => {
    const minutes = files.map((file) => file.slice(0, 12))
    expect(new Set(minutes).size).toBe(minutes.length)
  })

  it.each(files)('%s imports nothing from src', (file) => {
    expect(importsOf(join('migrations', file)).filter(({ from }) => from.startsWith('.'))).toEqual([])
  })
})

describe('facts', () => {
  // A file name, no fact.
  const others = ["'db.replaced'"]
  const stated = SOURCES.filter((path) => path !== 'src/events.ts').flatMap((path) =>
    [...read(path).matchAll(/'[a-z_]+\.[a-z_]+(ed|_put_off)'/g)].map(([literal]) => literal),
  )
  // The conversation states the proof of each method by its name.
  const proven = [...read('src/conversation.ts').matchAll(/proves: '(\w+)'/g)].map(([, method = '']) => method)
  const verified = [...proven, 'device'].filter((method) => method !== 'pwd').map((method) => `${method}.verified`)
  const named = new Set([
    ...stated.filter((literal) => !others.includes(literal)).map((literal) => literal.slice(1, -1)),
    ...verified,
  ])

  it('each has a class of retention in FACT_CLASSES, and the table names no other', () => {
    expect(named.size).toBeGreaterThan(25)
    expect(Object.keys(FACT_CLASSES).sort()).toEqual([...named].sort())
  })
})

describe('rooms', () => {
  it('config is known to the rooms as a type only', () => {
    const rooms = SOURCES.filter((path) => /^src\/(platform|http|oidc|interaction|features)\//.test(path))
    const values = rooms.filter((path) =>
      importsOf(path).some(({ from, typeOnly }) => /\/config\/\w+\.ts$/.test(from) && !typeOnly),
    )
    expect(values).toEqual([])
  })

  it('the environment is read in config/config.ts and the command line in main.ts only', () => {
    expect(SOURCES.filter((path) => path !== 'src/config/config.ts' && /process\.env\b/.test(read(path)))).toEqual([])
    expect(SOURCES.filter((path) => path !== 'src/main.ts' && /process\.argv\b/.test(read(path)))).toEqual([])
  })

  it('only platform begins, commits and rolls back', () => {
    const others = SOURCES.filter((path) => !path.startsWith('src/platform/'))
    expect(
      others.filter((path) => /\.(commit|rollback|savepoint)\(|['"`](begin|commit|rollback)['"`]/i.test(read(path))),
    ).toEqual([])
  })

  it('classes are errors, or what a library wants extended', () => {
    const library = ['ExternalSigningKey', 'PGliteClient']
    const strangers = SOURCES.flatMap((path) =>
      [...read(path).matchAll(/^(?:export )?(?:abstract )?class (\w+)(?:<[^{]*?>)?(?: extends (\w+))?/gm)]
        .filter(([, , parent = '']) => !parent.endsWith('Error') && !library.includes(parent))
        .map(([, name]) => `${path}: ${name}`),
    )
    expect(strangers).toEqual([])
  })

  it('relative imports name the TypeScript file', () => {
    const wrong = TYPESCRIPT.flatMap((path) =>
      importsOf(path)
        .filter(({ from }) => from.startsWith('.') && !/\.(ts|json)$/.test(from))
        .map(({ from }) => `${path}: ${from}`),
    )
    expect(wrong).toEqual([])
  })
})

/** A registry that lacks a platform's package makes npm leave it out of the lock file; `npm ci` then refuses everywhere. */
it('the lock file names the optional packages of every platform', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>
  }
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter((name) => {
      const places = [`${path}/node_modules/${name}`, `node_modules/${name}`]
      return !places.some((place) => place in packages)
    }),
  )
  expect(missing).toEqual([])
})

/** File and reason of every suppression that was agreed on. It starts empty, and each new line needs its reason here. */
const SUPPRESSIONS: readonly { readonly file: string; readonly reason: string }[] = []

it('nobody switched a rule off', () => {
  const marks = new RegExp(
    [
      'biome-' + 'ignore',
      '@ts-' + '(ignore|expect-error|nocheck)',
      'depcruise-' + 'ignore',
      'c8 ' + 'ignore',
      'as ' + 'any\\b',
    ].join('|'),
  )
  const config = filesUnder('config').concat('biome.json', 'tsconfig.json', 'package.json')
  const found = [...TYPESCRIPT, ...config].flatMap((path) =>
    read(path)
      .split('\n')
      .filter((line) => marks.test(line))
      .map(() => path),
  )
  expect(found.sort()).toEqual(SUPPRESSIONS.map(({ file }) => file).sort())
})
