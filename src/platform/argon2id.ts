/** The hash itself: argon2id (RFC 9106) on the threads of whichever process this runs in. */
import { hash as argon2Hash, argon2id, verify as argon2Verify } from 'argon2'

export interface HashParameters {
  readonly memoryKib: number
  readonly passes: number
  readonly parallelism: number
}

export const HASH_BYTES = 32

/** What came of it, and how many milliseconds it took where it was done. */
export interface Done<Result> {
  readonly result: Result
  readonly ms: number
}

/** An encoded hash (PHC string) with a random salt. */
export function hash(password: string, parameters: HashParameters): Promise<Done<string>> {
  const { memoryKib, passes, parallelism } = parameters
  return timed(
    argon2Hash(password, {
      type: argon2id,
      memoryCost: memoryKib,
      timeCost: passes,
      parallelism,
      hashLength: HASH_BYTES,
    }),
  )
}

/** Whether the password belongs to the encoded hash, by the parameters of that one. */
export function verify(encoded: string, password: string): Promise<Done<boolean>> {
  return timed(argon2Verify(encoded, password))
}

async function timed<Result>(work: Promise<Result>): Promise<Done<Result>> {
  const start = performance.now()
  const result = await work
  return { result, ms: performance.now() - start }
}
