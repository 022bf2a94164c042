/** Plots as SVG: lines over numbers, or bars beside names. Colours come from the page's style, light or dark. */
import { formatCell, type Plot } from './part.ts'

const WIDTH = 680
const HEIGHT = 260
const MARGIN = { left: 64, right: 14, top: 26, bottom: 36 }
const BAR = 14
const LABELS = 260

export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}

export function toSvg(plot: Plot): string {
  return plot.kind === 'lines' ? lines(plot) : bars(plot)
}

/** Round steps, about `count` of them, from 0 to at least `most`. */
export function ticks(most: number, count = 5): number[] {
  if (!(most > 0)) return [0, 1]
  const rough = most / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, index) => Number((index * step).toPrecision(12)))
}

const figure = (value: number) =>
  formatCell(value, { title: '', digits: value >= 100 || Number.isInteger(value) ? 0 : 2 })

function finite(points: Plot['series'][number]['points']): Plot['series'][number]['points'] {
  return points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y))
}

function frame(plot: Plot, height: number, inner: string): string {
  const title = escapeHtml(plot.title)
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${title}"><title>${title}</title>${inner}</svg>`
}

function lines(plot: Plot): string {
  const all = plot.series.flatMap(({ points }) => finite(points))
  const xTicks = ticks(Math.max(0, ...all.map(([x]) => x)), 8)
  const yTicks = ticks(Math.max(0, ...all.map(([, y]) => y)))
  const [right, bottom] = [WIDTH - MARGIN.right, HEIGHT - MARGIN.bottom]
  const x = (value: number) => MARGIN.left + (value / (xTicks.at(-1) ?? 1)) * (right - MARGIN.left)
  const y = (value: number) => bottom - (value / (yTicks.at(-1) ?? 1)) * (bottom - MARGIN.top)
  const at = (value: number) => value.toFixed(1)
  const grid = [
    ...yTicks.map(
      (tick) =>
        `<path class="grid" d="M${MARGIN.left} ${at(y(tick))}H${right}"/><text x="${MARGIN.left - 6}" y="${at(y(tick) + 4)}" text-anchor="end">${figure(tick)}</text>`,
    ),
    ...xTicks.map((tick) => `<text x="${at(x(tick))}" y="${bottom + 16}" text-anchor="middle">${figure(tick)}</text>`),
    `<text x="${right}" y="${HEIGHT - 4}" text-anchor="end">${escapeHtml(plot.x)}</text>`,
    `<text x="${MARGIN.left - 6}" y="11" text-anchor="end">${escapeHtml(plot.y)}</text>`,
  ]
  const curves = plot.series.map(({ points }, index) => {
    const path = finite(points).map(([px, py]) => `${at(x(px))} ${at(y(py))}`)
    return path.length === 0 ? '' : `<path class="line s${index % 4}" d="M${path.join('L')}"/>`
  })
  return frame(plot, HEIGHT, [...grid, ...curves].join(''))
}

function bars(plot: Plot): string {
  const labels = plot.labels ?? []
  const rowHeight = BAR * plot.series.length + 8
  const most = Math.max(0, ...plot.series.flatMap(({ points }) => finite(points).map(([, y]) => y))) || 1
  const width = (value: number) => (Math.max(0, value) / most) * (WIDTH - LABELS - 90)
  const rows = labels.map((label, row) => {
    const top = row * rowHeight
    const each = plot.series.map(({ points }, index) => {
      const value = finite(points).find(([x]) => x === row)?.[1]
      if (value === undefined) return ''
      const y = top + index * BAR
      return `<rect class="bar s${index % 4}" x="${LABELS}" y="${y}" width="${width(value).toFixed(1)}" height="${BAR - 2}"/><text x="${(LABELS + width(value) + 5).toFixed(1)}" y="${y + BAR - 3}">${figure(value)}</text>`
    })
    return `<text x="${LABELS - 8}" y="${top + rowHeight / 2}" text-anchor="end">${escapeHtml(label)}</text>${each.join('')}`
  })
  return frame(plot, Math.max(1, labels.length) * rowHeight, rows.join(''))
}

/** Names beside their colours. */
export function legend({ series }: Plot): string {
  return `<p class="legend">${series.map(({ name }, index) => `<span><i class="s${index % 4}"></i>${escapeHtml(name)}</span>`).join(' ')}</p>`
}
