/**
 * Expand, then contract (CONTRIBUTING.md): while instances are replaced one by one, the version before runs on the new schema.
 * What it still uses must not go, change its name or become a must; a migration that does says in which release its use ended.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { MIGRATIONS } from '../support/schema.ts'

/** What takes something away from whoever knew the schema before. */
const CONTRACTS: readonly (readonly [RegExp, string])[] = [
  [/\bdrop\s+(table|column|view)\b|\.drop(Table|Column|View)\w*\(/gi, 'drops'],
  [/\brename\s+(to|column|constraint)\b|\.rename(Table|Column)\w*\(/gi, 'renames'],
  [/\balter\s+(column\s+)?\w+\s+(set\s+not\s+null|(set\s+data\s+)?type\b|drop\s+default)/gi, 'changes a column'],
  [/\badd\s+column\s+(?![^,;]*\bdefault\b)[^,;]*\bnot\s+null\b/gi, 'demands a column that others do not fill'],
]
const MARK = /^\/\/ contract: \S.{10,}$/m

/** What the way up takes away; the way down is for a developer's own database. */
function contractsOf(source: string): string[] {
  const way = source.replace(/export async function down[\s\S]*$/, '')
  return CONTRACTS.flatMap(([pattern, what]) => [...way.matchAll(pattern)].map(([found]) => `${what}: ${found}`))
}

describe('migrations', () => {
  it.each(MIGRATIONS)('%s takes nothing away unmarked', (file) => {
    const source = readFileSync(new URL(`../../migrations/${file}`, import.meta.url), 'utf8')
    expect(MARK.test(source) ? [] : contractsOf(source)).toEqual([])
  })

  it.each([
    'alter table a drop column b',
    'drop table a',
    'alter table a rename column b to c',
    'alter table a rename to b',
    'alter table a alter column b set not null',
    'alter table a alter column b type bigint',
    'alter table a add column b text not null',
    "db.schema.alterTable('a', (t) => t.dropColumn('b'))",
  ])('"%s" is found', (statement) => {
    expect(contractsOf(`export async function up(db) { ${statement} }`)).not.toEqual([])
    expect(contractsOf(`export async function down(db) { ${statement} }`)).toEqual([])
  })

  it.each([
    'create table a (b text not null)',
    'alter table a add column b text',
    'alter table a add column b text not null default now()',
    'create index c on a (b)',
    'drop index c',
  ])('"%s" is no contract', (statement) => {
    expect(contractsOf(`export async function up(db) { ${statement} }`)).toEqual([])
  })
})
