/**
 * From the few colours of a brand to the ones that pages use, in light and dark. What nobody could read is not used:
 * every pair keeps 4.5 : 1 (WCAG 2.2, 1.4.3), if need be by moving the accent's lightness, and says so.
 */
import { contrast, lighten, mix } from './colour.ts'

export type Scheme = 'light' | 'dark'

/** What a brand may say of one scheme. */
export interface BrandColours {
  readonly accent?: string | undefined
  readonly canvas?: string | undefined
  readonly sheet?: string | undefined
}

/** Colours by the custom property of genkan.css that they are for; only those that a brand changes. */
export type Palette = Readonly<Record<'canvas' | 'floor' | 'sheet', string | undefined>> &
  Readonly<Record<'accent' | 'accent-strong' | 'on-accent' | 'wash', string>>

/** A pair of colours as the brand gives it. */
export interface Contrast {
  readonly scheme: Scheme
  readonly pair: string
  readonly ratio: number
  /** What pages show instead, when the pair cannot be read. */
  readonly instead?: string | undefined
}

export const LEAST_CONTRAST = 4.5

/** The values of genkan.css that brands are measured against; a test keeps the two equal. */
export const BASE = {
  light: {
    canvas: '#f5f5f2',
    floor: '#ecece7',
    sheet: '#ffffff',
    ink: '#1a1e29',
    muted: '#596070',
    accent: '#2b4c9b',
  },
  dark: {
    canvas: '#13151a',
    floor: '#0e1014',
    sheet: '#1c1f26',
    ink: '#eceef2',
    muted: '#a9afbc',
    accent: '#9db8ff',
  },
} as const

const WHITE = '#ffffff'
const NEAR_BLACK = '#10141f'
const STEP = 0.01
const WASH = { light: 0.08, dark: 0.14 } as const
/** How far the hover colour is from the accent. */
const STRONG = { light: -0.07, dark: 0.06 } as const

/** The palette of one scheme, with the contrast of each pair as it was given. */
export function paletteOf(scheme: Scheme, given: BrandColours, other: BrandColours): [Palette, Contrast[]] {
  const found: Contrast[] = []
  const base = BASE[scheme]
  const surface = surfacesOf(scheme, given, found)
  const ground = { canvas: surface.canvas ?? base.canvas, sheet: surface.sheet ?? base.sheet }
  // A brand that names one accent means its hue for both schemes; only what it wrote itself is measured.
  const wanted = given.accent ?? other.accent ?? base.accent
  const accent = readable(scheme, wanted, ground) ?? readable(scheme, base.accent, ground) ?? base.ink
  const onAccent = labelOf(accent)
  if (given.accent !== undefined) {
    const instead = accent === given.accent.toLowerCase() ? undefined : accent
    for (const name of ['sheet', 'canvas'] as const) {
      found.push({ scheme, pair: `accent on ${name}`, ratio: contrast(wanted, ground[name]), instead })
    }
    const label = labelOf(wanted)
    found.push({ scheme, pair: 'button text on accent', ratio: contrast(label, wanted), instead })
  }
  const strong = lighten(accent, STRONG[scheme])
  return [
    {
      ...surface,
      accent,
      'accent-strong':
        contrast(strong, ground.sheet) >= LEAST_CONTRAST && contrast(strong, onAccent) >= LEAST_CONTRAST
          ? strong
          : accent,
      'on-accent': onAccent,
      wash: mix(accent, ground.sheet, WASH[scheme]),
    },
    found,
  ]
}

/** Surfaces on which the pages' own text can be read; others are left at their defaults. */
function surfacesOf(scheme: Scheme, given: BrandColours, found: Contrast[]) {
  const { muted } = BASE[scheme]
  const check = (name: 'canvas' | 'sheet') => {
    const colour = given[name]
    if (colour === undefined) return undefined
    const ratio = contrast(muted, colour)
    const good = ratio >= LEAST_CONTRAST
    found.push({ scheme, pair: `muted text on ${name}`, ratio, instead: good ? undefined : BASE[scheme][name] })
    return good ? colour : undefined
  }
  const [canvas, sheet] = [check('canvas'), check('sheet')]
  return {
    canvas,
    sheet,
    floor: canvas === undefined ? undefined : lighten(canvas, scheme === 'light' ? -0.03 : -0.02),
  }
}

/** The accent, or its nearest lightness that can be read on both surfaces, on its own wash, and under a button's text. */
function readable(scheme: Scheme, accent: string, ground: { canvas: string; sheet: string }): string | undefined {
  const away = scheme === 'light' ? -STEP : STEP
  for (let by = 0; Math.abs(by) <= 1; by += away) {
    const tried = by === 0 ? accent.toLowerCase() : lighten(accent, by)
    const grounds = [ground.sheet, ground.canvas, mix(tried, ground.sheet, WASH[scheme]), labelOf(tried)]
    if (grounds.every((under) => contrast(tried, under) >= LEAST_CONTRAST)) return tried
  }
  return undefined
}

/** White or near black, whichever reads better on a colour. */
function labelOf(colour: string): string {
  return contrast(WHITE, colour) >= contrast(NEAR_BLACK, colour) ? WHITE : NEAR_BLACK
}

/** A pair in words: what is wrong with it and what happens. */
export function describeContrast({ scheme, pair, ratio, instead }: Contrast): string {
  const consequence = instead === undefined ? '' : `, pages use ${instead} instead`
  return `${pair} (${scheme}) is ${ratio.toFixed(2)} : 1, of at least ${LEAST_CONTRAST} : 1${consequence}`
}
