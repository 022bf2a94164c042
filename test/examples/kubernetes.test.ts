/** The chart and the manifests for Kubernetes: what the API takes, what hangs together, and what the product has. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { loadConfig } from '../../src/config/config.ts'
import { helm } from '../support/helm.ts'
import { documentsOf, type KubernetesDocument, problemsOf } from '../support/kubernetes.ts'
import { realStores, type Server, startServer } from '../support/server.ts'

const FOLDER = 'examples/kubernetes'
const CHART = `${FOLDER}/chart`
const EXAMPLE = ['-f', `${FOLDER}/values.example.yaml`]
const LEAST = ['--set', 'image.repository=genkan,config.issuer=https://id.example.com']
const WITHOUT = ['autoscaling', 'podDisruptionBudget', 'networkPolicy'].flatMap((part) => [
  '--set',
  `${part}.enabled=false`,
])
const DATABASE = 'postgres://genkan@db.example.com/genkan'

type Labels = { readonly [name: string]: string }
interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
}
interface Container {
  readonly name: string
  readonly image: string
  readonly args: readonly string[]
  readonly env: readonly { readonly name: string; readonly value: string }[]
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[]
  readonly securityContext: object
  readonly resources: object
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[]
  readonly startupProbe: Probe
  readonly livenessProbe: Probe
  readonly readinessProbe: Probe
}
interface Pod {
  readonly metadata: { readonly labels: Labels; readonly annotations: Labels }
  readonly spec: {
    readonly containers: readonly [Container]
    readonly initContainers: readonly [Container]
    readonly volumes: readonly { readonly name: string; readonly emptyDir?: object }[]
    readonly securityContext: object
    readonly enableServiceLinks: boolean
    readonly automountServiceAccountToken: boolean
    readonly terminationGracePeriodSeconds: number
  }
}

const render = async (...words: string[]) => helm('template', 'genkan', CHART, '--namespace', 'genkan', ...words)
const of = <T>(documents: readonly KubernetesDocument[], kind: string): T => {
  const found = documents.find((document) => document.kind === kind)
  if (found === undefined) throw new Error(`no ${kind}`)
  return found as T
}
const podOf = (documents: readonly KubernetesDocument[]) =>
  of<{ spec: { template: Pod } }>(documents, 'Deployment').spec.template

let everything: string
let documents: KubernetesDocument[]
beforeAll(async () => {
  everything = await render(...EXAMPLE)
  documents = documentsOf(everything)
}, 300_000)

describe('the chart', () => {
  it('is without fault to Helm', async () => {
    expect(await helm('lint', '--strict', CHART, ...EXAMPLE)).toContain('0 chart(s) failed')
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
    expect(podOf(documents).spec.containers[0].image).toBe(`registry.example.com/genkan:${version}`)
  })

  it.each([
    ['the example', EXAMPLE, 9],
    ['the least', LEAST, 7],
    ['everything off', [...LEAST, ...WITHOUT], 4],
  ])('with %s renders what the API takes', async (_, words, count) => {
    const rendered = documentsOf(await render(...words))
    expect(rendered.flatMap(problemsOf)).toEqual([])
    expect(rendered).toHaveLength(count)
  })

  it('the check finds wrong values, fields that nobody knows, and what is missing', () => {
    const broken = documentsOf(
      everything
        .replace('maxSurge: 1', 'maxSurge: [1]')
        .replace('failureThreshold: 30', 'failureTreshold: 30')
        .replace('maxReplicas: 10', '')
        .replace('enableServiceLinks: false', 'enableServiceLink: false'),
    )
    const problems = broken.flatMap(problemsOf).join('\n')
    for (const part of ['maxSurge', 'startupProbe.failureTreshold', 'maxReplicas', 'enableServiceLink:'])
      expect(problems).toContain(part)
  })

  it.each([
    ['no issuer', ['--set', 'image.repository=genkan'], 'issuer'],
    ['no image', ['--set', 'config.issuer=https://id.example.com'], 'image'],
    ['a misspelled value', [...LEAST, '--set', 'replica=3'], 'replica'],
  ])('refuses %s', async (_, words, named) => {
    await expect(render(...words)).rejects.toThrow(named)
  })

  it('is what manifests/ was rendered from (GENKAN_TEST_GOLDEN=write makes it anew)', () => {
    const files = new Map<string, string>()
    for (const part of everything.split(/^---\n/m).filter((text) => text.trim() !== '')) {
      const [, source = '', text = ''] = /^# Source: genkan\/templates\/(\S+)\n([\s\S]*)$/.exec(part) ?? []
      files.set(source, [...(files.has(source) ? [files.get(source)] : []), text].join('---\n'))
    }
    const folder = `${FOLDER}/manifests`
    if (process.env.GENKAN_TEST_GOLDEN === 'write') {
      rmSync(folder, { recursive: true, force: true })
      mkdirSync(folder)
      for (const [name, text] of files) writeFileSync(`${folder}/${name}`, text)
    }
    const written = readdirSync(folder).map((name) => [name, readFileSync(`${folder}/${name}`, 'utf8')] as const)
    expect(new Map(written)).toEqual(files)
  })

  it('hangs together: selectors, names, ports, volumes', () => {
    const pod = podOf(documents)
    const deployment = of<KubernetesDocument & { spec: { selector: { matchLabels: Labels } } }>(documents, 'Deployment')
    expect(pod.metadata.labels).toMatchObject(deployment.spec.selector.matchLabels)
    const services = documents.filter(({ kind }) => kind === 'Service') as unknown as {
      metadata: { name: string; labels: Labels }
      spec: { selector: Labels; ports: { name: string; targetPort: string }[] }
    }[]
    const named = (pod.spec.containers[0].ports ?? []).map(({ name }) => name)
    for (const { spec } of services) {
      expect(pod.metadata.labels).toMatchObject(spec.selector)
      for (const { targetPort } of spec.ports) expect(named).toContain(targetPort)
    }
    type Selecting = { spec: { selector?: { matchLabels: Labels }; podSelector?: { matchLabels: Labels } } }
    for (const kind of ['PodDisruptionBudget', 'NetworkPolicy']) {
      const { selector, podSelector } = of<Selecting>(documents, kind).spec
      expect(pod.metadata.labels).toMatchObject((selector ?? podSelector)?.matchLabels ?? { none: 'none' })
    }
    const monitored = of<Selecting>(documents, 'ServiceMonitor').spec.selector?.matchLabels ?? {}
    const management = services.filter(({ metadata }) =>
      Object.entries(monitored).every(([label, value]) => metadata.labels[label] === value),
    )
    expect(management.map(({ spec }) => spec.ports[0]?.name)).toEqual(['management'])
    const target = of<{ spec: { scaleTargetRef: object } }>(documents, 'HorizontalPodAutoscaler').spec.scaleTargetRef
    expect(target).toEqual({ apiVersion: 'apps/v1', kind: 'Deployment', name: deployment.metadata.name })
    const volumes = pod.spec.volumes.map(({ name }) => name).sort()
    for (const { volumeMounts } of [...pod.spec.containers, ...pod.spec.initContainers])
      expect(volumeMounts.map(({ name }) => name).sort()).toEqual(volumes)
  })

  it('keeps the restricted Pod Security Standard, on a read-only root', () => {
    const { spec } = podOf(documents)
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } })
    expect(spec.automountServiceAccountToken).toBe(false)
    for (const container of [...spec.containers, ...spec.initContainers]) {
      expect(container.securityContext).toEqual({
        ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
        capabilities: { drop: ['ALL'] },
      })
      expect(container.resources).toMatchObject({ limits: { memory: expect.any(String) } })
    }
    // What the image writes to is a volume.
    const data = /DATA_DIR=(\S+)/.exec(readFileSync('Dockerfile', 'utf8'))?.[1]
    const writable = spec.containers[0].volumeMounts.filter(({ readOnly }) => readOnly !== true)
    expect(writable.map(({ mountPath }) => mountPath)).toEqual([data, '/tmp'])
  })
})

describe('what the pods run', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'genkan-kubernetes-'))
  let server: Server
  beforeAll(async () => {
    const { args } = podOf(documents).spec.containers[0]
    const settings = { drain_seconds: 0 }
    server = await startServer({ settings, stores: await realStores(), command: args })
  })
  afterAll(async () => {
    await server?.close()
    rmSync(scratch, { recursive: true, force: true })
  })

  /** The environment of the pod, with its files in a folder of the test. */
  function environmentOf(rendered: readonly KubernetesDocument[], more: Labels = {}) {
    const { data } = of<{ data: Labels }>(rendered, 'ConfigMap')
    const move = (path: string) => path.replaceAll('/run/secrets/genkan', scratch).replace('/etc/genkan', scratch)
    for (const [name, text] of Object.entries(data)) writeFileSync(join(scratch, name), move(text))
    const secrets = {
      secret_keys: Buffer.alloc(32, 1).toString('base64'),
      database_url: DATABASE,
      shop: 'x'.repeat(32),
    }
    const stores = { redis_url: 'redis://redis.example.com', smtp_url: 'smtp://mail.example.com' }
    for (const [name, text] of Object.entries({ ...secrets, ...stores })) writeFileSync(join(scratch, name), text)
    const { env } = podOf(rendered).spec.containers[0]
    const given = Object.fromEntries(env.map(({ name, value }) => [name, move(value)]))
    return { NODE_ENV: 'production', MANAGEMENT_HOST: '0.0.0.0', ...given, ...more }
  }

  it.each([
    ['the example', EXAMPLE],
    ['the least', LEAST],
  ])('reads the settings of %s, and the ports are theirs', async (_, words) => {
    const rendered = documentsOf(await render(...words))
    const { spec } = podOf(rendered)
    const config = loadConfig(environmentOf(rendered))
    expect(config).toMatchObject({ issuer: 'https://id.example.com', databaseUrl: DATABASE, drainMs: 10_000 })
    expect(spec.containers[0].ports).toEqual([
      { name: 'http', containerPort: config.port },
      { name: 'management', containerPort: config.managementPort },
    ])
    // A stop takes 30 seconds at the most, whatever drain_seconds says.
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(30)
    // What Kubernetes writes for a Service of this name would be refused.
    expect(spec.enableServiceLinks).toBe(false)
    expect(() => loadConfig(environmentOf(rendered, { GENKAN_SERVICE_HOST: '10.0.0.1' }))).toThrow(
      'GENKAN_SERVICE_HOST',
    )
  })

  it('answers the probes, and has the metrics that are scraped and scaled by', async () => {
    const { containers, initContainers } = podOf(documents).spec
    for (const name of ['startupProbe', 'livenessProbe', 'readinessProbe'] as const) {
      const { path, port } = containers[0][name].httpGet
      expect(port).toBe('management')
      expect((await fetch(`${server.managementOrigin}${path}`)).status).toBe(200)
    }
    expect(containers[0].readinessProbe.httpGet.path).toBe('/readyz')
    const [endpoint] = of<{ spec: { endpoints: { path: string }[] } }>(documents, 'ServiceMonitor').spec.endpoints
    const metrics = await (await fetch(`${server.managementOrigin}${endpoint?.path}`)).text()
    type Scaled = { spec: { metrics: { pods?: { metric: { name: string } } }[] } }
    const scaled = of<Scaled>(documents, 'HorizontalPodAutoscaler').spec.metrics.flatMap(({ pods }) => pods ?? [])
    expect(scaled).toHaveLength(1)
    for (const { metric } of scaled) expect(metrics).toMatch(new RegExp(`^${metric.name}(?:\\{[^}]*\\})? \\d`, 'm'))
    const migrated = await server.run(...initContainers[0].args)
    expect([migrated.code, migrated.stderr]).toEqual([0, ''])
  })
})
