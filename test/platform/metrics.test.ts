import { describe, expect, it } from '@jest/globals'
import { createMetrics } from '../../src/platform/metrics.ts'

const series = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

describe('metrics', () => {
  const create = () =>
    createMetrics({
      routes: ['token', 'authorization'],
      jobs: ['dispatch'],
      hashQueue: () => ({ running: 2, queued: 5, signUps: 1, width: 3, places: 33 }),
      processMetrics: false,
    })

  it('counts what operators watch', async () => {
    const metrics = create()
    metrics.signIn('success', 'pwd')
    metrics.signIn('success', 'pwd')
    metrics.token('client_credentials')
    metrics.identifierRefused('mixed_script', 'counted')
    metrics.token('urn:ietf:params:oauth:grant-type:device_code')
    metrics.request('token', 'POST', 200, 0.02)
    metrics.jobFailed('dispatch')
    metrics.outboxLag(1.5)
    metrics.hashQueue.waited('sign_in', 0.2)
    metrics.hashQueue.refused('full', 'sign_up')
    const text = await metrics.registry.metrics()
    expect(series(text)).toEqual(
      expect.arrayContaining([
        'genkan_sign_ins_total{result="success",method="pwd"} 2',
        'genkan_tokens_issued_total{grant="client_credentials"} 1',
        'genkan_identifiers_refused_total{reason="mixed_script",as="counted"} 1',
        'genkan_tokens_issued_total{grant="device_code"} 1',
        'genkan_http_request_duration_seconds_count{route="token",method="POST",status_class="2xx"} 1',
        'genkan_jobs_failed_total{job="dispatch"} 1',
        'genkan_outbox_lag_seconds 1.5',
        'genkan_hash_queue_running 2',
        'genkan_hash_queue_width 3',
        'genkan_hash_queue_places 33',
        'genkan_hash_queue_length{priority="sign_in"} 4',
        'genkan_hash_queue_length{priority="sign_up"} 1',
        'genkan_hash_queue_wait_seconds_count{priority="sign_in"} 1',
        'genkan_hash_queue_refused_total{reason="full",priority="sign_up"} 1',
      ]),
    )
  })

  it('A107: 5,000 odd values keep the number of series flat', async () => {
    const metrics = create()
    const odd = (value: string) => {
      metrics.signIn(value, value)
      metrics.token(value)
      metrics.request(value, value, Number(value.slice(4)) * 7, 0.1)
      metrics.jobFailed(value)
    }
    odd('odd-1')
    for (const status of [100, 200, 300, 400, 500, 0, Number.NaN]) metrics.request('x', 'x', status, 0.1)
    const before = series(await metrics.registry.metrics()).length
    for (let i = 0; i < 5000; i++) odd(`odd-${i}"}\n`)
    for (const name of ['__proto__', 'constructor', 'toString', '']) odd(name)
    const after = series(await metrics.registry.metrics())
    expect(after).toHaveLength(before)
    expect(after.join()).not.toContain('odd-')
  })

  it('has a registry of its own, so that two may live in one process', async () => {
    const [first, second] = [create(), create()]
    first.token('refresh_token')
    expect(await second.registry.metrics()).not.toContain('grant="refresh_token"')
  })

  it('tells about the process by default', async () => {
    const { registry } = createMetrics({ routes: [] })
    expect(await registry.metrics()).toContain('process_cpu_seconds_total')
    registry.clear()
  })
})
