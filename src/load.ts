/** The gate in front of the server, wired: what is too much, who goes first, and what those who wait are shown. */
import type { IncomingMessage, RequestListener } from 'node:http'
import type { Foundation } from './foundation.ts'
import type { House } from './house.ts'
import { createBusyAnswers } from './http/busy.ts'
import { createGate } from './http/gate.ts'
import { blockList, clientAddress } from './http/request_context.ts'
import { cookies } from './oidc/cookies.ts'
import type { Brand } from './platform/brand.ts'
import { newId } from './platform/ids.ts'
import { createLoadMetrics } from './platform/load_metrics.ts'
import { createPressure } from './platform/pressure.ts'
import { createWaitingLine } from './platform/waiting_line.ts'
import { CLIENT_PATHS } from './web.ts'

export interface LoadControl {
  /** Puts the gate in front of the server. */
  guard(next: RequestListener): RequestListener
  /** Begins to measure; returns what ends it. */
  start(): () => void
}

const PURPOSE = 'waiting_room'
/** From which part of all places on people are called into the line. */
const HASHES_TOO_MANY = 3 / 4

export function createLoadControl(foundation: Foundation, house: House): LoadControl {
  const { config, clock, secretBox, views, metrics, passwordHash, oidcStore } = foundation
  const { overload, waitingRoom, issuer } = config
  const pressure = overload === undefined ? undefined : createPressure(overload)
  const isTooMuch = () => {
    const { queued, signUps, places } = passwordHash.stats()
    // One network has half of the places at the most: alone it calls nobody into the line.
    return queued - signUps > places * HASHES_TOO_MANY || (pressure?.sheds('sign_in') ?? false)
  }
  const line =
    overload === undefined && waitingRoom === undefined
      ? undefined
      : createWaitingLine({
          ...{ now: () => clock.now().getTime(), newId, isTooMuch, perSecond: waitingRoom?.signInsPerSecond },
          mac: (value) => secretBox.mac(value, PURPOSE),
          macMatches: (value, mac) => secretBox.macMatches(value, PURPOSE, mac),
        })
  const known = createKnown(house)
  const trusted = blockList(config.trustedProxies)
  const addressOf = ({ socket, headers }: IncomingMessage) =>
    clientAddress(socket.remoteAddress ?? '', String(headers['x-forwarded-for'] ?? ''), trusted)
  const gate = {
    ...{ issuer, pressure, line, names: cookies(config.https).names },
    answers: createBusyAnswers({ ...{ issuer, views, clientPaths: CLIENT_PATHS }, ...known }),
    hasSession: async (id: string) => (await oidcStore.find('Session', id))?.accountId !== undefined,
    shed: createLoadMetrics(metrics.registry, { pressure, line }),
    turnsPasswordAway: (req: IncomingMessage) => passwordHash.turnsAway(addressOf(req)),
    passwordEnters: (req: IncomingMessage) => passwordHash.enter(addressOf(req)),
  }
  return {
    guard: (next) => createGate(gate, next),
    start() {
      known.refresh()
      const unwatch = pressure?.watch()
      const timer = setInterval(() => {
        line?.tick()
        known.refresh()
      }, 1000).unref()
      return () => {
        clearInterval(timer)
        unwatch?.()
      }
    },
  }
}

/** Brands that are kept, and how many unknown ones are looked up in a second, whoever names how many clients. */
const BRANDS = 200
const LOOK_UPS = 4

/** What is known without waiting for a store: origins of clients, and brands of those that were named lately. */
function createKnown({ clients, findClient, rooms }: House) {
  const { page, lastDefault } = rooms.brands.service
  const brands = new Map<string, Brand>()
  const asked = new Set<string>()
  let origins: ReadonlySet<string> = new Set()
  let originsAsked = true
  let defaultAsked = false

  async function look(clientId: string): Promise<void> {
    const brand = (await findClient(clientId))?.brand
    const found = typeof brand === 'string' ? await page(brand) : undefined
    brands.delete(clientId)
    if (found !== undefined) brands.set(clientId, found)
    const [oldest] = brands.keys()
    if (brands.size > BRANDS && oldest !== undefined) brands.delete(oldest)
  }

  return {
    knownOrigin(origin: string): boolean {
      originsAsked = true
      return origins.has(origin)
    },
    brandOf(clientId: string | undefined): Brand {
      if (clientId === undefined) return lastDefault()
      if (asked.size < LOOK_UPS) asked.add(clientId)
      return brands.get(clientId) ?? lastDefault()
    },
    /** Takes up what was asked for in the last second. Without the stores everything stays as it was. */
    refresh(): void {
      const ignore = () => {}
      if (!defaultAsked) page().catch(ignore)
      defaultAsked = true
      if (originsAsked) {
        clients.origins().then((set) => {
          origins = set
        }, ignore)
      }
      originsAsked = false
      for (const clientId of asked) look(clientId).catch(ignore)
      asked.clear()
    },
  }
}
