import { describe, expect, it } from '@jest/globals'
import { DOMParser } from '@xmldom/xmldom'
import { toHtml } from './html.ts'
import { atLeast, atMost, broken, type Findings, formatGate, skipped } from './part.ts'
import { ticks } from './plot.ts'
import { byHand, gatesSentence, HAND_BEGINS, HAND_ENDS, toMarkdown } from './report.ts'
import { merge, type PartResult, parseResult, type Result } from './results.ts'

const NASTY = `<img src=x onerror="alert('1')"> & | pipe`

const findings: Findings = {
  tables: [
    {
      columns: [{ title: 'flow' }, { title: 'ms', digits: 1 }, { title: NASTY }],
      rows: [
        ['SSO', 12.345, null],
        [NASTY, Number.NaN, 1234],
      ],
    },
  ],
  gates: [atMost('ratio', 2, 3), atLeast(NASTY, 1, 2), atMost('slow', 900, 100, 'absolute', 'ms')],
  plots: [
    {
      ...{ title: NASTY, kind: 'lines', x: 'second', y: 'ms' },
      series: [
        {
          name: 'one',
          points: [
            [0, 1],
            [1, Number.NaN],
            [2, 30],
          ],
        },
        { name: NASTY, points: [] },
      ],
    },
    { title: 'bars', kind: 'bars', x: '', y: '', series: [{ name: 'a', points: [[0, 2]] }], labels: [NASTY, 'other'] },
  ],
  notes: [`\`code\` and ${NASTY}`],
}

function part(name: string, more: Partial<PartResult> = {}): PartResult {
  const machine = { cpu: 'Some CPU', cores: 2, memoryGb: 8, node: '24', redis: '7', postgres: '15', engine: '9.13.3' }
  const measuredAt = '2026-11-27T01:00:00.000Z'
  return {
    ...{ name, title: `Part ${name}`, what: 'What is done.', quick: false, measuredAt },
    ...{ tookSeconds: 61, loadBefore: 1.25, machine, findings, ...more },
  }
}

const result: Result = { format: 1, parts: [part('one'), part('two', { findings: skipped('too few cores') })] }

describe('gates', () => {
  it('hold at the limit and not beyond it', () => {
    expect(
      [atMost('a', 3, 3), atMost('a', 3.01, 3), atLeast('a', 3, 3), atLeast('a', 2.99, 3)].map(({ ok }) => ok),
    ).toEqual([true, false, true, false])
  })

  it('fail a run by ratios and counts, never by absolute figures', () => {
    const gates = [
      atMost('ratio', 2, 1),
      atMost('count', 1, 0, 'count', 'errors'),
      atMost('ms', 9, 1, 'absolute', 'ms'),
    ]
    expect(broken(gates).map(({ what }) => what)).toEqual(['ratio', 'count'])
    expect(broken(gates.map((gate) => ({ ...gate, ok: true })))).toEqual([])
    expect(gatesSentence(gates)).toBe(
      '0 of 2 ratios and counts are held. Not held: ratio; count. Absolute figures missed on this machine: ms.',
    )
  })

  it('do not hold when nothing was measured', () => {
    const gate = atMost('p99', Number.NaN, 3)
    expect(gate.ok).toBe(false)
    expect(formatGate(gate)).toBe('p99: not measured, at most 3: **not held**')
  })
})

describe('the JSON file', () => {
  it('says the same when it is read again; what is no number comes back as none', () => {
    const again = parseResult(JSON.stringify(result))
    expect(again.parts.map(({ name }) => name)).toEqual(['one', 'two'])
    expect(again.parts[1]?.findings.skipped).toBe('too few cores')
    expect(again.parts[0]?.findings.gates).toEqual(findings.gates)
    expect(again.parts[0]?.findings.plots).toEqual(findings.plots)
    expect(again.parts[0]?.findings.tables[0]?.rows[0]).toEqual(['SSO', 12.345, null])
    expect(toMarkdown(again)).toBe(toMarkdown(result))
  })

  it('of another format is refused', () => {
    expect(() => parseResult(JSON.stringify({ ...result, format: 2 }))).toThrow(/format/)
    expect(() => parseResult('{"format":1,"parts":[{"name":"one"}]}')).toThrow(/title/)
  })

  it('keeps earlier parts beside new ones, in the order of the report', () => {
    const merged = merge(result, [part('three'), part('two')], ['three', 'two', 'one', 'never'])
    expect(merged.parts.map(({ name }) => name)).toEqual(['three', 'two', 'one'])
    expect(merged.parts[1]?.findings.skipped).toBeUndefined()
  })
})

describe('BENCHMARKS.md', () => {
  it('has each part with its table, gates and reasons', () => {
    const markdown = toMarkdown(result)
    expect(markdown).toContain('## Part one\n\nWhat is done.\n\n| flow | ms | ')
    expect(markdown).toContain('| SSO | 12.3 |  |')
    expect(markdown).toContain('|  | 1,234 |')
    expect(markdown).not.toContain('<img')
    expect(markdown).toContain('- ratio: 2, at most 3: held')
    expect(markdown).toContain('slow: 900 ms, at most 100 ms: missed here')
    expect(markdown).toContain('## Part two\n\nWhat is done.\n\n**Not measured**: too few cores')
    expect(markdown).toContain('Machine: Some CPU, 2 cores, 8 GB; Node 24, Redis 7, PostgreSQL 15; 2026-11-27.')
  })

  it('keeps rows whole: what is in a cell does not end it', () => {
    const rows = toMarkdown(result)
      .split('\n')
      .filter((line) => line.startsWith('| '))
    expect(rows).toHaveLength(4)
    for (const row of rows) expect(row.replaceAll('\\|', '').split('|')).toHaveLength(5)
  })

  it('names the machines when the parts were measured on several', () => {
    const other = part('three', { machine: { ...part('x').machine, cores: 8 } })
    const markdown = toMarkdown({ ...result, parts: [...result.parts, other] })
    expect(markdown).toMatch(
      /Machines:\n\n- Some CPU, 2 cores.*\(Part one, Part two\)\n- Some CPU, 8 cores.*\(Part three\)/,
    )
  })

  it('keeps what was written by hand, over and over', () => {
    const own = '| self time in | refresh |\n| --- | ---: |\n| own | 12 % |'
    const first = toMarkdown(result).replace(/(begin -->)[\s\S]*(<!-- by hand.*end -->)/, `$1\n\n${own}\n\n$2`)
    const second = toMarkdown(result, first)
    expect(byHand(second)).toBe(own)
    expect(toMarkdown(result, second)).toBe(second)
    expect(second.split(HAND_BEGINS)).toHaveLength(2)
  })

  it('says how to fill the place when nothing was written yet', () => {
    for (const earlier of ['', '# Benchmarks', `${HAND_ENDS}${HAND_BEGINS}`, `${HAND_BEGINS}\n\n${HAND_ENDS}`]) {
      expect(byHand(earlier)).toContain('npm run bench -- --profile')
    }
  })
})

describe('the HTML report', () => {
  const html = toHtml(result)
  const parse = (text: string) =>
    new DOMParser({
      errorHandler: (level: string, message: string) => {
        throw new Error(`${level}: ${message}`)
      },
    }).parseFromString(text, 'text/xml')

  /** What the parser takes without a word: tags that are not closed in order. */
  const unbalanced = (text: string) => {
    const open: string[] = []
    for (const [, close, name = '', alone] of text.matchAll(/<(\/?)(\w+)(?:\s[^<>]*?)?(\/?)>/g)) {
      if (close === '') open.push(...(alone === '' ? [name] : []))
      else if (open.pop() !== name) return [name]
    }
    return open
  }

  it('is well-formed, with a section, tables and plots for each part', () => {
    const document = parse(html)
    const count = (name: string) => document.getElementsByTagName(name).length
    expect([count('section'), count('table'), count('svg'), count('li')]).toEqual([2, 1, 2, 3])
    expect(count('path')).toBeGreaterThan(3)
    expect(count('rect')).toBe(1)
    expect(unbalanced(html)).toEqual([])
    expect(unbalanced(html.replace('</svg>', ''))).not.toEqual([])
  })

  it('escapes whatever a name says', () => {
    const document = parse(html)
    expect(document.getElementsByTagName('img')).toHaveLength(0)
    const texts = Array.from(document.getElementsByTagName('td')).map(({ textContent }) => textContent)
    expect(texts).toContain(NASTY)
    expect(html).not.toContain('<img')
  })

  it('loads nothing, and is light or dark as the reader has it', () => {
    const elements = Array.from(parse(html).getElementsByTagName('*'))
    const names = new Set(elements.map(({ tagName }) => tagName))
    const attributes = new Set(elements.flatMap((element) => Array.from(element.attributes).map(({ name }) => name)))
    for (const loader of ['script', 'link', 'img', 'iframe', 'object', 'image', 'use'])
      expect(names).not.toContain(loader)
    for (const address of ['src', 'href', 'xlink:href', 'style', 'srcset']) expect(attributes).not.toContain(address)
    expect(html).not.toMatch(/url\(|@import/)
    expect(html).toContain("default-src 'none'")
    expect(html).toContain('prefers-color-scheme: dark')
  })

  it.each([
    [0, [0, 1]],
    [4.2, [0, 1, 2, 3, 4, 5]],
    [980, [0, 200, 400, 600, 800, 1000]],
    [0.03, [0, 0.01, 0.02, 0.03]],
  ])('has round steps up to %d', (most, steps) => expect(ticks(most)).toEqual(steps))
})
