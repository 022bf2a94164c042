/** Numbers about numbers: quantiles, means, and a line through points with how sure one may be of it. */

/** The value below which `share` of the values lie; NaN of nothing. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** 0 of nothing. */
export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : sum(values) / values.length
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

export interface Slope {
  readonly perUnit: number
  /** Twice the standard error: the slope is within ± this with 95 %, if the points scatter by chance. */
  readonly uncertainty: number
}

/** Least squares through points of x and y. */
export function slope(points: readonly (readonly [x: number, y: number])[]): Slope {
  const middleX = mean(points.map(([x]) => x))
  const middleY = mean(points.map(([, y]) => y))
  const spread = sum(points.map(([x]) => (x - middleX) ** 2))
  if (points.length < 3 || spread === 0) return { perUnit: Number.NaN, uncertainty: Number.NaN }
  const perUnit = sum(points.map(([x, y]) => (x - middleX) * (y - middleY))) / spread
  const rest = sum(points.map(([x, y]) => (y - middleY - perUnit * (x - middleX)) ** 2))
  return { perUnit, uncertainty: 2 * Math.sqrt(rest / (points.length - 2) / spread) }
}
