import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import PostalMime from 'postal-mime'
import { SMTPServer } from 'smtp-server'
import { PermanentFailure } from '../../src/platform/delivery_rows.ts'
import { createMailer, type Mailer, plainAddress } from '../../src/platform/mailer.ts'

const from = 'Genkan Äpfel <no-reply@id.example>'
const message = {
  id: '0192f0c0ffee',
  to: 'ann@example.test',
  subject: 'Your code',
  html: '<p>Code <b>123456</b></p>',
  text: 'Code 123456',
  locale: 'en',
  date: new Date('2026-11-22T10:00:00.123Z'),
}

/** CVE-2025-13033, CVE-2026-100699, CVE-2022-35924 and their relatives: one parser's recipient is another's comment. */
const HOSTILE = [
  'a@x.example,b@evil.example',
  'a@x.example;b@evil.example',
  'a@x.example b@evil.example',
  '"b@evil.example x"@x.example',
  '"a"@x.example',
  'a(b@evil.example)@x.example',
  '<a@x.example>',
  'Ann <a@x.example>',
  'a@x.example\r\nBcc: b@evil.example',
  'a@x.example\nRCPT TO:<b@evil.example>',
  'a\0@x.example',
  'a@b@x.example',
  'a＠x.example',
  'a@x.example\u2028',
  '\u202ea@x.example',
  ' a@x.example',
  'a@x.example ',
  'a@[127.0.0.1]',
  'a@x..example',
  'a@-x.example',
  'a@x.example.',
  'a..b@x.example',
  '.a@x.example',
  'a@',
  '@x.example',
  'a',
  '',
  'a:b@evil.example;@x.example',
  'a\\@x.example',
  '=?utf-8?q?b=40evil=2Eexample=3E?=@x.example>',
  `${'a'.repeat(65)}@x.example`,
  `a@${'x.'.repeat(130)}example`,
]

describe('plain addresses (A28)', () => {
  it.each(HOSTILE)('refuses %j', (address) => {
    expect(plainAddress(address)).toBe(false)
  })
  it.each([
    'a@x.example',
    'ann.o+tag@sub.x-y.example',
    "o'hara@x.example",
    'jürgen@xn--bcher-kva.example',
    'a@localhost',
    '!#$%&*/=?^_`{|}~-@x.example',
  ])('takes %j', (address) => {
    expect(plainAddress(address)).toBe(true)
  })
})

describe('mail by SMTP', () => {
  let server: SMTPServer
  let mailer: Mailer
  let received: { rcpt: string[]; sender: string; raw: string }[]
  let connections = 0
  let refuseRecipient = 0
  let refuseData = 0
  beforeEach(async () => {
    received = []
    connections = 0
    refuseRecipient = 0
    refuseData = 0
    server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS', 'AUTH'],
      onConnect: (_session, done) => {
        connections += 1
        done()
      },
      onRcptTo: (address, _session, done) => {
        if (refuseRecipient === 0) return done()
        const text = `${address.address} is unknown here`
        done(Object.assign(new Error(text), { responseCode: refuseRecipient }))
      },
      onData: (stream, session, done) => {
        const parts: Buffer[] = []
        stream.on('data', (part: Buffer) => parts.push(part))
        stream.on('end', () => {
          if (refuseData !== 0) return done(Object.assign(new Error('not now'), { responseCode: refuseData }))
          const { rcptTo, mailFrom } = session.envelope
          received.push({
            rcpt: rcptTo.map(({ address }) => address),
            sender: mailFrom === false ? '' : mailFrom.address,
            raw: Buffer.concat(parts).toString(),
          })
          done()
        })
      },
    })
    server.on('error', () => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
    const { port } = server.server.address() as AddressInfo
    mailer = createMailer({ smtpUrl: `smtp://127.0.0.1:${port}`, from, dataDir: '/nowhere' })
  })
  afterEach(async () => {
    mailer.close()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  })

  it('sends both parts, with a Message-ID of the fact, over a kept connection', async () => {
    await mailer.send(message)
    await mailer.send({ ...message, id: 'another' })
    expect(connections).toBe(1)
    expect(received[0]).toMatchObject({ rcpt: ['ann@example.test'], sender: 'no-reply@id.example' })
    const mail = await PostalMime.parse(received[0]?.raw ?? '')
    expect(mail).toMatchObject({
      subject: 'Your code',
      from: { name: 'Genkan Äpfel', address: 'no-reply@id.example' },
      to: [{ address: 'ann@example.test' }],
      messageId: '<0192f0c0ffee@id.example>',
      date: '2026-11-22T10:00:00.000Z',
    })
    expect(mail.text?.trim()).toBe('Code 123456')
    expect(mail.html?.trim()).toBe('<p>Code <b>123456</b></p>')
    expect(received[0]?.raw).toMatch(/^Auto-Submitted: auto-generated\r$/m)
    expect(received[1]?.raw).toContain('<another@id.example>')
  })

  it('A28: RCPT TO is exactly the one address or nothing is sent', async () => {
    for (const to of HOSTILE) await expect(mailer.send({ ...message, to })).rejects.toBeInstanceOf(PermanentFailure)
    expect([received.length, connections]).toEqual([0, 0])
    await mailer.send({ ...message, to: "o'hara+tag@x.example" })
    expect(received[0]?.rcpt).toEqual(["o'hara+tag@x.example"])
  })

  it('A29: CRLF in subject, names and language makes no header, file names and addresses are never read in', async () => {
    const injection = 'x\r\nBcc: evil@evil.example\r\n\r\n<script>\u2028y'
    await mailer.send({
      ...message,
      id: `id>\r\nBcc: evil@evil.example`,
      subject: injection,
      locale: injection,
      text: injection,
      html: '<img src="file:///etc/passwd">',
    })
    const mail = await PostalMime.parse(received[0]?.raw ?? '')
    expect(received[0]?.rcpt).toEqual(['ann@example.test'])
    expect(mail.bcc).toBeUndefined()
    expect(mail.headers.map(({ key }) => key)).not.toContain('bcc')
    expect(mail.subject).toBe('x Bcc: evil@evil.example <script> y')
    expect(mail.attachments).toEqual([])
    const path = { path: '/etc/passwd' } as unknown as string
    await expect(mailer.send({ ...message, text: path })).rejects.toThrow(/not accepted/)
    expect(received).toHaveLength(1)
  })

  it('F38: a refused recipient is final, everything else is tried again; no answer of the server is told', async () => {
    refuseRecipient = 550
    await expect(mailer.send(message)).rejects.toBeInstanceOf(PermanentFailure)
    await expect(mailer.send(message)).rejects.not.toThrow(/ann|unknown here/)
    refuseRecipient = 450
    await expect(mailer.send(message)).rejects.not.toBeInstanceOf(PermanentFailure)
    refuseRecipient = 0
    for (const status of [451, 554]) {
      refuseData = status
      await expect(mailer.send(message)).rejects.not.toBeInstanceOf(PermanentFailure)
    }
    refuseData = 0
    await mailer.send(message)
    expect(received).toHaveLength(1)
  })

  it('F38: fails within seconds when the server is away', async () => {
    const away = createMailer({ smtpUrl: 'smtp://127.0.0.1:1', from, dataDir: '/nowhere' })
    const began = performance.now()
    await expect(away.send(message)).rejects.toThrow(/not accepted/)
    expect(performance.now() - began).toBeLessThan(6000)
    away.close()
  })
})

describe('a mail server that hangs (F38)', () => {
  let server: Server
  const sockets: Socket[] = []
  let acknowledged = 0
  let mode: 'greeting' | 'close' = 'greeting'
  beforeAll(async () => {
    server = createServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => {})
      if (mode === 'greeting') return
      socket.write('220 fake\r\n')
      let data = false
      socket.on('data', (chunk) => {
        const text = chunk.toString()
        if (data) {
          if (!text.endsWith('\r\n.\r\n')) return
          acknowledged += 1
          return void socket.destroy()
        }
        data = text.startsWith('DATA')
        socket.write(data ? '354 go\r\n' : '250 fine\r\n')
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  afterAll(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  const open = () =>
    createMailer({ smtpUrl: `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`, from, dataDir: '/nowhere' })

  it('does not wait longer than five seconds for a greeting', async () => {
    mode = 'greeting'
    const mailer = open()
    const began = performance.now()
    await expect(mailer.send(message)).rejects.toThrow(/not accepted/)
    expect(performance.now() - began).toBeLessThan(7000)
    mailer.close()
  })

  it('does not repeat by itself what a server took without an answer', async () => {
    mode = 'close'
    const mailer = open()
    await expect(mailer.send(message)).rejects.toThrow(/not accepted/)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(acknowledged).toBe(1)
    mailer.close()
  })
})

describe('mail as files', () => {
  let dataDir = ''
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'genkan-mailer-'))
  })
  afterEach(() => {
    rmSync(dataDir, { recursive: true, force: true })
  })

  it('writes whole files that only the owner reads, one for each fact however often it is repeated', async () => {
    const mailer = createMailer({ from: 'no-reply@localhost', dataDir })
    await mailer.send(message)
    await mailer.send(message)
    await mailer.send({ ...message, id: '../../evil', to: 'bob@example.test' })
    const folder = join(dataDir, 'mail')
    const names = readdirSync(folder).sort()
    expect(names).toEqual(['2026-11-22T10-00-00-123Z-0192f0c0ffee.eml', '2026-11-22T10-00-00-123Z-evil.eml'])
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    for (const name of names) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600)
    const mail = await PostalMime.parse(readFileSync(join(folder, names[0] ?? '')))
    expect(mail).toMatchObject({
      subject: 'Your code',
      to: [{ address: 'ann@example.test' }],
      from: { address: 'no-reply@localhost' },
    })
    expect(mail.text?.trim()).toBe('Code 123456')
  })

  it('A28: writes nothing for a hostile address', async () => {
    const mailer = createMailer({ from, dataDir })
    for (const to of HOSTILE) await expect(mailer.send({ ...message, to })).rejects.toBeInstanceOf(PermanentFailure)
    expect(readdirSync(dataDir)).toEqual([])
  })

  it('refuses a sender that is not an address at the start', () => {
    for (const bad of ['Genkan', 'a@b@c', 'x <a@x.example>, y <b@x.example>', '']) {
      expect(() => createMailer({ from: bad, dataDir })).toThrow('sender')
    }
  })
})
