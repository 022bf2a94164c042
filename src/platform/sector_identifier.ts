/** Sector identifiers (OpenID Connect Dynamic Registration 1.0 §5). */
import type { HttpClient } from './http_client.ts'

/** Whether the address answers with a JSON array that has all of these. What else it does is not told (A70). */
export async function listsAll(
  fetch: HttpClient['fetch'],
  uri: string,
  redirects: readonly string[],
): Promise<boolean> {
  try {
    const response = await fetch(uri, { headers: { accept: 'application/json' } })
    const list: unknown = response.status === 200 ? await response.json() : undefined
    return Array.isArray(list) && redirects.every((redirect) => list.includes(redirect))
  } catch {
    return false
  }
}
