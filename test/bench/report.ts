/** The result as Markdown: the same text goes to the terminal and to BENCHMARKS.md. */
import { broken, formatCell, formatGate, type Gate, type Table } from './part.ts'
import type { PartResult, Result } from './results.ts'

/** What is between these lines is written by hand and kept. */
export const HAND_BEGINS = '<!-- by hand, kept by npm run bench: begin -->'
export const HAND_ENDS = '<!-- by hand, kept by npm run bench: end -->'

const NO_PROFILE = 'Not profiled yet: `npm run bench -- --profile` prints the table.'

/** The text between the markers of an earlier report. */
export function byHand(earlier: string): string {
  const [begins, ends] = [earlier.indexOf(HAND_BEGINS), earlier.indexOf(HAND_ENDS)]
  if (begins < 0 || ends < begins) return NO_PROFILE
  return earlier.slice(begins + HAND_BEGINS.length, ends).trim() || NO_PROFILE
}

/** The whole report. `earlier` is the report that it replaces. */
export function toMarkdown(result: Result, earlier = ''): string {
  const gates = result.parts.flatMap(({ findings }) => findings.gates)
  return `# Benchmarks

Made by \`npm run bench\`, which measures anew and writes this file. *Bare* is oidc-provider ${engineOf(result)} by itself with the Redis
adapter that its documentation shows, static clients, no pages and no passwords (\`test/bench/bare\`). *Genkan* is the whole product on
PostgreSQL and Redis: audit, limits, metrics. Same Node and flags, same algorithms, same clients, one process each. Bare keeps no
accounts: where Genkan asks or tells PostgreSQL (userinfo, sign-in), bare makes the answer up, so those ratios also show what that work
costs.

${machines(result)}

The load generator, both stores and the server share these cores, so absolute times are noise; **server CPU per flow, ratios within one
run, and exact counts** are what to look at. Under open-loop load flows start by a schedule, whether the server answers or not, and every
latency is taken from the intended start: waiting is not hidden.

${plain(gatesSentence(gates))}

${result.parts.map(partToMarkdown).join('\n\n')}

## Where the time goes

Shares of the server's CPU in the five hottest flows by what the code belongs to, from \`npm run bench -- --profile\`.

${HAND_BEGINS}

${byHand(earlier)}

${HAND_ENDS}
`
}

export function partToMarkdown({ title, what, quick, tookSeconds, loadBefore, findings }: PartResult): string {
  const { skipped, tables, notes } = findings
  const gates = findings.gatesInTables ? [] : findings.gates
  const head = `## ${title}\n\n${what}`
  if (skipped !== undefined) return `${head}\n\n**Not measured**: ${skipped}`
  const how = `${quick ? 'In quick form, which shows that it works and measures little. ' : ''}Took ${Math.round(tookSeconds)} s; load average before ${loadBefore.toFixed(1)}.`
  const list = gates.map((gate) => `- ${plain(formatGate(gate))}`).join('\n')
  return [head, ...tables.map(table), list, ...notes.map(plain), how].filter(Boolean).join('\n\n')
}

export function gatesSentence(gates: readonly Gate[]): string {
  const firm = gates.filter(({ kind }) => kind !== 'absolute')
  const missed = broken(gates)
  const told = gates.filter(({ kind, ok }) => kind === 'absolute' && !ok)
  const names = (all: readonly Gate[]) => all.map(({ what }) => what).join('; ')
  return [
    `${firm.length - missed.length} of ${firm.length} ratios and counts are held${missed.length === 0 ? '.' : `. Not held: ${names(missed)}.`}`,
    told.length === 0 ? '' : `Absolute figures missed on this machine: ${names(told)}.`,
  ]
    .filter(Boolean)
    .join(' ')
}

function engineOf({ parts }: Result): string {
  return parts[0]?.machine.engine ?? ''
}

/** One line, or one for each machine with its parts when they differ. */
function machines({ parts }: Result): string {
  const lines = new Map<string, string[]>()
  for (const { machine, title, measuredAt } of parts) {
    const { cpu, cores, memoryGb, node, redis, postgres } = machine
    const line = `${cpu}, ${cores} cores, ${memoryGb} GB; Node ${node}, Redis ${redis}, PostgreSQL ${postgres}; ${measuredAt.slice(0, 10)}`
    lines.set(line, [...(lines.get(line) ?? []), title])
  }
  const [only] = [...lines.keys()]
  if (lines.size === 1) return `Machine: ${only}.`
  return `Machines:\n\n${[...lines].map(([line, titles]) => `- ${line} (${titles.join(', ')})`).join('\n')}`
}

/** Reasons quote answers, which may be pages: no HTML gets into the document. */
function plain(text: string): string {
  return text.replaceAll('<', '&lt;')
}

export function table({ columns, rows }: Table): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => plain(cell).replaceAll('|', '\\|')).join(' | ')} |`
  return [
    line(columns.map(({ title }) => title)),
    line(columns.map((_, index) => (index === 0 ? '---' : '---:'))),
    ...rows.map((cells) => line(columns.map((column, index) => formatCell(cells[index] ?? null, column)))),
  ].join('\n')
}
