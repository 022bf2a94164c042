/** All parts of the measurement, in the order of the report. */
import type { Part } from './part.ts'
import { CAPACITY } from './parts/capacity.ts'
import { COUNTS } from './parts/counts.ts'
import { FLOOD } from './parts/flood.ts'
import { FLOWS } from './parts/flows.ts'
import { INSTANCES } from './parts/instances.ts'
import { MEMORY } from './parts/memory.ts'
import { MIXED } from './parts/mixed.ts'
import { OVERLOAD } from './parts/overload.ts'
import { ROTATIONS } from './parts/rotations.ts'
import { SCALE } from './parts/scale.ts'
import { SOCKETS } from './parts/sockets.ts'
import { START } from './parts/start.ts'
import { STEADY } from './parts/steady.ts'

export const PARTS: readonly Part[] = [
  ...[FLOWS, COUNTS, STEADY, MIXED, FLOOD, OVERLOAD, SOCKETS],
  ...[SCALE, ROTATIONS, MEMORY, START, INSTANCES, CAPACITY],
]
