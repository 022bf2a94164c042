/**
 * Large matrices in two sizes: `npm test` takes a tenth chosen by a seed, `npm run test:deep` takes all. The seed is printed
 * in the name of what runs, so that a failure can be repeated with `GENKAN_TEST_SEED`.
 */
/** Whether this run takes everything. */
export const DEEP = process.env.GENKAN_TEST_DEEP === '1'

/** This run's seed: `GENKAN_TEST_SEED`, else the day, so that one day's runs agree and the days cover the matrix. */
export const SEED = Number(process.env.GENKAN_TEST_SEED ?? Math.floor(Date.now() / 86_400_000))

/** A tenth of the cases (at least `least`), in their order; all of them in a deep run. */
export function sample<T>(
  matrix: readonly T[],
  { seed = SEED, least = 1 }: { seed?: number; least?: number } = {},
): T[] {
  if (DEEP) return [...matrix]
  const random = generator(seed)
  const keyed = matrix.map((value, index) => ({ value, index, key: random() }))
  const taken = keyed.sort((a, b) => a.key - b.key).slice(0, Math.max(least, Math.ceil(matrix.length / 10)))
  return taken.sort((a, b) => a.index - b.index).map(({ value }) => value)
}

/**
 * The kinds of stores that a journey runs on: one in `npm test`, by file and day, so that every run has journeys on each; all
 * in a deep run. What stores must have in common is shown on all of them each time, by contract suites.
 */
export function sampleKinds<T>(kinds: readonly T[], file: string): T[] {
  let seed = SEED
  for (const character of file.slice(file.lastIndexOf('/test/')))
    seed = (Math.imul(seed, 31) + character.charCodeAt(0)) | 0
  return sample(kinds, { seed })
}

/** What to put into the `describe` title: which part of the matrix runs and how to repeat it. */
export function sampleTitle(name: string, seed = SEED): string {
  return DEEP ? `${name} (all)` : `${name} (a tenth, GENKAN_TEST_SEED=${seed})`
}

/** Mulberry32: small, seeded, good enough to choose cases. */
export function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
