/**
 * CSS that an operator brings, held to what can change looks only. It is parsed, compared node by node with what is allowed,
 * and written anew from the tree: no text of its own ever reaches a browser. What could load anything, read an attribute's
 * value or show it (A97, A98: exfiltration by selector, by import, by font) is refused, told with its line.
 */
import { createRequire } from 'node:module'
import type * as css from 'css-tree'

export interface CssProblem {
  readonly line: number
  readonly column: number
  readonly message: string
}

export type CheckedCss =
  | { readonly ok: true; readonly css: string }
  | { readonly ok: false; readonly problems: readonly CssProblem[] }

const require = createRequire(import.meta.url)

/** A hundred modules and the grammar of every property: loaded when there is CSS to check, which most starts have none of. */
const cssTree = () => require('css-tree') as typeof css

const MOST_CSS_BYTES = 32 * 1024
const MOST_PROBLEMS = 20

const AT_RULES = new Set(['media', 'supports', 'container', 'keyframes'])

/** Functions that compute colours, lengths, shapes and movements. None loads, none reads the document. */
const FUNCTIONS = new Set(
  `var env calc min max clamp round mod rem abs sign sin cos tan pow sqrt hypot rgb rgba hsl hsla hwb lab lch oklab oklch
  color color-mix light-dark linear-gradient radial-gradient conic-gradient repeating-linear-gradient
  repeating-radial-gradient repeating-conic-gradient translate translatex translatey translate3d rotate rotatex rotatey
  rotatez scale scalex scaley skew skewx skewy matrix perspective cubic-bezier steps linear blur brightness contrast
  drop-shadow grayscale hue-rotate invert opacity saturate sepia repeat minmax fit-content circle ellipse inset polygon
  counter counters selector`.split(/\s+/),
)

/** Attributes whose value a selector may compare: fixed words of ours, never what a person typed or a token. */
const COMPARED = new Set(['type', 'dir', 'aria-current', 'aria-pressed'])

/** Old engines run script or load markup through these. */
const PROPERTIES_REFUSED = /^(-moz-binding|behavior|-ms-behavior)$/i

/** Everything else of the grammar (Raw above all: what could not be parsed) is refused. */
const NODES: ReadonlySet<string> = new Set(
  `StyleSheet Rule SelectorList Selector Block Declaration DeclarationList Value Atrule AtrulePrelude MediaQueryList
  MediaQuery Condition Feature FeatureRange FeatureFunction SupportsDeclaration NestingSelector TypeSelector ClassSelector
  IdSelector AttributeSelector PseudoClassSelector PseudoElementSelector Combinator Percentage Nth AnPlusB Identifier
  String Number Dimension Hash Operator Function Parentheses Ratio WhiteSpace Comment`.split(/\s+/),
)

/** Checks a whole stylesheet. */
export function checkStylesheet(text: string): CheckedCss {
  if (Buffer.byteLength(text) > MOST_CSS_BYTES) {
    return refused(`is longer than ${MOST_CSS_BYTES / 1024} KiB`)
  }
  return check(text, 'stylesheet', false)
}

/**
 * Checks the CSS inside a picture: a `<style>` or, with `declarationList`, a `style` attribute. References to parts of the
 * same picture, `url(#id)`, are allowed there.
 */
export const checkPictureCss = (text: string, context: 'stylesheet' | 'declarationList'): CheckedCss =>
  check(text, context, true)

function check(text: string, context: 'stylesheet' | 'declarationList', localUrls: boolean): CheckedCss {
  const problems: CssProblem[] = []
  const report = (line: number, column: number, message: string) => {
    if (problems.length < MOST_PROBLEMS) problems.push({ line, column, message })
  }
  if (/\0|<!--|-->|<\//.test(text)) report(1, 1, 'has characters of HTML or NUL, which CSS has no use for')
  try {
    const tree = cssTree().parse(text, {
      context,
      positions: true,
      parseCustomProperty: true,
      onParseError: ({ message, line, column }) => report(line, column, message),
    })
    cssTree().walk(tree, (node) => {
      const message = problemOf(node, localUrls)
      if (message !== undefined) report(node.loc?.start.line ?? 1, node.loc?.start.column ?? 1, message)
    })
    if (problems.length > 0) return { ok: false, problems }
    cssTree().walk(tree, {
      visit: 'Comment',
      enter: (_node, item, list) => list?.remove(item),
    })
    return { ok: true, css: cssTree().generate(tree) }
  } catch (error) {
    // Thousands of nested brackets.
    if (error instanceof RangeError) return refused('is nested too deeply')
    throw error
  }
}

const refused = (message: string): CheckedCss => ({ ok: false, problems: [{ line: 1, column: 1, message }] })

function problemOf(node: css.CssNode, localUrls: boolean): string | undefined {
  const { type } = node
  if (type === 'Url') {
    return localUrls && /^#[\w.-]+$/.test(node.value) ? undefined : 'url() is not allowed: nothing may be loaded'
  }
  if (!NODES.has(type)) {
    return type === 'Raw' ? `${quoted(cssTree().generate(node))} could not be understood` : `${type} is not allowed`
  }
  if ('name' in node && typeof node.name === 'string' && node.name.includes('\\')) {
    // An escape could spell a refused name in a way that only browsers read.
    return 'names with backslashes are not allowed'
  }
  switch (node.type) {
    case 'Atrule':
      return AT_RULES.has(node.name.toLowerCase()) ? undefined : `@${node.name} is not allowed`
    case 'Function':
      return FUNCTIONS.has(node.name.toLowerCase()) ? undefined : `${node.name}() is not allowed`
    case 'Declaration':
      if (node.property.includes('\\')) return 'names with backslashes are not allowed'
      return PROPERTIES_REFUSED.test(node.property) ? `${node.property} is not allowed` : undefined
    case 'AttributeSelector':
      return attributeProblem(node)
    default:
      return undefined
  }
}

function attributeProblem({ name, matcher }: css.AttributeSelector): string | undefined {
  if (matcher === null) return undefined
  if (matcher === '=' && COMPARED.has(name.name.toLowerCase())) return undefined
  return `[${name.name}${matcher}…] is not allowed: selectors may not tell what an attribute holds`
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)
}
