/** The result as one HTML file (well-formed as XML, too) that loads nothing: tables, gates and plots, light or dark as the reader has it. */
import { formatCell, formatGate, type Gate, type Plot, type Table } from './part.ts'
import { escapeHtml, legend, toSvg } from './plot.ts'
import { gatesSentence } from './report.ts'
import type { PartResult, Result } from './results.ts'

const STYLE = `
:root { color-scheme: light dark; --text: #1c2024; --muted: #60646c; --paper: #fff; --rule: #d9d9e0;
  --good: #1a6b3c; --bad: #b3261e; --s0: #1f5fbf; --s1: #c2570c; --s2: #1a7f5a; --s3: #8a3fb0 }
@media (prefers-color-scheme: dark) { :root { --text: #edeef0; --muted: #a6abb3; --paper: #16181b; --rule: #3a3f45;
  --good: #6fce97; --bad: #ff9a91; --s0: #82b1ff; --s1: #ffb074; --s2: #6fd6ae; --s3: #d7a4f2 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--paper); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-top: 1px solid var(--rule); padding-top: 1.2rem }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0 } .wide { overflow-x: auto }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left } th { color: var(--muted); font-weight: 600; vertical-align: bottom }
.held { color: var(--good) } .missed { color: var(--bad) } .muted { color: var(--muted); font-size: 13px }
figure { margin: 1.2rem 0 } figcaption { font-weight: 600; font-size: 13px } svg { width: 100%; height: auto; max-width: 680px }
svg text { font: 11px system-ui, sans-serif; fill: var(--muted) } .grid { stroke: var(--rule); fill: none }
.line { fill: none; stroke-width: 1.6 } .legend span { margin-right: 1rem; font-size: 13px }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .35rem }
.line.s0 { stroke: var(--s0) } .line.s1 { stroke: var(--s1) } .line.s2 { stroke: var(--s2) } .line.s3 { stroke: var(--s3) }
.bar.s0 { fill: var(--s0) } .bar.s1 { fill: var(--s1) } .bar.s2 { fill: var(--s2) } .bar.s3 { fill: var(--s3) }
i.s0 { background: var(--s0) } i.s1 { background: var(--s1) } i.s2 { background: var(--s2) } i.s3 { background: var(--s3) }
`

export function toHtml(result: Result): string {
  const gates = result.parts.flatMap(({ findings }) => findings.gates)
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>
<title>Genkan benchmarks</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Genkan benchmarks</h1>
<p>${text(gatesSentence(gates))}</p>
${result.parts.map(section).join('\n')}
</body>
</html>
`
}

function section(part: PartResult): string {
  const { title, what, quick, measuredAt, tookSeconds, loadBefore, machine, findings } = part
  const how = `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}; ${measuredAt}, ${Math.round(tookSeconds)} s, load average before ${loadBefore.toFixed(1)}${quick ? '; quick form' : ''}`
  const skipped = findings.skipped === undefined ? '' : `<p class="missed">Not measured: ${text(findings.skipped)}</p>`
  return `<section>
<h2>${text(title)}</h2>
<p>${text(what)}</p>
${skipped}
${findings.tables.map(tableOf).join('\n')}
${findings.gates.length === 0 ? '' : `<ul>${findings.gates.map(gateOf).join('')}</ul>`}
${findings.plots.map(plotOf).join('\n')}
${findings.notes.map((note) => `<p>${text(note)}</p>`).join('\n')}
<p class="muted">${text(how)}</p>
</section>`
}

/** Markdown's stars and backticks are taken out: that is all of it that the sentences use. */
function text(markdown: string): string {
  return escapeHtml(markdown.replaceAll('**', '').replaceAll('`', ''))
}

function tableOf({ columns, rows }: Table): string {
  const head = columns.map(({ title }) => `<th>${text(title)}</th>`).join('')
  const body = rows.map(
    (cells) =>
      `<tr>${columns.map((column, index) => `<td>${text(formatCell(cells[index] ?? null, column))}</td>`).join('')}</tr>`,
  )
  return `<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table></div>`
}

function gateOf(gate: Gate): string {
  return `<li class="${gate.ok ? 'held' : 'missed'}">${text(formatGate(gate))}</li>`
}

function plotOf(plot: Plot): string {
  return `<figure><figcaption>${text(plot.title)}</figcaption>${plot.series.length > 1 ? legend(plot) : ''}${toSvg(plot)}</figure>`
}
