/** Just enough HTML for our own pages: forms with their fields, links, title and visible text. Not a general parser. */

export interface Field {
  readonly name: string
  readonly type: string
  readonly value: string
  readonly checked: boolean
  readonly attributes: { readonly [name: string]: string }
}

export interface Form {
  readonly action: string
  readonly method: 'get' | 'post'
  readonly attributes: { readonly [name: string]: string }
  readonly fields: readonly Field[]
}

export interface Link {
  readonly href: string
  readonly text: string
}

const ENTITIES: { readonly [name: string]: string } = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: '\u00a0',
}

function decodeEntities(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|([a-z]+));/gi, (whole, hex, decimal, name) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal))
    return ENTITIES[String(name).toLowerCase()] ?? whole
  })
}

function attributesOf(tag: string): Record<string, string> {
  const attributes: Record<string, string> = {}
  for (const [, name = '', double, single, bare] of tag.matchAll(
    /\s([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?/g,
  )) {
    attributes[name.toLowerCase()] = decodeEntities(double ?? single ?? bare ?? '')
  }
  return attributes
}

const TAG = (name: string) => `<${name}((?:\\s(?:"[^"]*"|'[^']*'|[^'">])*)?)>`

/** Every form of the page in order. */
export function formsOf(html: string): Form[] {
  return [...html.matchAll(new RegExp(`${TAG('form')}([\\s\\S]*?)</form>`, 'gi'))].map(([, tag = '', body = '']) => {
    const attributes = attributesOf(tag)
    return {
      action: attributes.action ?? '',
      method: attributes.method?.toLowerCase() === 'post' ? 'post' : 'get',
      attributes,
      fields: fieldsOf(body),
    }
  })
}

function fieldsOf(html: string): Field[] {
  const pattern = new RegExp(
    `${TAG('input')}|${TAG('button')}|${TAG('textarea')}([\\s\\S]*?)</textarea>|${TAG('select')}([\\s\\S]*?)</select>`,
    'gi',
  )
  return [...html.matchAll(pattern)].map(([, input, button, textarea, content = '', select, options = '']) => {
    const attributes = attributesOf(input ?? button ?? textarea ?? select ?? '')
    const fallback = input === undefined ? (button === undefined ? 'textarea' : 'submit') : 'text'
    const type = select === undefined ? (attributes.type ?? fallback) : 'select'
    const typed = type === 'checkbox' ? 'on' : ''
    const value =
      select !== undefined ? selected(options) : textarea !== undefined ? decodeEntities(content) : undefined
    return {
      name: attributes.name ?? '',
      type,
      value: value ?? attributes.value ?? typed,
      checked: 'checked' in attributes,
      attributes,
    }
  })
}

function selected(options: string): string {
  const all = [...options.matchAll(new RegExp(TAG('option'), 'gi'))].map(([, tag = '']) => attributesOf(tag))
  return (all.find((option) => 'selected' in option) ?? all[0])?.value ?? ''
}

/** Every link of the page in order. */
export function linksOf(html: string): Link[] {
  return [...html.matchAll(new RegExp(`${TAG('a')}([\\s\\S]*?)</a>`, 'gi'))].map(([, tag = '', body = '']) => ({
    href: attributesOf(tag).href ?? '',
    text: textOf(body),
  }))
}

export function titleOf(html: string): string {
  return decodeEntities(/<title[^>]*>([\s\S]*?)<\/title>/i.exec(html)?.[1] ?? '').trim()
}

/** What a person reads, white space collapsed. */
export function textOf(html: string): string {
  const visible = html.replace(/<(script|style|head|template)\b[\s\S]*?<\/\1>/gi, ' ').replace(/<!--[\s\S]*?-->/g, ' ')
  return decodeEntities(visible.replace(/<[^>]*>/g, ' '))
    .replace(/\s+/g, ' ')
    .trim()
}
