/** Addresses that lead behind the server, or nowhere, in every spelling (A70); those with a port name the canary's. */
export function internalUrls(port: number | string): string[] {
  const hosts = [
    ...[
      '127.0.0.1',
      'localhost',
      '127.1',
      '127.0.1',
      '0x7f.1',
      '0x7f000001',
      '2130706433',
      '0177.0.0.1',
      '017700000001',
    ],
    ...[
      '0.0.0.0',
      '0',
      '[::1]',
      '[::]',
      '[::ffff:127.0.0.1]',
      '[::ffff:7f00:1]',
      '[0:0:0:0:0:0:0:1]',
      '[64:ff9b::7f00:1]',
    ],
    ...['LOCALHOST', 'localhost.', '127.0.0.1.', '①②⑦.0.0.1', '127。0。0。1', 'a@127.0.0.1', 'a:b@localhost'],
  ]
  return [
    ...hosts.map((host) => `https://${host}:${port}/internal`),
    ...['127.0.0.1', 'localhost', '[::1]', '0x7f.1'].map((host) => `http://${host}:${port}/internal`),
    ...['https://169.254.169.254/latest/meta-data', 'http://169.254.169.254/latest/meta-data', 'https://10.0.0.1/'],
    ...[
      'https://192.168.0.1/',
      'https://172.16.0.1/',
      'https://100.64.0.1/',
      'https://[fe80::1]/',
      'https://[fd00::1]/',
    ],
    ...['file:///etc/passwd', `gopher://127.0.0.1:${port}/_x`, `ftp://127.0.0.1:${port}/`, `dict://127.0.0.1:${port}/`],
    ...['data:application/json,[]', 'javascript:alert(1)', `//127.0.0.1:${port}/`, 'https:///internal', 'https://'],
    `https://127.0.0.1:${port}\\@example.com/`,
    `https://example.com@127.0.0.1:${port}/`,
    `https://127.0.0.1:${port}#@example.com/`,
  ]
}
