// Comforts of the hosted pages. Every page is complete without this file.
'use strict'

// The error summary of a page that came back is what a person must hear first.
const summary = document.querySelector('[data-focus]')
if (summary) summary.focus()

for (const button of document.querySelectorAll('[data-reveal]')) {
  const input = document.getElementById(button.dataset.reveal)
  if (!input) continue
  button.hidden = false
  const show = (shown) => {
    const { selectionStart, selectionEnd } = input
    input.type = shown ? 'text' : 'password'
    button.setAttribute('aria-pressed', String(shown))
    input.setSelectionRange(selectionStart, selectionEnd)
  }
  button.addEventListener('click', () => {
    show(input.type === 'password')
    input.focus()
  })
  // A shown password must leave as a password: browsers remember the values of text fields.
  if (input.form) input.form.addEventListener('submit', () => show(false))
}

// One submit for one intention. The button is not disabled, or its name and value would not be sent.
for (const form of document.forms) {
  form.addEventListener('submit', (event) => {
    if (form.dataset.sent) {
      event.preventDefault()
      return
    }
    form.dataset.sent = 'yes'
    if (event.submitter) event.submitter.setAttribute('aria-busy', 'true')
  })
}

// The back button may bring a page back as it was left.
addEventListener('pageshow', () => {
  for (const form of document.forms) delete form.dataset.sent
  for (const busy of document.querySelectorAll('[aria-busy]')) busy.removeAttribute('aria-busy')
})

for (const button of document.querySelectorAll('[data-countdown]')) {
  const label = button.firstElementChild
  const text = label.textContent
  const end = Date.now() + Number(button.dataset.countdown) * 1000
  button.disabled = true
  const tick = () => {
    const left = Math.ceil((end - Date.now()) / 1000)
    button.disabled = left > 0
    label.textContent = left > 0 ? button.dataset.countdownLabel.replace('%s', left) : text
    if (left > 0) setTimeout(tick, 500)
  }
  tick()
}

// The list of languages closes as lists do: by Escape, and by looking elsewhere.
const languages = document.querySelector('.language')
if (languages) {
  languages.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !languages.open) return
    languages.open = false
    languages.firstElementChild.focus()
  })
  document.addEventListener('click', (event) => {
    if (!languages.contains(event.target)) languages.open = false
  })
}
