/** All rows, in their order. */
import type { Case } from '../case.ts'
import { KILLS } from './kills.ts'
import { POSTGRES } from './postgres.ts'
import { REDIS } from './redis.ts'

export const CASES: readonly Case[] = [...REDIS, ...POSTGRES, ...KILLS]
