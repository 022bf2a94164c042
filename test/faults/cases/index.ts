/** All rows, in their order. */
import type { Case } from '../case.ts'
import { KEYS_AND_CLOCKS } from './keys_and_clocks.ts'
import { KILLS } from './kills.ts'
import { MIGRATIONS } from './migrations.ts'
import { NEIGHBOURS } from './neighbours.ts'
import { POSTGRES } from './postgres.ts'
import { PROCESSES } from './processes.ts'
import { REDIS } from './redis.ts'

export const CASES: readonly Case[] = [
  ...REDIS,
  ...POSTGRES,
  ...MIGRATIONS,
  ...KILLS,
  ...PROCESSES,
  ...KEYS_AND_CLOCKS,
  ...NEIGHBOURS,
]
