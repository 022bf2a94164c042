/**
 * What stands in front of everything else: whether a request is let in now. Under too much load the least urgent are turned
 * away first, and people who want to begin are shown their place in a line (A103: a flood of sign-ins must not take the
 * tokens of everybody else with it).
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Pressure, Rank } from '../platform/pressure.ts'
import type { WaitingLine } from '../platform/waiting_line.ts'
import type { BusyAnswers } from './busy.ts'
import { beginsSignIn, bringsPassword, type CookieNames, cookieOf, type Ranked, rankOf } from './request_rank.ts'

export interface GateDeps {
  readonly issuer: string
  readonly names: CookieNames
  /** Absent: nobody is turned away. */
  readonly pressure: Pressure | undefined
  readonly line: WaitingLine | undefined
  readonly answers: BusyAnswers
  /** Whether a session cookie is one of somebody who is signed in. Asked only while there is a line. */
  readonly hasSession: (cookie: string) => Promise<boolean>
  readonly shed: (rank: Rank) => void
  /** Whether a password from the sender of the request would find no place where passwords are hashed. */
  readonly turnsPasswordAway: (req: IncomingMessage) => boolean
  /** It was let in; to be told when it has been answered. */
  readonly passwordEnters: (req: IncomingMessage) => () => void
}

/** As long as a ticket is good. */
const TICKET_SECONDS = 7200

/** Puts the gate in front of a listener. */
export function createGate(deps: GateDeps, next: RequestListener): RequestListener {
  const { pressure, line, names, answers } = deps
  const admit = (req: IncomingMessage, res: ServerResponse) => {
    if (pressure !== undefined) count(req, res, pressure.enter)
    next(req, res)
  }

  function decide(req: IncomingMessage, res: ServerResponse, ranked: Ranked & { readonly rank: Rank }): void {
    const sheds = pressure?.sheds(ranked.rank) ?? false
    // That sign-ups are too many makes no line for sign-ins.
    const queues = line?.isOn() === true || !sheds || ranked.rank === 'sign_in'
    if (line !== undefined && queues && beginsSignIn(ranked, req)) queue(deps, line, { req, res, ranked, sheds, admit })
    else if (sheds) {
      deps.shed(ranked.rank)
      answers.busy(req, res, ranked)
    } else if (pressure === undefined || !bringsPassword(ranked, req)) admit(req, res)
    // In a flood of sign-ins the pages that say so would cost more than the hashes (A103).
    else if (deps.turnsPasswordAway(req)) answers.busy(req, res, ranked)
    else {
      count(req, res, () => deps.passwordEnters(req))
      admit(req, res)
    }
  }

  return (req, res) => {
    const ranked = rankOf(req, names)
    const { rank, path } = ranked
    if (rank === undefined) return next(req, res)
    const session = rank === 'under_way' && path === '/auth' && line?.isOn() ? cookieOf(req, names.session) : undefined
    if (session === undefined) {
      decide(req, res, { ...ranked, rank })
      return
    }
    // Anybody can write a cookie: past the line goes only who has a session.
    deps.hasSession(session).then(
      (has) => decide(req, res, { ...ranked, rank: has ? rank : 'sign_in' }),
      () => decide(req, res, { ...ranked, rank }),
    )
  }
}

interface Arriving {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly ranked: Ranked & { readonly rank: Rank }
  readonly sheds: boolean
  readonly admit: (req: IncomingMessage, res: ServerResponse) => void
}

function queue(deps: GateDeps, line: WaitingLine, { req, res, ranked, sheds, admit }: Arriving): void {
  const isSecure = deps.issuer.startsWith('https:')
  const name = `${isSecure ? '__Host-' : ''}genkan_place`
  const verdict = line.come({
    ticket: cookieOf(req, name),
    holder: (req.headers['user-agent'] ?? '').slice(0, 512),
    closed: sheds,
  })
  if (verdict.admitted) {
    admit(req, res)
    return
  }
  deps.shed(ranked.rank)
  const flags = `Max-Age=${TICKET_SECONDS}; Path=/; HttpOnly; SameSite=Lax${isSecure ? '; Secure' : ''}`
  deps.answers.waiting(req, res, { ...verdict, ranked, cookie: `${name}=${verdict.ticket}; ${flags}` })
}

/** From when all of it is there until it is answered: a sender who takes its time keeps nobody else out. */
function count(req: IncomingMessage, res: ServerResponse, enter: () => () => void): void {
  const begin = () => {
    if (!res.closed) res.once('close', enter())
  }
  const { 'content-length': length = '0', 'transfer-encoding': encoding } = req.headers
  if (length === '0' && encoding === undefined) begin()
  // A body that came with the headers is there as soon as the parser has gone on.
  else process.nextTick(() => (req.complete ? begin() : req.once('end', begin)))
}
