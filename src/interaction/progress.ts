/** How the progress of a conversation is written: its key, its text, and whether an interaction was finished from it. */
import { sha256 } from '../platform/ids.ts'
import type { FlowState, Progress } from './step.ts'

/** Whether this very interaction was finished from the progress. */
export function isFinished({ uid, progress }: Pick<FlowState, 'uid' | 'progress'>): boolean {
  return progress.finished?.interaction === sha256(uid)
}

/** Where the progress of a conversation is kept. */
export function progressKey(cid: string): string {
  return `progress:${cid}`
}

/** The version is the record's own. */
export function serialise({ version: _, ...progress }: Progress): string {
  return JSON.stringify(progress)
}

export function parse({ value, version }: { value: string; version: number }): Progress {
  return { ...(JSON.parse(value) as Omit<Progress, 'version'>), version }
}
