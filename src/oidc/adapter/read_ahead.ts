/**
 * Reads that belong to one another, sent together. A token, code or refresh token names its grant and its session, which the
 * engine asks for one after the other, each time waiting for the store: most of what such a request costs is that traffic.
 * Here they are asked for as soon as the token is known. The answers are of this request alone, each is handed out once, and
 * a write of the same record throws its answer away.
 */
import { createNotes } from '../../platform/notes.ts'
import { currentRequest, type RequestScope } from '../../platform/request_scope.ts'
import type { OidcStore, Payload } from './store.ts'

const NAMING = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken'])

type Answer = Promise<Payload | undefined>

/** Wraps a store; `alsoOf` starts what else will be asked of an account. */
export function createReadAhead(store: OidcStore, alsoOf: (accountId: string) => Promise<unknown>): OidcStore {
  const ahead = createNotes<RequestScope, Map<string, Answer>>()

  const begin = (answers: Map<string, Answer>, key: string, answer: Answer) => {
    // Whoever asks gets the failure too; nobody may ask.
    answer.catch(() => {})
    answers.set(key, answer)
  }
  const readOn = ({ grantId, sessionUid, expiresWithSession, accountId, consumed }: Payload) => {
    const request = currentRequest()
    if (request === undefined || typeof accountId !== 'string' || consumed !== undefined) return
    const answers = new Map<string, Answer>()
    ahead.set(request, answers)
    if (typeof grantId === 'string') begin(answers, `Grant ${grantId}`, store.find('Grant', grantId))
    const isBound = expiresWithSession === true && typeof sessionUid === 'string'
    if (isBound) begin(answers, `uid ${sessionUid}`, store.findByUid(sessionUid))
    alsoOf(accountId).catch(() => {})
  }
  const taken = (key: string): Answer | undefined => {
    const request = currentRequest()
    const answers = request && ahead.get(request)
    const answer = answers?.get(key)
    answers?.delete(key)
    return answer
  }
  /** What is about to be written is not what was read. */
  const forget = () => {
    const request = currentRequest()
    if (request !== undefined) ahead.delete(request)
  }

  return {
    ...store,
    async find(model, id) {
      const found = await (taken(`${model} ${id}`) ?? store.find(model, id))
      if (found !== undefined && NAMING.has(model)) readOn(found)
      return found
    },
    findByUid: (uid) => taken(`uid ${uid}`) ?? store.findByUid(uid),
    save(model, id, payload, ttl, ifAbsent) {
      if (model === 'Grant' || model === 'Session') forget()
      return store.save(model, id, payload, ttl, ifAbsent)
    },
    swapSession(...write) {
      forget()
      return store.swapSession(...write)
    },
    moveSession(...write) {
      forget()
      return store.moveSession(...write)
    },
    destroy(model, id) {
      forget()
      return store.destroy(model, id)
    },
    destroySession(uid) {
      forget()
      return store.destroySession(uid)
    },
  }
}
