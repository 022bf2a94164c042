/**
 * Which history of Redis a record belongs to. A replica that takes over may lack the last writes of its master, and a server
 * that starts again those that were not on its disk: what was consumed or ended then stands there as if it were not. Every
 * such change gives the data another replication id. Records carry the id under which they were written, and a script
 * compares it where the record is: without a clock, a command or a word between instances, in a cluster for each node.
 */

/** Lua: the name of the present history. */
export const HISTORY = `
local function history()
  return string.sub(string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'), 1, 12)
end
`

/** In front of a script that must not fail because the memory is full: it writes over what is there (Redis 7). */
export const ALSO_WHEN_FULL = '#!lua flags=allow-oom\n'
