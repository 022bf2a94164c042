/**
 * The templates of pages and mails, and an operator's own beside them. An override says which version of the contract it
 * was written for, extends ours and fills blocks: what it does not touch goes on changing with us. All of them are checked
 * at start, so that an upgrade which moved a block is met by the operator and not by a person on the sign-in page.
 * Templates are code: they cannot be confined, and whoever may write the folder is trusted like the configuration.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import nunjucks from 'nunjucks'
import { encode } from 'uqr'
import { AppError } from '../errors.ts'

/** Counted up when a block goes or means something else. Blocks may be added within a version. */
export const CONTRACT_VERSION = 1
/** Under this prefix an override reaches the template that it stands in front of. */
const OURS = 'genkan/'
const MARK = /^\{#-?\s*genkan-templates:\s*(\S+)\s*-?#\}\s*/
const OPTIONS = { throwOnUndefined: true, trimBlocks: true, lstripBlocks: true }

type Sources = ReadonlyMap<string, string>

/** Blocks by template that an override may fill: its own, and those of the layouts that it extends by name. */
export type Contract = { readonly [template: string]: readonly string[] }

/** Where an operator's templates are. */
export interface Overrides {
  readonly directory: string
  /** ", did you mean …?" for a name that is not known, or nothing. */
  readonly suggestion: (name: string, known: readonly string[]) => string
}

export interface Templates {
  /** A rendering environment over the templates; `autoescape` is for HTML. */
  environment(autoescape: boolean): nunjucks.Environment
  /** Parses every template of ours: not for a start that has no overrides to check. */
  contract(): Contract
}

/**
 * Reads our templates and the overrides.
 * @throws {AppError} with every problem of every override
 */
export function readTemplates(viewsDir: string, overrides?: Overrides): Templates {
  const ours = readSources(viewsDir, (name) => name.endsWith('.njk'))
  const theirs = overrides === undefined ? new Map<string, string>() : readOverrides(overrides.directory)
  const environment = (autoescape: boolean) => withFilters(loaderOf(ours, theirs), autoescape)
  if (overrides !== undefined) {
    const check = { contract: contractOf(ours), compiled: environment(true), suggestion: overrides.suggestion }
    const problems = [...theirs].flatMap(([name, source]) => problemsOf(name, source, check))
    if (problems.length > 0) throw refused(problems)
  }
  return { environment, contract: () => contractOf(ours) }
}

function readOverrides(directory: string): Sources {
  if (!existsSync(directory)) throw refused([`${directory}: is not there`])
  return readSources(directory, () => true)
}

function refused(problems: readonly string[]): AppError {
  return new AppError('invalid_request', { detail: `the templates have problems:\n  ${problems.join('\n  ')}` })
}

function readSources(directory: string, wanted: (name: string) => boolean): Map<string, string> {
  const names = filesIn(directory).filter(wanted).sort()
  return new Map(names.map((name) => [name, readFileSync(join(directory, name), 'utf8')] as const))
}

/** Links are followed and hidden names passed by: that is how Kubernetes mounts files. */
function filesIn(directory: string, below = ''): string[] {
  const names = readdirSync(join(directory, below)).filter((name) => !name.startsWith('.'))
  return names.flatMap((name) => {
    const isFolder = statSync(join(directory, below, name)).isDirectory()
    return isFolder ? filesIn(directory, `${below}${name}/`) : [`${below}${name}`]
  })
}

function loaderOf(ours: Sources, theirs: Sources): nunjucks.ILoader {
  const find = (name: string) =>
    name.startsWith(OURS) ? ours.get(name.slice(OURS.length)) : (theirs.get(name) ?? ours.get(name))
  return {
    getSource(name) {
      const src = find(name)
      // The engine's own word for "not found", which the types leave out.
      return (src === undefined ? null : { src, path: name, noCache: false }) as nunjucks.LoaderSource
    },
  }
}

function withFilters(loader: nunjucks.ILoader, autoescape: boolean): nunjucks.Environment {
  return (
    new nunjucks.Environment(loader, { ...OPTIONS, autoescape })
      // The letter of a picture that is not there: by code point, or half an emoji would be shown.
      .addFilter('initial', (name: string) => ([...name.trim()][0] ?? '').toUpperCase())
      .addFilter('at', (error: FormError | undefined, field: string) =>
        error === undefined ? undefined : [error, ...(error.others ?? [])].find((each) => each.field === field),
      )
      .addFilter('qr', qrSquares)
      .addFilter('most', (rows: readonly { value: number }[]) => Math.max(1, ...rows.map(({ value }) => value)))
  )
}

/** What is wrong with a form: with one of its fields, and with others. */
interface FormError {
  readonly field?: string | undefined
  readonly others?: readonly FormError[] | undefined
}

/** The dark squares of a QR code (ISO/IEC 18004) as one path, with the quiet zone of four squares that scanners need. */
function qrSquares(text: string): { size: number; path: string } {
  const { size, data } = encode(text, { ecc: 'M', border: 4 })
  const path = data.flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${x} ${y}h1v1h-1z`] : []))).join('')
  return { size, path }
}

/** What is used of nunjucks' syntax tree, which has no types. */
interface Node {
  readonly typename: string
  readonly children?: readonly Node[]
  readonly template?: Node
  readonly name?: Node
  readonly value?: unknown
  findAll(type: unknown): Node[]
}
const { parser, nodes } = nunjucks as unknown as {
  parser: { parse(source: string, extensions: readonly unknown[], options: object): Node }
  nodes: { Block: unknown; Extends: unknown; Filter: unknown; Import: unknown; FromImport: unknown; Include: unknown }
}
const parse = (source: string) => parser.parse(source, [], OPTIONS)
const blocksOf = (tree: Node) => tree.findAll(nodes.Block).map((block) => String(block.name?.value))

function contractOf(ours: Sources): Contract {
  const trees = new Map([...ours].map(([name, source]) => [name, parse(source)] as const))
  const blocks = (name: string): string[] => {
    const tree = trees.get(name)
    if (tree === undefined) return []
    const parents = tree.findAll(nodes.Extends).map((parent) => String(parent.template?.value))
    return [...new Set([...blocksOf(tree), ...parents.flatMap(blocks)])].sort()
  }
  const all = [...ours.keys()].map((name) => [name, blocks(name)] as const)
  return Object.fromEntries(all.filter(([, names]) => names.length > 0))
}

/** What an override may have at its top, besides blocks: the line that extends ours, macros, comments, blanks. */
const BESIDE_BLOCKS = ['Extends', 'Import', 'FromImport', 'Block']

interface Check extends Pick<Overrides, 'suggestion'> {
  readonly contract: Contract
  readonly compiled: nunjucks.Environment
}

function problemsOf(name: string, source: string, { contract, compiled, suggestion }: Check): string[] {
  const allowed = contract[name]
  if (allowed === undefined) return [`${name}: overrides no template of ours${suggestion(name, Object.keys(contract))}`]
  const version = MARK.exec(source)?.[1]
  if (version !== String(CONTRACT_VERSION)) {
    const has = version === undefined ? 'does not begin with its version' : `was written for version ${version}`
    return [`${name}: ${has}; the first line must be {# genkan-templates: ${CONTRACT_VERSION} #}`]
  }
  try {
    const tree = parse(source)
    const problems = shapeProblems(tree, name)
    const unknown = [...new Set(blocksOf(tree))].filter((block) => !allowed.includes(block))
    problems.push(...unknown.map((block) => `has an unknown block ${block}${suggestion(block, allowed)}`))
    problems.push(...strangeNames(tree, compiled))
    if (problems.length === 0) compiled.getTemplate(name, true)
    return problems.map((problem) => `${name}: ${problem}`)
  } catch (error) {
    return [
      `${name}: ${String((error as Error).message)
        .replace(/\s+/g, ' ')
        .trim()}`,
    ]
  }
}

/** Filters and files that the engine would look for when a person asks for the page, and not before. */
function strangeNames(tree: Node, compiled: nunjucks.Environment): string[] {
  const fails = (work: () => unknown) => {
    try {
      work()
      return false
    } catch {
      return true
    }
  }
  const filters = tree.findAll(nodes.Filter).map((filter) => String(filter.name?.value))
  const references = [nodes.Import, nodes.FromImport, nodes.Include].flatMap((type) => tree.findAll(type))
  const files = references.flatMap(({ template }) => (typeof template?.value === 'string' ? [template.value] : []))
  return [
    ...filters
      .filter((filter) => fails(() => compiled.getFilter(filter)))
      .map((name) => `has an unknown filter ${name}`),
    ...files
      .filter((file) => fails(() => compiled.getTemplate(file)))
      .map((file) => `uses ${file}, which is not there`),
  ]
}

function shapeProblems(tree: Node, name: string): string[] {
  const statements = (tree.children ?? []).filter((node) => !isBlank(node))
  const parent = statements.find(({ typename }) => typename === 'Extends')?.template?.value
  const problems = parent === OURS + name ? [] : [`must extend ours: {% extends "${OURS}${name}" %}`]
  const strange = statements.find(({ typename }) => !BESIDE_BLOCKS.includes(typename))
  if (strange !== undefined) problems.push('may have nothing but blocks (and imports of macros) at its top')
  return problems
}

/** White space between blocks. */
function isBlank({ typename, children = [] }: Node): boolean {
  return typename === 'Output' && children.every(({ value }) => typeof value === 'string' && value.trim() === '')
}
