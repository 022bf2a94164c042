/** What an operator declares of those who check persons, and what they send. Strict: a misspelt member is an error. */
import { z } from 'zod'
import { displayName } from '../../platform/display_name.ts'
import { webUriProblem } from '../../platform/uri_rules.ts'
import { webhookKey } from '../../platform/webhook_signature.ts'
import { identifyingMembers, identifyingOf } from '../identifications/types.ts'
import type { ProofingProvider } from './types.ts'

const name = z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/, 'must be small letters, digits, - and _')

const common = { title: displayName.max(40).optional(), ...identifyingMembers }

/** Parameters of ours, which a start address must leave to us. */
export const REFERENCE = 'reference'
export const RETURN_TO = 'return_to'

const startUrl = z.string().superRefine((value, context) => {
  const problem = webUriProblem(value) ?? takenParameter(value)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

function takenParameter(value: string): string | undefined {
  const { searchParams } = new URL(value)
  const taken = [REFERENCE, RETURN_TO].find((parameter) => searchParams.has(parameter))
  return taken === undefined ? undefined : `must not have a parameter ${taken}`
}

const key = z.string().transform((secret, context) => {
  const read = webhookKey(secret)
  if (read !== undefined) return read
  context.addIssue({ code: 'custom', message: 'must be whsec_ and 24 bytes or more in base64' })
  return z.NEVER
})

const webhook = z.strictObject({
  kind: z.literal('webhook'),
  ...common,
  start_url: startUrl,
  secret: z.union([key.transform((one) => [one]), z.array(key).min(1).max(2)]),
})
const manual = z.strictObject({ kind: z.literal('manual'), ...common })

const declaration = z.discriminatedUnion('kind', [webhook, manual])

/** As the configuration file has it. */
export type ProofingDeclaration = { readonly name: string; readonly [member: string]: unknown }

/** By their names, in the order of the file; else every problem, one a line. `upstreams` are the names that are taken. */
export function readProofings(
  declared: readonly ProofingDeclaration[],
  upstreams: readonly string[],
): { readonly providers: ReadonlyMap<string, ProofingProvider> } | { readonly problems: readonly string[] } {
  const problems: string[] = []
  const providers = new Map<string, ProofingProvider>()
  for (const { name: typed, ...members } of declared) {
    const parsed = declaration.safeParse(members)
    const found = [
      ...(name.safeParse(typed).error?.issues ?? []).map(({ message }) => `name: ${message}`),
      ...(providers.has(typed) ? ['name: is declared twice'] : []),
      // What either verifies is recorded under its name.
      ...(upstreams.includes(typed) ? ['name: is that of an upstream'] : []),
      ...(parsed.error?.issues ?? []).map(({ path, message }) => `${path.join('.') || 'proofing'}: ${message}`),
    ]
    problems.push(...found.map((problem) => `proofings.${typed}.${problem}`))
    if (parsed.success) providers.set(typed, toProvider(typed, parsed.data))
  }
  return problems.length > 0 ? { problems } : { providers }
}

function toProvider(providerName: string, settings: z.output<typeof declaration>): ProofingProvider {
  const { kind, title = providerName } = settings
  return {
    ...{ name: providerName, title, identification: identifyingOf(settings) },
    webhook: kind === 'webhook' ? { startUrl: settings.start_url, keys: settings.secret } : undefined,
  }
}

/** A code, never a text: it stands in the ledger, where no name of a person may be. */
const reason = z.string().regex(/^[\w.:-]{1,64}$/, 'must be a code of letters, digits, _ . : and -')

const resultSchema = z.strictObject({
  reference: z.string().regex(/^[\w-]{43}$/, 'must be the reference that the person came with'),
  status: z.enum(['verified', 'refused', 'review']),
  /** When the person was seen there; now without. */
  verified_at: z.iso
    .datetime({ offset: true })
    .transform((text) => new Date(text))
    .optional(),
  /** More than is declared may be said; it is not looked at. */
  claims: z.record(z.string(), z.unknown()).default({}),
  reason: reason.optional(),
})
export type ProofingResult = z.output<typeof resultSchema>

/** Of clocks that differ. */
const AHEAD_MS = 300_000

/** What a provider has sent, or what is wrong with it. */
export function readResult(body: string, now: Date): { readonly result: ProofingResult } | { readonly detail: string } {
  try {
    const parsed = resultSchema.safeParse(JSON.parse(body))
    if (!parsed.success) {
      const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
      return { detail: problems.join('; ') }
    }
    const { verified_at: at } = parsed.data
    if (at !== undefined && at.getTime() > now.getTime() + AHEAD_MS) return { detail: 'verified_at: is in the future' }
    return { result: parsed.data }
  } catch {
    return { detail: 'body: is no JSON' }
  }
}
