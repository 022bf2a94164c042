/** Tries the mail server without sending anything. */
const ANSWER_MS = 5000

/** Connects to `smtp://` or `smtps://`, negotiates TLS and signs in. Rejects with what the server or the network said. */
export async function checkMailServer(url: string): Promise<void> {
  const { createTransport } = await import('nodemailer')
  const transport = createTransport({
    url,
    connectionTimeout: ANSWER_MS,
    greetingTimeout: ANSWER_MS,
    socketTimeout: ANSWER_MS,
    dnsTimeout: ANSWER_MS,
  })
  try {
    await transport.verify()
  } finally {
    transport.close()
  }
}
