/** The device example as it runs: its own process, and a person with a browser somewhere else. */
import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from '@jest/globals'
import { DEVICE_GRANT, goOn, typeCode } from '../support/devices.ts'
import { allow, SETTINGS } from '../support/journeys.ts'
import { mailFolder } from '../support/mailbox.ts'
import { newPerson } from '../support/people.ts'
import { startServer } from '../support/server.ts'
import { entrust } from '../support/services.ts'

it('a device shows a code, waits, and says who went on', async () => {
  const demo = {
    ...{ client_id: 'demo-device', client_name: 'Device example', token_endpoint_auth_method: 'none' },
    ...{ grant_types: [DEVICE_GRANT, 'refresh_token'], scope: 'openid email offline_access' },
  }
  const server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, demo] } })
  const child = spawn(process.execPath, ['examples/device/device.ts'], {
    cwd: new URL('../../', import.meta.url).pathname,
    env: { PATH: process.env.PATH, ISSUER: server.issuer, DEMO_DATA_DIR: server.dataDir },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  await entrust(child.pid ?? 0)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (output += part))
  const ended = new Promise((resolve) => child.once('close', resolve))
  try {
    const ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
    let found: RegExpExecArray | null = null
    for (const until = Date.now() + 20_000; found === null && Date.now() < until; await sleep(50)) {
      found = /Open (\S+) and type (\S+)/.exec(output)
    }
    const [, uri = '', code = ''] = found ?? []
    expect(output).toMatch(/[█▀▄]{5}/)
    const consent = await goOn(ann.browser, await typeCode(ann.browser, uri, code))
    expect((await allow(ann.browser, consent)).text).toContain('Your device is connected')
    await ended
    expect(output).toContain(`Connected: ${ann.email}`)
  } finally {
    child.kill()
    await server.close()
  }
})
