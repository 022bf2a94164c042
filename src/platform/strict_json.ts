/** JSON in which every member says one thing: of a name that comes twice, two readers would take different values (RFC 8259 §4). */

/** The value of a text, or undefined when it is no JSON or an object in it has a member twice. */
export function parseStrictJson(text: string): { readonly value: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return hasDuplicates(text) ? undefined : { value }
  } catch {
    return undefined
  }
}

const TOKEN = /"(?:[^"\\]+|\\.)*"|[{}[\]:,]/g

/** Only for a text that has been parsed: strings and punctuation are all that has to be told apart. */
function hasDuplicates(text: string): boolean {
  /** Names of each open object; undefined for an open array. */
  const open: (Set<string> | undefined)[] = []
  let before = ''
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '{') open.push(new Set())
    else if (token === '[') open.push(undefined)
    else if (token === '}' || token === ']') open.pop()
    else if (token === ':') {
      const names = open.at(-1)
      // Escapes are other spellings of the same name.
      const name = JSON.parse(before) as string
      if (names?.has(name)) return true
      names?.add(name)
    }
    before = token
  }
  return false
}
