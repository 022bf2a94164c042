/** Values that are almost a given token (attack A68): cut, extended, in other letters, padded, re-encoded, spliced. */
export function mutations(token: string, count: number): string[] {
  const found = new Set<string>()
  for (const change of CHANGES) found.add(change(token))
  for (let length = 0; length < token.length; length += Math.max(1, Math.floor(token.length / 12))) {
    found.add(token.slice(0, length))
    found.add(token.slice(token.length - length))
  }
  // Every position in turn gets its neighbour of the alphabet, from both ends.
  for (let step = 0; found.size < count + 10 && step < token.length * 2; step++) {
    const at = step % 2 === 0 ? token.length - 1 - Math.floor(step / 2) : Math.floor(step / 2)
    found.add(token.slice(0, at) + NEXT(token[at] ?? 'A') + token.slice(at + 1))
    found.add(token.slice(0, at) + token.slice(at + 1))
  }
  found.delete(token)
  // A parameter without a value counts as left out (RFC 6749 §3.1).
  found.delete('')
  const list = [...found].slice(0, count)
  if (list.length < count) throw new Error(`only ${list.length} mutations of ${token}`)
  return list
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const NEXT = (letter: string) => ALPHABET[(ALPHABET.indexOf(letter) + 16) % ALPHABET.length] ?? 'A'

const CHANGES: readonly ((token: string) => string)[] = [
  (token) => token.toUpperCase(),
  (token) => token.toLowerCase(),
  (token) => `${token}=`,
  (token) => `${token}==`,
  (token) => `${token}A`,
  (token) => `A${token}`,
  (token) => `${token} `,
  (token) => ` ${token}`,
  (token) => `${token}\t`,
  (token) => `${token}\n`,
  (token) => `${token}\u0000`,
  (token) => `${token}%00`,
  (token) => `${token}\u200b`,
  (token) => `\ufeff${token}`,
  (token) => `${token}.${token}`,
  (token) => `${token},${token}`,
  (token) => `"${token}"`,
  (token) => `["${token}"]`,
  (token) => token + token,
  (token) => [...token].reverse().join(''),
  (token) => Buffer.from(token).toString('base64url'),
  (token) => Buffer.from(token).toString('hex'),
  (token) => encodeURIComponent(`${token}/../${token}`),
  (token) => `${token}*`,
  (token) => `${token}'--`,
  (token) => token.replace(/[-_]/g, (c) => (c === '-' ? '+' : '/')).concat('&'),
  (token) => token.slice(1) + token.slice(0, 1),
  (token) => `${token}:${token}`,
]
