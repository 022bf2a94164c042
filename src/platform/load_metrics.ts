/** Metrics of load and what is done about it. */
import { Counter, Gauge, type Registry } from 'prom-client'
import { type Pressure, RANKS, type Rank } from './pressure.ts'
import type { WaitingLine } from './waiting_line.ts'

/** Makes the metrics; the function counts a request that was turned away or sent into the line. */
export function createLoadMetrics(
  registry: Registry,
  { pressure, line }: { readonly pressure: Pressure | undefined; readonly line: WaitingLine | undefined },
): (rank: Rank) => void {
  const registers = [registry]
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      ...{ name, help, registers },
      collect() {
        this.set(read())
      },
    })
  if (pressure !== undefined) {
    gauge('genkan_requests_in_flight', 'Requests that are being answered', pressure.inFlight)
    gauge('genkan_overload_level', 'Ranks of requests that are turned away for a late event loop', pressure.level)
  }
  if (line !== undefined) {
    gauge('genkan_waiting_room_waiting', 'People in the line', () => line.stats().waiting)
    gauge('genkan_waiting_room_rate', 'People let in per second; 0: there is no line', () => line.stats().rate)
    gauge('genkan_waiting_room_admitted', 'Sign-ins begun since the start', () => line.stats().admitted)
  }
  const shed = new Counter({
    name: 'genkan_requests_shed_total',
    help: 'Requests that were turned away or sent into the line, by how urgent they are',
    labelNames: ['rank'],
    registers,
  })
  for (const rank of RANKS) shed.inc({ rank }, 0)
  return (rank) => shed.inc({ rank })
}
