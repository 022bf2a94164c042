/**
 * When things were last used, kept in memory between writes, so that a use costs no statement. One time for each thing that
 * was used since the last write: nobody makes it grow by using one thing often. A process that is killed loses what it has
 * not written.
 */

export interface LastUses {
  note(id: string, at: Date): void
  /** Writes what was noted, if anything was; what could not be written stays for the next time. */
  flush(): Promise<void>
}

/** @param write stores all uses at once; it must keep the later time, since instances write in any order */
export function createLastUses(write: (uses: ReadonlyMap<string, Date>) => Promise<void>): LastUses {
  let noted = new Map<string, Date>()
  const note = (id: string, at: Date) => {
    if (at.getTime() >= (noted.get(id)?.getTime() ?? 0)) noted.set(id, at)
  }
  return {
    note,
    async flush() {
      if (noted.size === 0) return
      const uses = noted
      noted = new Map()
      try {
        await write(uses)
      } catch (error) {
        for (const [id, at] of uses) note(id, at)
        throw error
      }
    },
  }
}
