/** The embedded database as knex drives it. */
import { PGlite } from '@electric-sql/pglite'
import PGliteClient from 'knex-pglite'

export { PGlite }

/** PGlite's extended protocol takes one statement a call; migrations have many. */
export class MultiStatementPGlite extends PGliteClient {
  async _query(connection: PGlite, query: { sql: string; bindings?: unknown[]; response?: unknown; method?: string }) {
    if (query.method === 'raw' && (query.bindings === undefined || query.bindings.length === 0)) {
      const results = await connection.exec(query.sql)
      query.response = results.at(-1) ?? { rows: [], fields: [], affectedRows: 0 }
      return query
    }
    query.response = await connection.query(query.sql, query.bindings)
    // knex calls a deletion `del`, which the client takes for the command's name: its count of rows was lost.
    return query.method === 'del' ? { ...query, method: 'delete' } : query
  }
}
