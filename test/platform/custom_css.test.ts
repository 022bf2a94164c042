import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { checkPictureCss, checkStylesheet } from '../../src/platform/custom_css.ts'

/** What custom CSS may not say, and a word of the reason. */
const HOSTILE: readonly (readonly [css: string, reason: RegExp])[] = [
  ['@import "https://evil.example/a.css";', /@import/],
  ['@import url(//evil.example/a.css) layer(x);', /@import|url/],
  ['@IMPORT "x";', /@IMPORT/],
  ['@im\\70ort "x";', /not allowed/],
  ['@media all { @import "x"; }', /@import/],
  ['@font-face { font-family: x; src: url(https://evil.example/f.woff2); unicode-range: U+0041 }', /@font-face/],
  ['@namespace svg url(http://www.w3.org/2000/svg);', /@namespace/],
  ['@charset "utf-7";', /@charset/],
  ['@layer reset { .x { color: red } }', /@layer/],
  ['@property --accent { syntax: "*"; inherits: false }', /@property/],
  ['@scope (main) { p { color: red } }', /@scope/],
  ['@document url(https://id.example) { p { color: red } }', /@document/],
  ['body { background: url(https://evil.example/x.png) }', /url\(\)/],
  ['body { background: url("data:image/svg+xml,<svg onload=alert(1)>") }', /url\(\)/],
  ['body { background: URL(  //evil.example ) }', /url\(\)/],
  ['body { background: u\\72l(https://evil.example) }', /understood/],
  ['body { background: \\75\\72\\6c (https://evil.example) }', /not|understood|Colon|expected/i],
  ['body { background: image-set("https://evil.example/x" 1x) }', /image-set/],
  ['body { background: -webkit-image-set(url(x) 1x) }', /image-set|url/],
  ['body { background: image("x.png") }', /image\(\)/],
  ['body { background: src("x.png") }', /src\(\)/],
  ['body { background: cross-fade(url(a), url(b)) }', /cross-fade|url/],
  ['body { background: element(#identifier) }', /element\(\)/],
  ['body { background: paint(worklet) }', /paint\(\)/],
  ['body { --x: url(https://evil.example); background: var(--x) }', /url\(\)/],
  ['body { background: var(--x, url(https://evil.example)) }', /url\(\)/],
  ['body { background: env(x, url(https://evil.example)) }', /url\(\)/],
  ['body { cursor: url(https://evil.example/c.cur), auto }', /url\(\)/],
  ['body { list-style: url(https://evil.example) }', /url\(\)/],
  ['body { filter: url(https://evil.example#f) }', /url\(\)/],
  ['body { mask: url(#m) }', /url\(\)/],
  ['body { width: expression(alert(1)) }', /expression/],
  ['body { width: exp/**/ression(alert(1)) }', /not allowed|understood/],
  ['body { behavior: url(x.htc) }', /behavior|url/],
  ['body { behavior: none }', /behavior/],
  ['body { -moz-binding: none }', /-moz-binding/],
  ['body { filter: progid:DXImageTransform.Microsoft.Alpha(opacity=1) }', /understood|Unexpected/],
  ['input[value^="a"] { color: red }', /value\^=/],
  ['input[value="482913"] { color: red }', /value=/],
  ['input[name=csrf][value$="z"] + p { color: red }', /name=|value\$=/],
  ['form:has(input[value*="a"]) { color: red }', /value\*=/],
  ['form:not(:has([value~=a])) { color: red }', /value~=/],
  ['a[href|="x"] { color: red }', /href\|=/],
  ['.x { &[value^="a"] { color: red } }', /value\^=/],
  ['input::after { content: attr(value) }', /attr\(\)/],
  ['p { width: attr(data-x px, 1px) }', /attr\(\)/],
  ['p { color: red } </style><script>alert(1)</script>', /HTML/],
  ['<!-- p { color: red } -->', /HTML/],
  ['p { color: red; } }', /./],
  ['p { color red }', /Colon is expected/],
  ['p { color: red\0 }', /NUL/],
  [`p { color: ${'('.repeat(20_000)} }`, /deeply|understood|expected|Unexpected/i],
  [`${'@media all{'.repeat(2000)}`, /deeply|expected/i],
  [`p { color: red } /* ${'x'.repeat(33 * 1024)} */`, /32 KiB/],
]

describe('A97, A98: hostile CSS', () => {
  it.each(HOSTILE)('refuses %j', (css, reason) => {
    const checked = checkStylesheet(css)
    expect(checked).toMatchObject({ ok: false })
    if (!checked.ok) expect(checked.problems.map(({ message }) => message).join('\n')).toMatch(reason)
  })
})

describe('custom CSS', () => {
  it('is written anew from its tree, without comments', () => {
    const css = `
      /*! kept by minifiers */
      .card { border: 2px solid color-mix(in oklab, var(--accent), #000 10%); }
      @media (min-width: 40rem) and (prefers-color-scheme: dark) { .brand:hover > .logo { transform: scale(1.02) } }
      input[type="checkbox"]:focus-visible, a:not([aria-current=page])::before { content: "\\201C"; inline-size: calc(1rem + 2px) }
      @supports (display: grid) { .x { .y & { color: red } } }
    `.replace('.x { .y & { color: red } }', '.x { &:hover { color: red } }')
    const checked = checkStylesheet(css)
    expect(checked).toEqual({ ok: true, css: expect.not.stringMatching(/\/\*|\n/) })
    if (!checked.ok) return
    expect(checked.css).toContain('.card{border:2px solid color-mix(in oklab,var(--accent),#000 10%)}')
    expect(checked.css).toContain('content:"“"')
    // Stable: what is stored is accepted again, and says the same.
    expect(checkStylesheet(checked.css)).toEqual(checked)
  })

  it('tells line and column', () => {
    const checked = checkStylesheet('p { color: red }\n\n  a { color: foo(1) }\n')
    expect(checked).toEqual({ ok: false, problems: [{ line: 3, column: 14, message: 'foo() is not allowed' }] })
  })

  it('tells at most twenty problems', () => {
    const checked = checkStylesheet('p { color: foo(1) }\n'.repeat(100))
    expect(checked.ok ? 0 : checked.problems.length).toBe(20)
  })

  it('understands all that our own stylesheet needs', () => {
    // Its layers and its one kind of compared attribute stand for themselves; everything else must be sayable.
    const own = readFileSync('views/assets/genkan.css', 'utf8').replace(/@layer [^{;]+;/, '')
    const checked = checkStylesheet(own.replace(/@layer \w+ \{/g, '@media all {').slice(0, 30_000))
    expect(checked.ok ? [] : checked.problems).toEqual([])
  })

  it('inside of a picture may refer to its own parts and nothing else', () => {
    expect(checkPictureCss('.a{fill:url(#b)}', 'stylesheet')).toEqual({ ok: true, css: '.a{fill:url(#b)}' })
    expect(checkPictureCss('fill:url(#b);stroke:red', 'declarationList').ok).toBe(true)
    expect(checkPictureCss('fill:url(x.svg#b)', 'declarationList').ok).toBe(false)
  })
})
