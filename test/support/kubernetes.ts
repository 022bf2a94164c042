/** Kubernetes documents, checked against the API's own schemas (those of its OpenAPI, compiled by kubernetes-models). */
import { ServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1'
import { Deployment } from 'kubernetes-models/apps/v1'
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2'
import { Ingress, NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1'
import { ConfigMap, Service } from 'kubernetes-models/v1'
import { parseAllDocuments } from 'yaml'

export interface KubernetesDocument {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly labels?: { readonly [name: string]: string } }
}

const MODELS = [
  ...[ConfigMap, Deployment, HorizontalPodAutoscaler, Ingress],
  ...[NetworkPolicy, PodDisruptionBudget, Service, ServiceMonitor],
]
const TOP = ['apiVersion', 'kind', 'metadata', 'spec', 'data']

export function documentsOf(text: string): KubernetesDocument[] {
  return parseAllDocuments(text)
    .map((document) => {
      const [error] = document.errors
      if (error !== undefined) throw error
      return document.toJS() as KubernetesDocument | null
    })
    .filter((document): document is KubernetesDocument => document !== null)
}

/** What the API server would refuse or, for a field that it does not know, silently drop. */
export function problemsOf(document: KubernetesDocument): string[] {
  const model = MODELS.find(({ apiVersion, kind }) => apiVersion === document.apiVersion && kind === document.kind)
  if (model === undefined) return [`${document.apiVersion} ${document.kind}: no such kind is known here`]
  const name = `${document.kind} ${document.metadata.name}`
  const unread = new Set<string>()
  const problems: string[] = []
  try {
    model.prototype.validate.call(watched(document, name, unread))
  } catch (error) {
    problems.push(`${name}: ${(error as Error).message}`)
  }
  const unknown = Object.keys(document).filter((key) => !TOP.includes(key))
  return [...problems, ...[...unread, ...unknown].map((field) => `${field}: no schema knows it`)]
}

/** The schemas say what fields there are, and allow others. What no check of them has looked at, none of them knows. */
function watched<T extends object>(value: T, path: string, unread: Set<string>): T {
  for (const key of Object.keys(value)) unread.add(`${path}.${key}`)
  const children = new Map<PropertyKey, object>()
  return new Proxy(value, {
    get(target, key, receiver) {
      unread.delete(`${path}.${String(key)}`)
      const child: unknown = Reflect.get(target, key, receiver)
      if (typeof child !== 'object' || child === null) return child
      const known = children.get(key) ?? watched(child, `${path}.${String(key)}`, unread)
      children.set(key, known)
      return known
    },
  })
}
