/** The example's pages: plain HTML, everything that varies is escaped. */
import type { SignedIn } from './sessions.ts'

/** Marks a string that is HTML already. */
interface Html {
  readonly html: string
}

const ENTITIES: { readonly [character: string]: string } = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escapeHtml(value: unknown): string {
  return String(value).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')
}

/** Template tag: values are escaped unless they come from this tag themselves. */
function html(strings: TemplateStringsArray, ...values: readonly (string | Html | readonly Html[])[]): Html {
  const shown = values.map((value) => {
    if (typeof value === 'string') return escapeHtml(value)
    return 'html' in value ? value.html : value.map((item) => item.html).join('')
  })
  return { html: String.raw({ raw: strings }, ...shown) }
}

function page(title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="stylesheet" href="/style.css">
<main>${body}</main>
</html>
`.html
}

export function welcomePage(): string {
  return page(
    'Web example',
    html`<h1>Web example</h1>
<p class="kind">A server-side application: redirect login with a confidential client</p>
<p>You are not signed in here.</p>
<div class="actions"><a class="button primary" href="/login">Sign in</a></div>`,
  )
}

export function signedInPage({ claims }: SignedIn): string {
  const rows = Object.entries(claims).map(
    ([name, value]) =>
      html`<tr><th scope="row">${name}</th><td>${typeof value === 'string' ? value : JSON.stringify(value)}</td></tr>`,
  )
  return page(
    'Signed in - Web example',
    html`<h1>Hello, ${String(claims.name ?? claims.email ?? claims.sub)}</h1>
<p class="kind">You are signed in to the web example</p>
<h2>Claims of your ID token</h2>
<table id="claims">${rows}</table>
<div class="actions">
  <a class="button primary" href="/userinfo">Call userinfo</a>
  <form method="post" action="/pay"><button>Pay an order</button></form>
  <form method="post" action="/logout"><button>Sign out</button></form>
</div>`,
  )
}

export function userinfoPage(userinfo: unknown): string {
  return page(
    'Userinfo - Web example',
    html`<h1>Userinfo</h1>
<p class="kind">What the provider answers to the access token</p>
<pre id="userinfo">${JSON.stringify(userinfo, null, 2)}</pre>
<div class="actions"><a class="button" href="/">Back</a></div>`,
  )
}

export function paidPage(receipt: unknown): string {
  return page(
    'Paid - Web example',
    html`<h1>Paid</h1>
<p class="kind">What the payment service answers. It asked for a second factor shown a moment ago (RFC 9470)</p>
<pre id="receipt">${JSON.stringify(receipt, null, 2)}</pre>
<div class="actions"><a class="button" href="/">Back</a></div>`,
  )
}

/** Something went wrong between the provider and us; the way out is to try again. */
export function problemPage(message: string): string {
  return page(
    'Not signed in - Web example',
    html`<h1>That did not work</h1>
<p id="problem">${message}</p>
<div class="actions"><a class="button primary" href="/login">Try again</a><a class="button" href="/">Back</a></div>`,
  )
}
