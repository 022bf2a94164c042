/** Colours as arithmetic: WCAG 2.2 contrast of sRGB, and lightness in OKLCH, where a change looks as large as it is. */

/** Channels from 0 to 1. */
type Rgb = readonly [red: number, green: number, blue: number]

const HEX = /^#(?:[0-9a-f]{3}|[0-9a-f]{6})$/i

/** Whether a text is a colour of the one form that brands use: `#rgb` or `#rrggbb`. */
export const isHex = (text: string): boolean => HEX.test(text)

/** Relative luminance as WCAG 2.2 defines it. */
function luminance(hex: string): number {
  const [red, green, blue] = toLinear(parse(hex))
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/** WCAG 2.2 contrast ratio, from 1 to 21. */
export function contrast(one: string, other: string): number {
  const [light = 0, dark = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a)
  return (light + 0.05) / (dark + 0.05)
}

/** `share` of the first colour laid over the second. */
export function mix(over: string, under: string, share: number): string {
  const [a, b] = [parse(over), parse(under)]
  return format([0, 1, 2].map((i) => (a[i] ?? 0) * share + (b[i] ?? 0) * (1 - share)) as unknown as Rgb)
}

/** The same hue at another lightness: `by` is added to the L of OKLCH (0 to 1). Chroma yields where sRGB ends. */
export function lighten(hex: string, by: number): string {
  const [l, a, b] = toOklab(parse(hex))
  const lightness = Math.min(1, Math.max(0, l + by))
  for (let chroma = 1; chroma > 0; chroma -= 0.02) {
    const rgb = fromOklab([lightness, a * chroma, b * chroma])
    if (rgb.every((channel) => channel > -0.001 && channel < 1.001)) return format(rgb)
  }
  return format(fromOklab([lightness, 0, 0]))
}

function parse(hex: string): Rgb {
  if (!isHex(hex)) throw new Error(`${hex} is not a colour`)
  const long = hex.length === 4 ? hex.slice(1).replace(/./g, '$&$&') : hex.slice(1)
  return [0, 2, 4].map((at) => Number.parseInt(long.slice(at, at + 2), 16) / 255) as unknown as Rgb
}

function format(rgb: Rgb): string {
  const channel = (value: number) => Math.round(Math.min(1, Math.max(0, value)) * 255)
  return `#${rgb.map((value) => channel(value).toString(16).padStart(2, '0')).join('')}`
}

function toLinear(rgb: Rgb): Rgb {
  return rgb.map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)) as unknown as Rgb
}

function fromLinear(rgb: Rgb): Rgb {
  const channel = (value: number) => (value <= 0.0031308 ? value * 12.92 : 1.055 * value ** (1 / 2.4) - 0.055)
  return rgb.map(channel) as unknown as Rgb
}

/** CSS Color 4 §9: linear sRGB to cone responses, cube roots, then lightness and two axes of colour. */
function toOklab(rgb: Rgb): Rgb {
  const [r, g, b] = toLinear(rgb)
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ]
}

function fromOklab([lightness, a, b]: Rgb): Rgb {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
  return fromLinear([
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ])
}
