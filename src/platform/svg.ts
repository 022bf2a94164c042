/**
 * An SVG picture read by a parser that knows no more of XML than a drawing needs, compared with lists of what is allowed,
 * and written anew from the tree. Script, foreign content, animation and every reference out of the file are refused; what
 * drawing programs leave behind (metadata, their own attributes) is dropped (A98).
 */
import { checkPictureCss } from './custom_css.ts'
import { checkSize, type Picture, refusePicture } from './picture.ts'

interface Element {
  readonly name: string
  readonly attributes: Map<string, string>
  readonly children: (Element | string)[]
}

const SVG = 'http://www.w3.org/2000/svg'
const MOST_NODES = 5000
const MOST_DEPTH = 50
/** Elements drawn once every `use` is followed: twenty nested ones of ten copies each would be a bomb. */
const MOST_DRAWN = 20_000

const ELEMENTS = new Set(
  `svg g path rect circle ellipse line polyline polygon text tspan defs linearGradient radialGradient stop clipPath mask
  title desc use symbol style`.split(/\s+/),
)
const ATTRIBUTES = new Set(
  `id class d x y x1 y1 x2 y2 cx cy r rx ry fx fy dx dy width height points transform viewBox preserveAspectRatio fill
  fill-rule fill-opacity clip-rule clip-path clipPathUnits mask maskUnits maskContentUnits stroke stroke-width
  stroke-linecap stroke-linejoin stroke-miterlimit stroke-dasharray stroke-dashoffset stroke-opacity opacity offset
  stop-color stop-opacity gradientUnits gradientTransform spreadMethod color display visibility font-family font-size
  font-weight font-style text-anchor letter-spacing dominant-baseline textLength rotate pathLength vector-effect
  paint-order style href`.split(/\s+/),
)
/** Elements whose text is theirs; elsewhere it is white space between tags. */
const WITH_TEXT = new Set(['text', 'tspan', 'title', 'desc', 'style'])

/** Whether a file can be nothing else: its first tag decides, whatever it is called. */
export const isSvg = (file: Buffer): boolean => /^\uFEFF?\s*<(\?xml|!--|svg)/.test(file.toString('utf8', 0, 200))

/**
 * Reads and rewrites an SVG.
 * @throws {PictureError} naming what is wrong
 */
export function cleanSvg(file: Buffer): Picture {
  const root = parse(textOf(file))
  if (root.name !== 'svg' || root.attributes.get('xmlns') !== SVG)
    refusePicture('has no svg element of the SVG namespace')
  const clean = keep(root)
  if (clean === undefined) return refusePicture('has nothing in it')
  checkUses(clean)
  const { width, height } = sizeOf(clean)
  clean.attributes.set('width', String(width))
  clean.attributes.set('height', String(height))
  return { type: 'image/svg+xml', width, height, body: Buffer.from(write(clean, ` xmlns="${SVG}"`)) }
}

function textOf(file: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(file)
  } catch {
    return refusePicture('is not UTF-8')
  }
}

const NAME = '[A-Za-z_][\\w.-]*(?::[A-Za-z_][\\w.-]*)?'
const COMMENT = /<!--(?:(?!--)[\s\S])*-->/y
const DECLARATION = /<\?xml\s[^<>?]*\?>/y
const OPEN = new RegExp(`<(${NAME})`, 'y')
const ATTRIBUTE = new RegExp(`\\s+(${NAME})\\s*=\\s*(?:"([^"<]*)"|'([^'<]*)')`, 'y')
const TAG_END = /\s*(\/?)>/y
const CLOSE = new RegExp(`</(${NAME})\\s*>`, 'y')
const TEXT = /[^<]+/y

/** Elements, attributes, text and comments; no DOCTYPE, no entities but XML's five, no instructions, no CDATA. */
function parse(source: string): Element {
  let at = 0
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at
    const found = pattern.exec(source)
    if (found !== null) at = pattern.lastIndex
    return found
  }
  const document: Element = { name: '', attributes: new Map(), children: [] }
  const open = [document]
  let nodes = 0
  match(/\s*/y)
  match(DECLARATION)
  while (at < source.length) {
    if (++nodes > MOST_NODES || open.length > MOST_DEPTH) refusePicture('has too many or too deeply nested elements')
    const parent = open.at(-1) ?? document
    if (match(COMMENT) !== null) continue
    const text = match(TEXT)
    if (text !== null) {
      if (parent === document && text[0].trim() !== '') refusePicture('has text outside of its drawing')
      parent.children.push(decode(text[0]))
      continue
    }
    const closing = match(CLOSE)
    if (closing !== null) {
      if (open.pop()?.name !== closing[1] || open.length === 0)
        refusePicture(`closes ${closing[1]} where it is not open`)
      continue
    }
    const name = match(OPEN)?.[1]
    if (name === undefined) return refusePicture(`has something that drawings have no use for: ${shown(source, at)}`)
    if (parent === document && document.children.some((child) => typeof child !== 'string')) {
      refusePicture('goes on after its end')
    }
    const element: Element = { name, attributes: attributesOf(match), children: [] }
    const end = match(TAG_END)
    if (end === null) refusePicture(`has a broken tag ${name}`)
    parent.children.push(element)
    if (end[1] === '') open.push(element)
  }
  const root = document.children.find((child): child is Element => typeof child !== 'string')
  if (open.length > 1 || root === undefined) return refusePicture('is cut off')
  return root
}

function attributesOf(match: (pattern: RegExp) => RegExpExecArray | null): Map<string, string> {
  const attributes = new Map<string, string>()
  for (let found = match(ATTRIBUTE); found !== null; found = match(ATTRIBUTE)) {
    const [, name = '', double, single] = found
    if (attributes.has(name)) refusePicture(`has the attribute ${name} twice`)
    attributes.set(name, decode(double ?? single ?? ''))
  }
  return attributes
}

const ENTITIES: { readonly [name: string]: string } = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function decode(text: string): string {
  const decoded = text.replace(/&([^;&\s]{0,10};?)/g, (_, entity: string) => {
    const [, hex, decimal, name] = /^(?:#x([0-9a-f]{1,6})|#(\d{1,7})|([a-z]+));$/i.exec(entity) ?? []
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
    const found = name === undefined ? (code <= 0x10ffff ? String.fromCodePoint(code) : undefined) : ENTITIES[name]
    return found ?? refusePicture('has an entity that is none of XML’s own')
  })
  if (/[^\P{C}\t\n\r]/u.test(decoded.replace(/\p{Cf}/gu, ''))) refusePicture('has control characters')
  return decoded
}

function shown(source: string, at: number): string {
  return JSON.stringify(source.slice(at, at + 20).replace(/[^\x20-\x7E]/g, '?'))
}

/** The element with what is allowed of it; undefined when a drawing program left it behind. */
function keep(element: Element): Element | undefined {
  const { name } = element
  if (name === 'metadata' || name.includes(':')) return undefined
  if (!ELEMENTS.has(name)) refusePicture(`has the element ${name}, which logos may not have`)
  const attributes = new Map<string, string>()
  for (const [attribute, value] of element.attributes) {
    if (/^on/i.test(attribute)) refusePicture(`has the event handler ${attribute}`)
    const plain = attribute.toLowerCase().endsWith(':href') ? 'href' : attribute
    if (!ATTRIBUTES.has(plain)) continue
    attributes.set(plain, checkedValue(plain, value, name))
  }
  const children = element.children.flatMap((child): (Element | string)[] => {
    if (typeof child === 'string') return WITH_TEXT.has(name) ? [child] : []
    const kept = keep(child)
    return kept === undefined ? [] : [kept]
  })
  return { name, attributes, children: name === 'style' ? [styleOf(children)] : children }
}

function checkedValue(attribute: string, value: string, element: string): string {
  if (attribute === 'href') {
    const isLocal = /^#[\w.-]+$/.test(value)
    if (!isLocal) refusePicture(`refers to ${JSON.stringify(value.slice(0, 40))}, outside of itself`)
    return value
  }
  if (attribute === 'style') return cssOf(value, 'declarationList')
  if (value.includes('\\')) refusePicture(`has a backslash in ${attribute} of ${element}`)
  // Presentation attributes are CSS: every function they call must be a reference inside the file or a plain computation.
  for (const [, called = '', argument = ''] of value.matchAll(/([\w-]+)\s*\(([^)]*)/g)) {
    const known = /^(rgba?|hsla?|matrix|translate|scale|rotate|skewX|skewY)$/.test(called)
    if (!known && !(called === 'url' && /^\s*(['"]?)#[\w.-]+\1\s*$/.test(argument))) {
      refusePicture(`has ${called}(…) in ${attribute}, which may lead outside`)
    }
  }
  return value
}

function styleOf(children: readonly (Element | string)[]): string {
  if (children.some((child) => typeof child !== 'string')) refusePicture('has elements inside of style')
  return cssOf(children.join(''), 'stylesheet')
}

function cssOf(text: string, context: 'stylesheet' | 'declarationList'): string {
  const checked = checkPictureCss(text, context)
  return checked.ok
    ? checked.css
    : refusePicture(`has CSS where ${checked.problems[0]?.message ?? 'something is wrong'}`)
}

/** Follows every `use`: no circle, and no more drawn in the end than a logo can want. */
function checkUses(root: Element): void {
  const byId = new Map<string, Element>()
  const index = (element: Element) => {
    const id = element.attributes.get('id')
    if (id !== undefined) byId.set(id, element)
    for (const child of element.children) if (typeof child !== 'string') index(child)
  }
  index(root)
  const sizes = new Map<Element, number>()
  const size = (element: Element, above: ReadonlySet<Element>): number => {
    if (above.has(element)) return refusePicture('draws itself inside of itself')
    const known = sizes.get(element)
    if (known !== undefined) return known
    const inside = new Set([...above, element])
    const target = byId.get((element.attributes.get('href') ?? '').slice(1))
    let sum = 1
    for (const child of element.children) if (typeof child !== 'string') sum += size(child, inside)
    if (element.name === 'use' && target !== undefined) sum += size(target, inside)
    if (sum > MOST_DRAWN) refusePicture('draws too much with use')
    sizes.set(element, sum)
    return sum
  }
  size(root, new Set())
}

function sizeOf({ attributes }: Element): { width: number; height: number } {
  const length = (text = '') => (/^\s*\d+(\.\d+)?(px)?\s*$/.test(text) ? Number.parseFloat(text) : Number.NaN)
  const [, , boxWidth = 0, boxHeight = 0] = (attributes.get('viewBox') ?? '')
    .trim()
    .split(/[\s,]+/)
    .map(Number)
  const width = length(attributes.get('width'))
  const height = length(attributes.get('height'))
  if (width > 0 && height > 0) return checkSize({ width, height })
  if (!(boxWidth > 0 && boxHeight > 0)) return refusePicture('has neither a viewBox nor a width and a height in pixels')
  // Without a size of its own it has the shape of its box: as large as a header ever shows it, twice over.
  const scale = Math.min(256 / boxHeight, 1024 / boxWidth)
  const round = (value: number) => Math.max(1, Math.round(value * scale))
  return checkSize({ width: round(boxWidth), height: round(boxHeight) })
}

function write({ name, attributes, children }: Element, more = ''): string {
  const written = [...attributes].map(([attribute, value]) => ` ${attribute}="${escaped(value)}"`).join('')
  const inner = children.map((child) => (typeof child === 'string' ? escaped(child) : write(child))).join('')
  return inner === '' ? `<${name}${more}${written}/>` : `<${name}${more}${written}>${inner}</${name}>`
}

function escaped(text: string): string {
  return text.replace(
    /[&<>"]/g,
    (character) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[character] ?? '',
  )
}
