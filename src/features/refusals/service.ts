/**
 * The rules of refused requests: noted in memory within the request, which therefore takes as long for a known client as for
 * an unknown one; told apart, counted and written afterwards. A flood costs one row a minute for each client, endpoint and
 * reason that there are, and no more than so many rows and references.
 */
import { MOST_REFERENCES, type RefusalGroup, type RefusalRepository } from './repository.ts'
import { type Explanation, REASONS, type Refusal, STANDARD } from './types.ts'

export interface RefusalsDeps {
  readonly repository: RefusalRepository
  readonly clock: { now(): Date }
  /** The id of the request at hand. */
  readonly requestId: () => string | undefined
  readonly log: (fields: object, message: string) => void
}

export type RefusalsService = ReturnType<typeof createRefusalsService>

interface Noted extends Refusal {
  readonly minute: number
  readonly requestId: string
}

const MINUTE_MS = 60_000
/** What is told apart between two writes, which are a second apart; the rest is only counted. */
const MOST_NOTED = 500
/** Rows that one process begins in a minute. */
const MOST_GROUPS = 200
const KEPT_DAYS = 14
const MOST_ROWS = 200_000
/** What can be the id of a client at all. */
const CLAIMED = /^[\x21-\x7e]{1,500}$/
/** As our request ids are; others are no reference of ours. */
const REFERENCE = /^[\w-]{8,64}$/

export function createRefusalsService({ repository, clock, requestId, log }: RefusalsDeps) {
  let noted: Noted[] = []
  let beyond = 0
  /** References that each group of the present minute has. */
  let groups = new Map<string, number>()
  let present = 0

  /** The row that a refusal counts in, and whether its reference is kept. */
  function placeOf({ minute, clientId = '', endpoint, reason, error }: Noted) {
    if (minute !== present) groups = new Map()
    present = minute
    const key = [clientId, endpoint, reason].join(' ')
    const references = groups.get(key) ?? 0
    if (references === 0 && groups.size >= MOST_GROUPS) return { ...OTHER, minute, isKept: false }
    groups.set(key, references + 1)
    return { ...{ minute, clientId, endpoint, reason, error }, isKept: references < MOST_REFERENCES }
  }

  async function flush(): Promise<void> {
    if (noted.length === 0) return
    const [batch, rest] = [noted, beyond]
    noted = []
    beyond = 0
    const claimed = batch.flatMap(({ claimedId }) =>
      claimedId !== undefined && CLAIMED.test(claimedId) ? claimedId : [],
    )
    const states = claimed.length === 0 ? new Map() : await repository.states([...new Set(claimed)])
    const found = new Map<string, RefusalGroup>()
    for (const refusal of batch.map((each) => toldApart(each, states))) {
      const { isKept, minute, ...place } = placeOf(refusal)
      if (isKept) log({ ...place, requestId: refusal.requestId }, 'request refused')
      addTo(found, { ...place, minute: new Date(minute) }, 1, isKept ? [refusal.requestId] : [])
    }
    if (rest > 0) {
      log({ count: rest }, 'more requests refused than are told apart')
      addTo(found, { ...OTHER, minute: new Date(present) }, rest, [])
    }
    await repository.add([...found.values()])
  }

  return {
    /** Notes a refusal of the request at hand. Costs no statement. */
    note(refusal: Refusal): void {
      if (noted.length >= MOST_NOTED) {
        beyond += 1
        return
      }
      const minute = Math.floor(clock.now().getTime() / MINUTE_MS) * MINUTE_MS
      noted.push({ ...refusal, minute, requestId: requestId() ?? '' })
    },

    flush,

    /** What happened to the request that this reference was given with; undefined when nothing is known of it. */
    async explain(reference: string): Promise<Explanation | undefined> {
      if (!REFERENCE.test(reference)) return undefined
      await flush()
      const row = await repository.find(reference)
      if (row === undefined) return undefined
      const { clientId, ...rest } = row
      const [meaning, hint] = REASONS[row.reason] ?? STANDARD
      return { ...rest, clientId: clientId === '' ? undefined : clientId, meaning, hint }
    },

    purge: (now: Date): Promise<void> => repository.purge(new Date(now.getTime() - KEPT_DAYS * 86_400_000), MOST_ROWS),
  }
}

const OTHER = { clientId: '', endpoint: '', reason: 'other', error: '' }

/** A client that was not found may be off: its makers are told so, the wire is not. */
function toldApart({ claimedId, ...refusal }: Noted, states: ReadonlyMap<string, boolean>): Noted {
  const isOn = claimedId === undefined ? undefined : states.get(claimedId)
  if (isOn === undefined || refusal.reason !== 'client_unknown') return refusal
  return { ...refusal, clientId: claimedId, reason: isOn ? 'client_unsupported' : 'client_disabled' }
}

function addTo(
  groups: Map<string, RefusalGroup>,
  place: Omit<RefusalGroup, 'count' | 'requestIds'>,
  count: number,
  requestIds: readonly string[],
): void {
  const key = [place.minute.getTime(), place.clientId, place.endpoint, place.reason].join(' ')
  const group = groups.get(key) ?? { ...place, count: 0, requestIds: [] }
  groups.set(key, { ...group, count: group.count + count, requestIds: [...group.requestIds, ...requestIds] })
}
