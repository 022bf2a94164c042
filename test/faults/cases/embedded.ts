/** F22: the embedded database, and a disk that is full. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { startServer } from '../../support/server.ts'
import * as acts from '../acts.ts'
import type { Case, Stage } from '../case.ts'
import { readiness, statusOf, until, type World } from '../world.ts'
import { attempt, type End, reason } from './attempt.ts'

/** F22: an embedded server on a small disk of its own; only root can make one. */
async function onFullDisk(stage: Stage): Promise<void> {
  const { check } = stage
  const disk = mkdtempSync(join(tmpdir(), 'genkan-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=160m', 'genkan-faults', disk])
  stage.later(async () => {
    execFileSync('umount', ['-l', disk])
    rmSync(disk, { recursive: true, force: true })
  })
  const dataDir = join(disk, 'data')
  const server = await startServer({
    settings: SETTINGS,
    dataDir,
    empty: true,
    process: 'own',
    env: { TRUSTED_PROXIES: '127.0.0.1' },
  })
  stage.later(() => server.close())
  const small: World = { ...stage.world, issuer: server.issuer, mailbox: mailFolder(dataDir) as World['mailbox'] }
  const before = await acts.register(small, 'web', acts.newEmail('before'))
  const filler = join(disk, 'filler')
  fill(filler)
  const ends: End<unknown>[] = []
  for (let tries = 0; tries < 40; tries++) {
    const browser = small.person()
    ends.push(await attempt(acts.beginRegistration(small, 'web', acts.newEmail('full'), browser)))
  }
  check(
    ends.some(({ value }) => value === undefined),
    'the disk was never full',
  )
  const wrong = ends.filter(({ error }) => error !== undefined)
  check(wrong.length === 0, `with a full disk: ${wrong[0]?.error} (${wrong.length} times)`)
  check((await statusOf(`${server.managementOrigin}/livez`)) === 200, '/livez does not answer on a full disk')
  rmSync(filler)
  await until(async () => (await readiness(server)) === 200, 10_000, 'ready with space again').catch((error: Error) =>
    check(false, error.message),
  )
  const again = await attempt(acts.signIn(small, 'spa', acts.elsewhere(small, before.account)))
  check(again.value !== undefined, `a sign-in with space again: ${reason(again)}`)
  await server.restart()
  const restarted = await attempt(acts.signIn(small, 'spa', acts.elsewhere(small, before.account)))
  check(restarted.value !== undefined, `a sign-in after a restart: ${reason(restarted)}`)
  const after = await attempt(acts.register(small, 'web', acts.newEmail('after')))
  check(after.value !== undefined, `a registration after a restart: ${reason(after)}`)
  const audit = await server.run('audit', 'verify')
  check(audit.code === 0, `audit verify: ${audit.stdout} ${audit.stderr}`)
}

function fill(path: string): void {
  const block = Buffer.alloc(64 * 1024, 1)
  for (;;) {
    try {
      writeFileSync(path, block, { flag: 'a' })
    } catch {
      return
    }
  }
}

export const F22: Case = {
  ...{ id: 'F22', title: 'disk full under the embedded database' },
  inject: onFullDisk,
  heal: async () => {},
}
