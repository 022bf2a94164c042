/** What pages and mails show of a brand, and how its few settings become a stylesheet. */
import { createHash } from 'node:crypto'
import { BASE, type BrandColours, type Contrast, type Palette, paletteOf } from './palette.ts'

interface Logo {
  readonly path: string
  readonly width: number
  readonly height: number
}

export interface Brand {
  readonly id: string
  readonly name: string
  /** Path of its stylesheet; none when it changes nothing. */
  readonly stylesheet?: string | undefined
  readonly logo?: { readonly light: Logo; readonly dark?: Logo | undefined } | undefined
  readonly links: Readonly<Partial<Record<'privacy' | 'terms' | 'imprint' | 'support', string | undefined>>>
  /** Texts of its own, by locale and message key. */
  readonly texts: { readonly [locale: string]: { readonly [key: string]: string } }
  readonly defaultLocale?: string | undefined
  /** When sign-ins under it end, where that is earlier than usual. */
  readonly session?:
    | { readonly idleSeconds?: number | undefined; readonly absoluteSeconds?: number | undefined }
    | undefined
  /** The upstream providers that its pages offer, in this order, where the client names none. */
  readonly upstreams?: readonly string[] | undefined
  /** The button of its mails, where no stylesheet reaches. */
  readonly button: { readonly colour: string; readonly text: string }
  /** The ground of its pages, for the bars of browsers around them. */
  readonly canvas: { readonly light: string; readonly dark: string }
}

/** What is shown when no brand was made, or none can be read. */
export const PLAIN_BRAND: Brand = {
  id: 'default',
  name: 'Genkan',
  links: {},
  texts: {},
  button: { colour: BASE.light.accent, text: '#ffffff' },
  canvas: { light: BASE.light.canvas, dark: BASE.dark.canvas },
}

/** The look of a brand as it is stored. */
export interface Look {
  readonly colours?: Readonly<Partial<Record<`${keyof BrandColours}${'' | '_dark'}`, string | undefined>>> | undefined
  /** Pixels. */
  readonly radius?: number | undefined
  readonly font?: readonly string[] | undefined
}

/** The look as CSS, its colours made readable, and the contrast of what was given. */
export function sheetOf(
  look: Look,
  customCss: string,
): {
  readonly css: string
  readonly contrasts: readonly Contrast[]
  readonly button: Brand['button']
  readonly canvas: Brand['canvas']
} {
  const { colours = {} } = look
  const light = { accent: colours.accent, canvas: colours.canvas, sheet: colours.sheet }
  const dark = { accent: colours.accent_dark, canvas: colours.canvas_dark, sheet: colours.sheet_dark }
  const [lightPalette, lightContrasts] = paletteOf('light', light, dark)
  const [darkPalette, darkContrasts] = paletteOf('dark', dark, light)
  const isColoured = Object.values(colours).some((colour) => colour !== undefined)
  const properties = [...(isColoured ? colourProperties(lightPalette, darkPalette) : []), ...shapeProperties(look)]
  const tokens = properties.length === 0 ? '' : `@layer brand{:root{${properties.join(';')}}}\n`
  const custom = customCss === '' ? '' : `@layer custom{${customCss}}\n`
  return {
    // Named in one place, so that custom CSS comes last whatever else is there.
    css: tokens + custom === '' ? '' : `@layer brand,custom;\n${tokens}${custom}`,
    contrasts: [...lightContrasts, ...darkContrasts],
    button: isColoured ? { colour: lightPalette.accent, text: lightPalette['on-accent'] } : PLAIN_BRAND.button,
    canvas: { light: lightPalette.canvas ?? BASE.light.canvas, dark: darkPalette.canvas ?? BASE.dark.canvas },
  }
}

function colourProperties(light: Palette, dark: Palette): string[] {
  return (Object.keys(light) as (keyof Palette)[]).flatMap((name) => {
    if (light[name] === undefined && dark[name] === undefined) return []
    const base = (scheme: 'light' | 'dark') => (BASE[scheme] as { readonly [name: string]: string })[name]
    return [`--${name}:light-dark(${light[name] ?? base('light')},${dark[name] ?? base('dark')})`]
  })
}

const GENERIC = /^(system-ui|sans-serif|serif|monospace|ui-[a-z-]+|-apple-system)$/

function shapeProperties({ radius, font }: Look): string[] {
  const shapes: string[] = []
  // Cards are rounder than what stands in them.
  if (radius !== undefined) shapes.push(`--radius:${radius}px`, `--radius-sheet:${radius * 1.8}px`)
  if (font !== undefined) {
    const names = font.map((name) => (GENERIC.test(name) ? name : `"${name}"`))
    shapes.push(`--font:${[...names, 'system-ui', 'sans-serif'].join(',')}`)
  }
  return shapes
}

/** A brand as it is stored. */
export interface StoredBrand {
  readonly id: string
  readonly settings: Look & {
    readonly name: string
    readonly links?: Brand['links'] | undefined
    readonly texts?: Brand['texts'] | undefined
    readonly default_locale?: string | undefined
    readonly upstreams?: readonly string[] | undefined
    readonly session?:
      | { readonly idle_seconds?: number | undefined; readonly absolute_seconds?: number | undefined }
      | undefined
  }
  readonly css: string
  readonly logos: { readonly light?: StoredLogo | undefined; readonly dark?: StoredLogo | undefined }
}

interface StoredLogo {
  readonly type: string
  readonly width: number
  readonly height: number
  readonly hash: string
}

/** A brand ready to be shown. */
export interface CompiledBrand {
  readonly brand: Brand
  readonly stylesheet?: { readonly body: string; readonly hash: string } | undefined
}

/** From what is stored to what pages show. */
export function compileBrand({ id, settings, css, logos: { light, dark } }: StoredBrand): CompiledBrand {
  const sheet = sheetOf(settings, css)
  const hash = contentHash(sheet.css)
  const stylesheet = sheet.css === '' ? undefined : { body: sheet.css, hash }
  const shown = (variant: string, { hash, type, width, height }: StoredLogo): Logo => ({
    path: `/brands/${id}/logo-${variant}.${hash}.${type === 'image/png' ? 'png' : 'svg'}`,
    width,
    height,
  })
  const brand: Brand = {
    id,
    name: settings.name,
    stylesheet: stylesheet && `/brands/${id}.${hash}.css`,
    // Without one for light there is no picture to fall back to.
    logo: light && { light: shown('light', light), dark: dark && shown('dark', dark) },
    links: settings.links ?? {},
    texts: settings.texts ?? {},
    defaultLocale: settings.default_locale,
    upstreams: settings.upstreams,
    session: settings.session && {
      idleSeconds: settings.session.idle_seconds,
      absoluteSeconds: settings.session.absolute_seconds,
    },
    button: sheet.button,
    canvas: sheet.canvas,
  }
  return { brand, stylesheet }
}

/** Twelve hex digits, as the names of assets have. */
export function contentHash(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex').slice(0, 12)
}
