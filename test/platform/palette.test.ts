import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { compileBrand, sheetOf } from '../../src/platform/brand.ts'
import { contrast, lighten, mix } from '../../src/platform/colour.ts'
import { BASE, describeContrast, type Palette, paletteOf } from '../../src/platform/palette.ts'

const CSS = readFileSync('views/assets/genkan.css', 'utf8')
const hex = fc.integer({ min: 0, max: 0xffffff }).map((value) => `#${value.toString(16).padStart(6, '0')}`)

describe('contrast (WCAG 2.2)', () => {
  it.each([
    ['#000000', '#ffffff', 21],
    ['#fff', '#ffffff', 1],
    ['#777777', '#ffffff', 4.48],
    ['#767676', '#ffffff', 4.54],
    ['#ff0000', '#ffffff', 4.0],
    ['#0000ff', '#ffffff', 8.59],
    ['#2b4c9b', '#ffffff', 8.05],
  ])('of %s and %s is %f', (one, other, ratio) => {
    expect(contrast(one, other)).toBeCloseTo(ratio, 1)
    expect(contrast(other, one)).toBe(contrast(one, other))
  })

  it('mixes, and moves lightness without leaving sRGB', () => {
    expect(mix('#000000', '#ffffff', 0.5)).toBe('#808080')
    expect(lighten('#808080', 0)).toBe('#808080')
    expect(lighten('#2b4c9b', 1)).toBe('#ffffff')
    expect(lighten('#ff0000', -1)).toBe('#000000')
    fc.assert(
      fc.property(hex, fc.double({ min: -1, max: 1, noNaN: true }), (colour, by) => {
        expect(lighten(colour, by)).toMatch(/^#[0-9a-f]{6}$/)
      }),
    )
  })
})

describe('palette', () => {
  it('measures against the colours of genkan.css', () => {
    for (const name of ['canvas', 'floor', 'sheet', 'ink', 'muted', 'accent'] as const) {
      expect(CSS).toContain(`--${name}: light-dark(${BASE.light[name]}, ${BASE.dark[name]});`)
    }
  })

  it('names only custom properties that genkan.css has', () => {
    const { css } = sheetOf(
      { colours: { accent: '#0b6e4f', canvas: '#fafafa', sheet: '#fff' }, radius: 4, font: ['Inter'] },
      '',
    )
    const names = [...css.matchAll(/[{;](--[a-z-]+):/g)].map(([, name]) => name)
    expect(names.length).toBe(10)
    for (const name of names) expect(CSS).toMatch(new RegExp(`^ {4}${name}: `, 'm'))
  })

  it('keeps a readable accent as it is, and moves one that is not', () => {
    const [kept, fine] = paletteOf('light', { accent: '#0b6e4f' }, {})
    expect([kept.accent, kept['on-accent']]).toEqual(['#0b6e4f', '#ffffff'])
    expect(fine.every(({ instead, ratio }) => instead === undefined && ratio >= 4.5)).toBe(true)
    const [moved, warned] = paletteOf('light', { accent: '#ffd400' }, {})
    expect(warned[0]).toMatchObject({ pair: 'accent on sheet', instead: moved.accent })
    expect(describeContrast(warned[0] as never)).toMatch(
      /^accent on sheet \(light\) is 1\.4\d : 1, of at least 4\.5 : 1, pages use #/,
    )
  })

  it('makes the dark accent of the light one, without a warning about what nobody wrote', () => {
    const [dark, warnings] = paletteOf('dark', {}, { accent: '#0b6e4f' })
    expect(warnings).toEqual([])
    expect(contrast(dark.accent, BASE.dark.sheet)).toBeGreaterThanOrEqual(4.5)
    expect(dark.accent).not.toBe(BASE.dark.accent)
  })

  it('leaves a surface at its default on which our own text could not be read', () => {
    const [palette, warnings] = paletteOf('light', { sheet: '#333333' }, {})
    expect(palette.sheet).toBeUndefined()
    expect(warnings).toEqual([expect.objectContaining({ pair: 'muted text on sheet', instead: '#ffffff' })])
  })

  it('can be read whatever is asked for', () => {
    const colour = fc.option(hex, { nil: undefined })
    const given = fc.record({ accent: colour, canvas: colour, sheet: colour })
    fc.assert(
      fc.property(given, given, fc.constantFrom('light' as const, 'dark' as const), (own, other, scheme) => {
        const [palette]: [Palette, unknown] = paletteOf(scheme, own, other)
        const sheet = palette.sheet ?? BASE[scheme].sheet
        const canvas = palette.canvas ?? BASE[scheme].canvas
        for (const under of [sheet, canvas, palette.wash]) {
          expect(contrast(palette.accent, under)).toBeGreaterThanOrEqual(4.5)
          expect(contrast(BASE[scheme].ink, under)).toBeGreaterThanOrEqual(4.5)
        }
        for (const under of [palette.accent, palette['accent-strong']]) {
          expect(contrast(palette['on-accent'], under)).toBeGreaterThanOrEqual(4.5)
        }
        expect(contrast(palette['accent-strong'], sheet)).toBeGreaterThanOrEqual(4.5)
      }),
      { numRuns: 300 },
    )
  })
})

describe('stylesheet', () => {
  const stored = { id: 'acme', settings: { name: 'Acme' }, css: '', logos: {} }

  it('is none when the brand changes nothing', () => {
    expect(compileBrand(stored)).toMatchObject({ brand: { stylesheet: undefined }, stylesheet: undefined })
  })

  it('is named by its content, layered, and puts custom CSS last', () => {
    const { brand, stylesheet } = compileBrand({
      ...stored,
      settings: { name: 'Acme', radius: 4 },
      css: 'h1{color:red}',
    })
    expect(brand.stylesheet).toBe(`/brands/acme.${stylesheet?.hash}.css`)
    expect(stylesheet?.body).toBe(
      '@layer brand,custom;\n@layer brand{:root{--radius:4px;--radius-sheet:7.2px}}\n@layer custom{h1{color:red}}\n',
    )
    const other = compileBrand({ ...stored, settings: { name: 'Acme', radius: 5 } })
    expect(other.stylesheet?.hash).not.toBe(stylesheet?.hash)
  })

  it('shows a dark logo only beside a light one', () => {
    const logo = { type: 'image/png', width: 10, height: 5, hash: 'abcdef012345' }
    expect(compileBrand({ ...stored, logos: { dark: logo } }).brand.logo).toBeUndefined()
    expect(
      compileBrand({ ...stored, logos: { light: { ...logo, type: 'image/svg+xml' }, dark: logo } }).brand.logo,
    ).toEqual({
      light: { path: '/brands/acme/logo-light.abcdef012345.svg', width: 10, height: 5 },
      dark: { path: '/brands/acme/logo-dark.abcdef012345.png', width: 10, height: 5 },
    })
  })
})
