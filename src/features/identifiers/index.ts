/**
 * Identifiers as people type them: read into the one form that accounts are kept under, and, when one is refused because it
 * mixes scripts (a homograph of somebody's address, A105), stated for operators. Owns no table. The form itself belongs to
 * accounts; what a page answers belongs to its step.
 */
import type { Feature } from '../../feature.ts'
import { createIdentifierService, type IdentifierDeps, type IdentifierService } from './service.ts'

/** The feature and its service. */
export function createIdentifiers(deps: IdentifierDeps): Feature & { readonly service: IdentifierService } {
  return { name: 'identifiers', service: createIdentifierService(deps) }
}
