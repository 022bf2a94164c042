/** The columns of personal data, sealed and opened beside the product: for tests that insert or read rows themselves. */
import type { Json } from '../../src/events.ts'
import { EMAIL_HASH, openPersonal, PERSONAL, type Personal } from '../../src/features/accounts/types.ts'
import { createLocalInvalidation } from '../../src/platform/invalidation.ts'
import {
  createPersonalBox,
  createPersonalData,
  type PersonalBox,
  type PersonalData,
} from '../../src/platform/personal_columns.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'

const box = createPersonalBox([Buffer.alloc(32, 21)], Buffer.alloc(32, 22))

/** Under keys that every test knows, for rooms without a server. */
export const testPersonal: PersonalData = {
  seal: box.seal,
  read: async (work) => work(box.open),
  index: async (value, purpose) => box.index(value, purpose),
}

/** The columns of an account in place of its address and profile. */
export function accountColumns(id: string, email: string, profile: Json = {}, by: PersonalBox = box) {
  return { email_hash: by.index(email, EMAIL_HASH), sealed_personal: by.seal({ email, profile }, PERSONAL, id) }
}

/** What the product keeps of a person, read past it. */
export interface OpenedRows {
  box(): Promise<PersonalBox>
  emailHash(email: string): Promise<string>
  /** Undefined when there is no such account. */
  personal(accountId: string): Promise<Personal | undefined>
}

type Sql = <Row extends object>(statement: string, values?: readonly unknown[]) => Promise<Row[]>

/** Opens the rows of a server by its `GENKAN_SECRET_KEYS`. */
export function openedRows(sql: Sql, secretKeys: string | undefined): OpenedRows {
  const secretBox = createSecretBox((secretKeys ?? '').split(/[\s,]+/).map((key) => Buffer.from(key, 'base64')))
  const opened = async () => {
    type Row = { readonly purpose: string; readonly sealed_key: string }
    const rows = await sql<Row>('select purpose, sealed_key from data_keys order by created_at desc, id')
    const keys = (wanted: string) =>
      rows
        .filter(({ purpose }) => purpose === wanted)
        .map((row) => Buffer.from(secretBox.open(row.sealed_key, `data_key_${wanted}`), 'base64url'))
    return createPersonalBox(keys('personal'), keys('index')[0] ?? Buffer.alloc(0))
  }
  return {
    box: opened,
    emailHash: async (email) => (await opened()).index(email, EMAIL_HASH),
    personal: async (accountId) => {
      const [row] = await sql<{ id: string; sealed_personal: string }>(
        'select id, sealed_personal from accounts where id = $1',
        [accountId],
      )
      return row === undefined ? undefined : openPersonal((await opened()).open, row)
    },
  }
}

/** The data keys of a database, made when there are none. */
export async function databaseKeys(database: Database, secretKeys: readonly Buffer[], now = () => new Date()) {
  const personal = createPersonalData({
    ...{ database, invalidation: createLocalInvalidation(), clock: { now } },
    secretBox: createSecretBox(secretKeys),
  })
  await database.transaction((tx) => personal.ensure(tx))
  return personal
}
