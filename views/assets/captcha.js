// Shows the widget of a CAPTCHA's vendor in a form and sends its token with our signature. Without this file, and for whoever
// cannot use the widget, the form holds a ticket that is good after a while.
'use strict'
;(() => {
  const proof = document.querySelector('[data-captcha]')
  if (!proof) return
  const { form } = proof
  const { captcha, script, field, wait } = proof.dataset
  const place = document.getElementById('captcha')
  const status = document.getElementById('captcha-status')
  const widget = place.querySelector('[data-sitekey]')
  /** Of the widgets that vendors draw for a column of their own width. */
  const NORMAL_WIDTH = 304

  place.hidden = false
  const { classList } = document.documentElement
  const dark = !classList.contains('light') && matchMedia('(prefers-color-scheme: dark)').matches
  widget.dataset.theme = dark || classList.contains('dark') ? 'dark' : 'light'
  if (place.clientWidth < NORMAL_WIDTH) widget.dataset.size = 'compact'

  const vendor = document.createElement('script')
  vendor.src = script
  vendor.nonce = document.currentScript.nonce
  vendor.addEventListener('error', () => {
    place.hidden = true
    status.textContent = status.dataset.away
  })
  document.head.append(vendor)

  const token = () => {
    const input = [...form.elements].find(({ name }) => name === field)
    return input ? input.value : ''
  }

  // Said once, so that a password need not be typed again for nothing; whoever sends the form all the same may.
  let told = false
  form.addEventListener(
    'submit',
    (event) => {
      const waited = proof.value !== '' && performance.now() > (Number(wait) + 1) * 1000
      if (told || waited || token() || place.hidden) return
      told = true
      event.preventDefault()
      event.stopImmediatePropagation()
      status.textContent = status.dataset.first
    },
    true,
  )
  form.addEventListener('formdata', ({ formData }) => {
    if (token()) formData.set('proof', `${captcha}~${token()}`)
    formData.delete(field)
  })
})()
