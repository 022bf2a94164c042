import { describe, expect, it } from '@jest/globals'
import { redisPlace, redisUrlProblem } from '../../src/config/redis_url.ts'

describe('REDIS_URL', () => {
  it('names one server', () => {
    expect(redisPlace('redis://localhost')).toMatchObject({ kind: 'one', tls: false })
    expect(redisPlace('rediss://user:secret@cache.internal:6380/2')).toMatchObject({
      ...{ kind: 'one', tls: true, url: 'rediss://user:secret@cache.internal:6380/2' },
    })
  })

  it('names sentinels and their master', () => {
    expect(redisPlace('redis+sentinel://a,b:26380,[2001:db8::1]:26379/mymaster')).toEqual({
      ...{ kind: 'sentinel', tls: false, master: 'mymaster', database: 0, sentinelLogin: {} },
      sentinels: [
        { host: 'a', port: 26_379 },
        { host: 'b', port: 26_380 },
        { host: '2001:db8::1', port: 26_379 },
      ],
    })
    const full = 'rediss+sentinel://genkan:p%40ss%2Fword@a:1/main/3?sentinel_username=watch&sentinel_password=other%25'
    expect(redisPlace(full)).toEqual({
      ...{ kind: 'sentinel', tls: true, username: 'genkan', password: 'p@ss/word', master: 'main', database: 3 },
      ...{ sentinels: [{ host: 'a', port: 1 }], sentinelLogin: { username: 'watch', password: 'other%' } },
    })
  })

  it('names nodes of a cluster', () => {
    expect(redisPlace('rediss+cluster://:secret@a:7001,b')).toEqual({
      ...{ kind: 'cluster', tls: true, username: undefined, password: 'secret' },
      nodes: [
        { host: 'a', port: 7001 },
        { host: 'b', port: 6379 },
      ],
    })
  })

  it.each([
    ['localhost:6379', /none of redis:/],
    ['http://localhost', /none of redis:/],
    ['redis+ring://a:1', /none of redis:/],
    ['redis://', /none of redis:|no host/],
    ['redis://localhost/two', /number of a database/],
    ['redis+sentinel://a:26379', /names no master/],
    ['redis+sentinel://a:26379/m/x', /\/master\/number/],
    ['redis+sentinel:///mymaster', /names no hosts/],
    ['redis+sentinel://a/m?password=x', /unknown parameter password/],
    ['redis+cluster://a:7001/2', /no numbers of databases/],
    ['redis+cluster://a:70000', /port 70000/],
    ['redis+cluster://a:7001,,b', /names no hosts/],
    ['redis+cluster://genkan@a:7001', /user without a password/],
    ['redis+cluster://:%zz@a:7001', /% that encodes nothing/],
  ])('%s is refused', (url, problem) => expect(redisUrlProblem(url)).toMatch(problem))

  it('no problem repeats a password', () => {
    for (const rest of ['@a:70000', '@a/1', '@', '%zz@a:1', '@a:1?x=1'])
      expect(redisUrlProblem(`redis+cluster://user:hunter2${rest}`)).not.toMatch(/hunter2/)
    expect(redisUrlProblem('redis://user:hunter2@host/two')).not.toMatch(/hunter2/)
  })
})
