/** The levels of authentication as they are without any settings. */
import { tmpdir } from 'node:os'
import { loadConfig } from '../../src/config/config.ts'
import { createLevels } from '../../src/interaction/levels.ts'

const { levels, scopeLevels } = loadConfig({
  DATA_DIR: tmpdir(),
  GENKAN_CONFIG: new URL('no_settings.yaml', import.meta.url).pathname,
  GENKAN_SECRET_KEYS: Buffer.alloc(32, 7).toString('base64'),
})

export const DEFAULT_LEVELS = createLevels(levels, scopeLevels)
