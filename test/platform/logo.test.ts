import { deflateSync } from 'node:zlib'
import { describe, expect, it } from '@jest/globals'
import { cleanLogo } from '../../src/platform/logo.ts'
import { PictureError } from '../../src/platform/picture.ts'
import { PNG_SIGNATURE, png, pngChunk, pngHeader } from '../support/png.ts'

const svg = (inner: string, attributes = 'viewBox="0 0 20 10"') =>
  `<svg xmlns="http://www.w3.org/2000/svg" ${attributes}>${inner}</svg>`
const clean = (file: string | Buffer) => cleanLogo(Buffer.isBuffer(file) ? file : Buffer.from(file))
const written = (file: string) => clean(file).body.toString()

/** Twenty levels of two copies each: a million drawings. */
const laughs = Array.from({ length: 20 }, (_, i) => `<g id="g${i + 1}"><use href="#g${i}"/><use href="#g${i}"/></g>`)

const HOSTILE_SVG: readonly (readonly [name: string, file: string, reason: RegExp])[] = [
  ['script', svg('<script>alert(1)</script>'), /element script/],
  ['script, upper case', svg('<SCRIPT>alert(1)</SCRIPT>'), /element SCRIPT/],
  ['script by reference', svg('<script href="https://evil.example/x.js"/>'), /element script/],
  ['event handler', svg('<path d="M0 0" onload="alert(1)"/>'), /onload/],
  ['event handler on the root', svg('', 'viewBox="0 0 1 1" onload="alert(1)"'), /onload/],
  ['event handler, upper case', svg('<path ONCLICK="alert(1)"/>'), /ONCLICK/],
  [
    'foreign content',
    svg('<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"/></foreignObject>'),
    /foreignObject/,
  ],
  ['HTML without a namespace', svg('<iframe src="https://evil.example"/>'), /iframe/],
  ['link', svg('<a href="javascript:alert(1)"><path d="M0 0"/></a>'), /element a/],
  ['remote image', svg('<image href="https://evil.example/x.png"/>'), /element image/],
  ['remote use', svg('<use href="https://evil.example/x.svg#a"/>'), /refers to/],
  ['remote use by xlink', svg('<use xlink:href="//evil.example/x.svg#a"/>'), /refers to/],
  ['use of data', svg('<use href="data:image/svg+xml,x#a"/>'), /refers to/],
  ['use of a script URL', svg('<use href=" javascript:alert(1)"/>'), /refers to/],
  [
    'animation of a reference',
    svg('<use href="#a"><set attributeName="href" to="//evil.example/#a"/></use>'),
    /element set/,
  ],
  ['animation', svg('<animate attributeName="x" values="0;1"/>'), /element animate/],
  ['remote fill', svg('<path fill="url(https://evil.example/#a)" d="M0 0"/>'), /url/],
  ['remote fill, escaped', svg('<path fill="u\\72l(//evil.example/#a)" d="M0 0"/>'), /backslash/],
  ['remote style', svg('<path style="fill: url(//evil.example)" d="M0 0"/>'), /url\(\)/],
  ['import in style', svg('<style>@import "https://evil.example";</style>'), /@import/],
  ['font in style', svg('<style>@font-face{font-family:x;src:url(//evil.example)}</style>'), /@font-face/],
  ['filter', svg('<filter id="f"><feImage href="https://evil.example/x"/></filter>'), /element filter/],
  ['DOCTYPE', `<!DOCTYPE svg>${svg('')}`, /neither|no use for/],
  [
    'entities (XXE)',
    `<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>${svg('<text>&x;</text>')}`,
    /no use/,
  ],
  ['an entity without a declaration', svg('<text>&x;</text>'), /entity/],
  ['stylesheet instruction', `<?xml version="1.0"?><?xml-stylesheet href="//evil.example/x.css"?>${svg('')}`, /no use/],
  ['CDATA', svg('<style><![CDATA[p{}]]></style>'), /no use/],
  ['HTML behind it', `${svg('')}<script>alert(1)</script>`, /goes on after its end/],
  ['text behind it', `${svg('')} GIF89a`, /outside/],
  ['a second root', svg('') + svg(''), /goes on/],
  ['HTML before it', `<html>${svg('')}</html>`, /neither/],
  ['HTML in a comment of its own parser', svg('<!-- --!><script>alert(1)</script> -->'), /script/],
  ['no namespace', '<svg viewBox="0 0 1 1"><path d="M0 0"/></svg>', /namespace/],
  ['another namespace', '<svg xmlns="http://www.w3.org/1999/xhtml" viewBox="0 0 1 1"/>', /namespace/],
  ['an attribute twice', svg('<path d="M0 0" d="M1 1"/>'), /twice/],
  ['unquoted attribute', svg('<path d=M0/>'), /broken tag/],
  ['unclosed', '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><g>', /cut off/],
  ['closed crosswise', svg('<g><path></g></path>'), /closes/],
  ['a bomb of use', svg(`<g id="g0"><path d="M0 0"/></g>${laughs.join('')}`), /draws too much/],
  ['a circle of use', svg('<g id="a"><use href="#a"/></g>'), /draws itself/],
  ['a pixel bomb', svg('', 'width="100000" height="100000"'), /larger than/],
  ['no size', svg('<path d="M0 0"/>', 'width="100%"'), /neither a viewBox/],
  ['deep nesting', svg('<g>'.repeat(60) + '</g>'.repeat(60)), /nested/],
  ['thousands of elements', svg('<path d="M0 0"/>'.repeat(6000)), /too many/],
  ['UTF-16', Buffer.from(svg(''), 'utf16le').toString('latin1'), /neither|UTF-8|no use/],
]

describe('A98: hostile SVG', () => {
  it.each(HOSTILE_SVG)('%s is refused', (_name, file, reason) => {
    expect(() => clean(file)).toThrow(PictureError)
    expect(() => clean(file)).toThrow(reason)
  })

  it('what drawing programs leave behind is dropped', () => {
    const body = written(`<?xml version="1.0" encoding="UTF-8"?>
      <!-- Generator: Drawing -->
      <svg xmlns="http://www.w3.org/2000/svg" xmlns:sodipodi="urn:x" viewBox="0 0 20 10" data-name="Layer 1">
        <metadata><rdf:RDF><script>alert(1)</script></rdf:RDF></metadata>
        <sodipodi:namedview onload="x"/><svg:script>alert(1)</svg:script>
        <path d="M0 0L1 1" sodipodi:nodetypes="cc" unknown="x"/>
      </svg>`)
    expect(body).toBe(
      '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10" width="512" height="256"><path d="M0 0L1 1"/></svg>',
    )
  })

  it('text and quotes come out as text', () => {
    const body = written(svg('<title>&lt;script&gt;&#60;b&#x3e; &amp;lt; "q"</title><text fill=\'"red"\'>a</text>'))
    expect(body).toContain('<title>&lt;script&gt;&lt;b&gt; &amp;lt; &quot;q&quot;</title>')
    expect(body).toContain('fill="&quot;red&quot;"')
    // Cleaning what is clean changes nothing.
    expect(written(body)).toBe(body)
  })
})

describe('SVG logos', () => {
  it('keep shapes, gradients, local references and their own styles', () => {
    const body = written(
      svg(
        `<defs><linearGradient id="a" gradientTransform="rotate(90)"><stop offset="0" stop-color="#fff"/></linearGradient></defs>
         <style>.b { fill: url(#a) }</style><g transform="translate(1 2)"><path class="b" d="M0 0" style="stroke: rgb(1,2,3)"/></g>
         <rect fill="url(#a)" width="3" height="4"/><use xlink:href="#a"/>`,
        'width="20px" height="10"',
      ),
    )
    for (const part of [
      'rotate(90)',
      '.b{fill:url(#a)}',
      'style="stroke:rgb(1,2,3)"',
      'fill="url(#a)"',
      '<use href="#a"/>',
    ])
      expect(body).toContain(part)
    expect(clean(svg('', 'width="20px" height="10"'))).toMatchObject({ type: 'image/svg+xml', width: 20, height: 10 })
  })
})

const row = Buffer.alloc((1 + 4 * 4) * 3)
const HOSTILE_PNG: readonly (readonly [name: string, file: Buffer, reason: RegExp])[] = [
  ['pixel bomb by width', png({ width: 65_535, height: 1, raw: row }), /larger than/],
  ['pixel bomb by height', png({ width: 1, height: 0x7fffffff, raw: row }), /larger than/],
  ['no pixels', png({ width: 0 }), /no size/],
  ['a zip bomb behind a small header', png({ raw: Buffer.alloc(64 * 1024 * 1024) }), /cannot be unpacked|another size/],
  ['one byte too much', png({ raw: Buffer.alloc(row.length + 1) }), /another size/],
  ['one byte too little', png({ raw: Buffer.alloc(row.length - 1) }), /another size/],
  ['HTML behind its end', png({ end: Buffer.from('<script>alert(1)</script>') }), /goes on after its end/],
  ['a ZIP behind its end', png({ end: Buffer.from('PK\x03\x04') }), /goes on after its end/],
  ['an unknown critical chunk', png({ before: [pngChunk('HTML', Buffer.from('<script>'))] }), /unknown chunk HTML/],
  ['a chunk without a name', png({ before: [pngChunk('<b>x', Buffer.alloc(0))] }), /without a name/],
  ['a second header', png({ before: [pngHeader({ width: 9 })] }), /twice/],
  [
    'scattered data',
    Buffer.concat([
      PNG_SIGNATURE,
      pngHeader({}),
      pngChunk('IDAT', deflateSync(row)),
      pngChunk('tEXt', row),
      pngChunk('IDAT', row),
      pngChunk('IEND', Buffer.alloc(0)),
    ]),
    /scattered/,
  ],
  ['no data', png({ idat: [] }), /no image data/],
  ['data that is no zlib', png({ idat: [Buffer.from('<script>alert(1)</script>')] }), /cannot be unpacked/],
  ['a filter that is none', png({ raw: Buffer.from(row).fill(9, 0, 1) }), /filter/],
  ['a colour type that is none', png({ colourType: 5 }), /header/],
  ['a depth that is none', png({ bits: 3 }), /header/],
  ['a palette too large', png({ colourType: 3, bits: 1, before: [pngChunk('PLTE', Buffer.alloc(9))] }), /palette/],
  ['indexed without a palette', png({ colourType: 3 }), /palette/],
  ['a wrong check sum', flip(png(), 30), /check sum/],
  ['cut off', png().subarray(0, 50), /cut off|no end/],
  ['a length beyond the file', lengthen(png()), /cut off/],
  ['the signature alone', PNG_SIGNATURE, /header|no end/],
]

function flip(file: Buffer, at: number): Buffer {
  const copy = Buffer.from(file)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

function lengthen(file: Buffer): Buffer {
  const copy = Buffer.from(file)
  copy.writeUInt32BE(0xffffffff, 33)
  return copy
}

describe('A98: hostile PNG', () => {
  it.each(HOSTILE_PNG)('%s is refused', (_name, file, reason) => {
    expect(() => clean(file)).toThrow(PictureError)
    expect(() => clean(file)).toThrow(reason)
  })

  it('a bomb is not unpacked to find out', () => {
    const bomb = png({ raw: Buffer.alloc(200 * 1024 * 1024) })
    const before = process.memoryUsage.rss()
    expect(() => clean(bomb)).toThrow(PictureError)
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024)
  })

  it('nothing but the picture survives: text, profiles, animation, and what hides behind the image data', () => {
    const hidden = Buffer.from('<script>alert(1)</script><?php system(1) ?>')
    const file = png({
      idat: [Buffer.concat([deflateSync(row), hidden])],
      before: [pngChunk('tEXt', hidden), pngChunk('iCCP', hidden), pngChunk('acTL', hidden)],
      after: [pngChunk('zTXt', hidden), pngChunk('fdAT', hidden)],
    })
    const { body, type, width, height } = clean(file)
    expect({ type, width, height }).toEqual({ type: 'image/png', width: 4, height: 3 })
    expect(body.toString('latin1')).not.toMatch(/script|php|tEXt|iCCP|acTL|zTXt|fdAT/)
    expect(body).toEqual(png())
    expect(clean(body).body).toEqual(body)
  })
})

describe('PNG logos', () => {
  it.each([
    ['interlaced', png({ width: 9, height: 9, interlace: 1, raw: Buffer.alloc(adam7(9, 9, 4)) })],
    ['grey of one bit', png({ width: 9, height: 2, bits: 1, colourType: 0, raw: Buffer.alloc(2 * 3) })],
    ['sixteen bits', png({ bits: 16, colourType: 2, raw: Buffer.alloc((1 + 4 * 6) * 3) })],
    [
      'indexed, with transparency',
      png({
        colourType: 3,
        before: [pngChunk('PLTE', Buffer.alloc(6)), pngChunk('tRNS', Buffer.alloc(1))],
        raw: Buffer.alloc((1 + 4) * 3),
      }),
    ],
    ['data in several chunks', png({ idat: [deflateSync(row).subarray(0, 5), deflateSync(row).subarray(5)] })],
  ])('%s is taken', (_name, file) => {
    expect(clean(file).type).toBe('image/png')
  })
})

/** Bytes of an interlaced picture, counted pixel by pixel instead of by formula. */
function adam7(width: number, height: number, bytes: number): number {
  const pass = [
    [0, 5, 3, 5, 1, 5, 3, 5],
    [6, 6, 6, 6, 6, 6, 6, 6],
    [4, 5, 4, 5, 4, 5, 4, 5],
    [6, 6, 6, 6, 6, 6, 6, 6],
    [2, 5, 3, 5, 2, 5, 3, 5],
    [6, 6, 6, 6, 6, 6, 6, 6],
    [4, 5, 4, 5, 4, 5, 4, 5],
    [6, 6, 6, 6, 6, 6, 6, 6],
  ]
  const rows = new Set<string>()
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) rows.add(`${pass[y % 8]?.[x % 8]} ${y}`)
  return width * height * bytes + rows.size
}

describe('what is no logo', () => {
  it.each([
    ['GIF', Buffer.from('GIF89a/*<svg/onload=alert(1)>*/')],
    ['JPEG', Buffer.from([0xff, 0xd8, 0xff, 0xe0])],
    ['PDF', Buffer.from('%PDF-1.7')],
    ['compressed SVG', Buffer.from([0x1f, 0x8b, 0x08])],
    ['HTML', Buffer.from('<html><svg xmlns="http://www.w3.org/2000/svg"/></html>')],
    ['nothing', Buffer.alloc(0)],
  ])('%s is told by its content', (_name, file) => {
    expect(() => clean(file)).toThrow('is neither PNG nor SVG')
  })

  it('is too large before it is looked at', () => {
    expect(() => clean(Buffer.alloc(256 * 1024 + 1))).toThrow('is larger than 256 KiB')
  })
})
