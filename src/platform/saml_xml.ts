/**
 * XML as strangers send it, read with the parser that the signatures are checked with, so that both see one document. Bounded
 * before it is parsed; no document type, so no entities and nothing external.
 */
import { createRequire } from 'node:module'

interface XmlNode {
  readonly nodeType: number
  readonly nodeName: string
  readonly nodeValue: string | null
  readonly parentNode: XmlNode | null
  readonly childNodes: ArrayLike<XmlNode>
}

interface XmlName {
  readonly localName: string
  readonly namespaceURI: string | null
}

/** What is used of a DOM element. */
export interface XmlElement extends XmlNode, XmlName {
  readonly textContent: string | null
  readonly attributes: ArrayLike<XmlNode & XmlName & { readonly value: string }>
  hasAttribute(name: string): boolean
  getAttribute(name: string): string | null
  getAttributeNS(namespace: string, name: string): string | null
}

interface Parser {
  parseFromString(text: string, type: string): XmlNode & { readonly documentElement: XmlElement | null }
}

/** Not imported, because its types bring those of browsers, and `window` would be a name that compiles everywhere. */
const require = createRequire(import.meta.url)
const { DOMParser } = require('@xmldom/xmldom') as { readonly DOMParser: new (options: object) => Parser }

export const SAML = 'urn:oasis:names:tc:SAML:2.0:assertion'
export const SAMLP = 'urn:oasis:names:tc:SAML:2.0:protocol'
export const METADATA = 'urn:oasis:names:tc:SAML:2.0:metadata'
export const DSIG = 'http://www.w3.org/2000/09/xmldsig#'
export const XENC = 'http://www.w3.org/2001/04/xmlenc#'

/** XML that is not read; the message is a constant. */
export class XmlError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'XmlError'
  }
}

export interface XmlBounds {
  readonly characters: number
  /** Tags, open and close, and whatever else begins with `<`. */
  readonly tags: number
  /** Namespace declarations: the parser copies those in scope for every element that adds one. */
  readonly namespaces: number
  /** Equals signs: at least one for each attribute. */
  readonly attributes: number
}

const DEPTH = 40
const ELEMENT = 1
const TEXT = 3

/**
 * The root element of a document that is nothing but elements, attributes and text. Comments and CDATA sections are refused
 * too, since libraries differ in what text they leave (comment injection), unless `comments` says that they cut no text.
 * @throws {XmlError}
 */
export function readXml(text: string, bounds: XmlBounds, { comments = false } = {}): XmlElement {
  if (text.length > bounds.characters) throw new XmlError('too long')
  const { tags, namespaces, attributes } = bounds
  if (count(text, '<') > tags || count(text, 'xmlns') > namespaces || count(text, '=') > attributes) {
    throw new XmlError('too many elements')
  }
  const markup = text.replace(/^\s*<\?xml\s[^<>]*\?>/, '')
  if (/<!(?!--)/.test(markup) || markup.includes('<?')) throw new XmlError('document type or instruction')
  if (!comments && markup.includes('<!')) throw new XmlError('comment')
  const root = parse(comments ? withoutComments(markup) : markup)
  for (const { element, depth } of walk(root)) {
    if (depth > DEPTH) throw new XmlError('too deep')
    if ([element, ...Array.from(element.attributes)].some(isUnbound)) throw new XmlError('not well-formed')
  }
  return root
}

/** A prefix that means nothing, which this parser lets pass and others might not. */
const isUnbound = ({ nodeName, namespaceURI }: XmlNode & XmlName): boolean => nodeName.includes(':') && !namespaceURI

function withoutComments(text: string): string {
  let [kept = '', ...pieces] = text.split('<!--')
  for (const piece of pieces) {
    const end = piece.indexOf('-->')
    if (end < 0) throw new XmlError('not well-formed')
    kept += piece.slice(end + 3)
  }
  return kept
}

function parse(text: string): XmlElement {
  const refuse = (message: string) => {
    throw new XmlError('not well-formed', { cause: message })
  }
  const errorHandler = { warning: refuse, error: refuse, fatalError: refuse }
  let document: ReturnType<Parser['parseFromString']>
  try {
    document = new DOMParser({ locator: {}, errorHandler }).parseFromString(text, 'text/xml')
  } catch (cause) {
    throw new XmlError('not well-formed', { cause })
  }
  const others = Array.from(document.childNodes).filter((node) => node !== document.documentElement)
  const stray = others.some((node) => node.nodeType !== TEXT || (node.nodeValue ?? '').trim() !== '')
  if (document.documentElement === null || stray) throw new XmlError('not one element')
  return document.documentElement
}

const count = (text: string, part: string): number => text.split(part).length - 1

/** Every element from `root` on, in document order, without recursion: depth is the sender's to choose. */
export function* walk(root: XmlElement): Generator<{ readonly element: XmlElement; readonly depth: number }> {
  const waiting = [{ element: root, depth: 0 }]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    yield next
    const depth = next.depth + 1
    waiting.push(
      ...elements(next.element)
        .map((element) => ({ element, depth }))
        .reverse(),
    )
  }
}

/** The child elements. */
export function elements(parent: XmlElement): XmlElement[] {
  return Array.from(parent.childNodes).filter((node): node is XmlElement => node.nodeType === ELEMENT)
}

export const isNamed = (element: XmlElement, namespace: string, name: string): boolean =>
  element.namespaceURI === namespace && element.localName === name

/** Child elements of this name. */
export const children = (parent: XmlElement, namespace: string, name: string): XmlElement[] =>
  elements(parent).filter((element) => isNamed(element, namespace, name))

/** The one child of this name; undefined when there is none or there are several. */
export function onlyChild(parent: XmlElement | undefined, namespace: string, name: string): XmlElement | undefined {
  const found = parent === undefined ? [] : children(parent, namespace, name)
  return found.length === 1 ? found[0] : undefined
}

/** An attribute without a namespace; undefined when absent. */
export const attribute = (element: XmlElement | undefined, name: string): string | undefined =>
  element?.hasAttribute(name) === true ? (element.getAttribute(name) ?? undefined) : undefined

/** The text of an element that holds nothing but text; undefined when it holds elements, or is absent. */
export function textOf(element: XmlElement | undefined): string | undefined {
  if (element === undefined || elements(element).length > 0) return undefined
  return element.textContent ?? ''
}

/** Milliseconds since the epoch of an `xs:dateTime` in UTC (SAML Core 1.3.3); undefined for everything else. */
export function instantOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(text)) return undefined
  const time = Date.parse(text)
  return Number.isNaN(time) ? undefined : time
}
