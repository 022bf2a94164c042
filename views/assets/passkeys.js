// Passkeys on the hosted pages (WebAuthn Level 3). A form with data-passkey holds a ceremony: `get` shows a passkey, `create`
// makes one. Without this file, or without passkeys, such a form leads to a page that names another way.
'use strict'
;(() => {
  const Api = window.PublicKeyCredential
  const { credentials } = navigator
  const forms = [...document.querySelectorAll('[data-passkey]')]
  if (!Api || !credentials) return

  for (const form of forms) {
    for (const part of form.querySelectorAll('[data-passkey-missing]')) part.hidden = true
    for (const part of form.querySelectorAll('[data-passkey-button]')) part.hidden = false
  }

  const STALE_MS = 240_000
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0))
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, '-')
      .replace(/\//g, '_')
      .replace(/=+$/, '')
  const descriptors = (list) => (list || []).map((item) => ({ ...item, id: bytes(item.id) }))

  // Browsers that cannot read and write the JSON forms of WebAuthn yet.
  const read = {
    get: (options) =>
      Api.parseRequestOptionsFromJSON
        ? Api.parseRequestOptionsFromJSON(options)
        : {
            ...options,
            challenge: bytes(options.challenge),
            allowCredentials: descriptors(options.allowCredentials),
          },
    create: (options) =>
      Api.parseCreationOptionsFromJSON
        ? Api.parseCreationOptionsFromJSON(options)
        : {
            ...options,
            challenge: bytes(options.challenge),
            user: { ...options.user, id: bytes(options.user.id) },
            excludeCredentials: descriptors(options.excludeCredentials),
          },
  }
  const write = (credential) => {
    if (credential.toJSON) return credential.toJSON()
    const { id, rawId, type, response } = credential
    const parts = ['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature', 'userHandle']
    const json = {}
    for (const part of parts) if (response[part]) json[part] = text(response[part])
    if (response.getTransports) json.transports = response.getTransports()
    return { id, type, rawId: text(rawId), response: json }
  }

  // A challenge is fetched when the page opens, so that the click itself can begin the ceremony, and again once it is old.
  const challenges = new Map()
  const challenge = async (form, { fresh, reload } = {}) => {
    const known = challenges.get(form)
    if (!fresh && known && Date.now() - known.at < STALE_MS) return known.options
    const body = new URLSearchParams({ csrf: form.elements.csrf.value })
    const answer = await fetch(form.dataset.challenge, { method: 'POST', body, headers: { Accept: 'application/json' } })
    if (!answer.ok || !(answer.headers.get('Content-Type') || '').includes('json')) {
      // The conversation has moved on, or it is to be proven anew who is there: the page itself will say.
      if (reload) location.reload()
      throw new Error('no challenge')
    }
    const options = await answer.json()
    challenges.set(form, { at: Date.now(), options })
    return options
  }

  const send = (form, credential) => {
    challenges.delete(form)
    const input = form.elements.credential
    input.value = JSON.stringify(write(credential))
    form.action = form.dataset.action || form.action
    // Says neither that the button was pressed nor where else the form would lead.
    for (const other of form.querySelectorAll('[name="to"]')) other.remove()
    form.submit()
  }

  let waiting
  const stopWaiting = () => {
    if (waiting) waiting.abort()
    waiting = undefined
  }

  const begin = async (form) => {
    const kind = form.dataset.passkey
    const note = form.querySelector('[data-passkey-note]')
    const button = form.querySelector('[type="submit"]')
    if (note) note.hidden = true
    stopWaiting()
    if (button) button.setAttribute('aria-busy', 'true')
    try {
      const publicKey = read[kind](await challenge(form, { reload: true }))
      send(form, await credentials[kind]({ publicKey }))
    } catch {
      challenges.delete(form)
      if (button) button.removeAttribute('aria-busy')
      if (note) note.hidden = false
      challenge(form).catch(() => {})
      fill()
    }
  }

  // The list that the browser fills the field from holds passkeys too. It waits until one is taken, or the page does anything else.
  const fill = async () => {
    const form = forms.find(({ dataset }) => dataset.autofill)
    if (!form || waiting || !document.querySelector('[autocomplete~="webauthn"]') || !Api.isConditionalMediationAvailable) return
    if (!(await Api.isConditionalMediationAvailable())) return
    const controller = new AbortController()
    waiting = controller
    const renew = setTimeout(() => {
      if (waiting !== controller) return
      stopWaiting()
      fill()
    }, STALE_MS)
    try {
      const publicKey = read.get(await challenge(form, { fresh: true }))
      if (controller.signal.aborted) return
      const credential = await credentials.get({ publicKey, mediation: 'conditional', signal: controller.signal })
      send(form, credential)
    } catch {
      // Taken back, or refused by the person: the page is still there.
    } finally {
      clearTimeout(renew)
      if (waiting === controller) waiting = undefined
    }
  }

  document.addEventListener(
    'submit',
    (event) => {
      const form = event.target
      const declines = event.submitter && event.submitter.name === 'action' && event.submitter.value === 'later'
      if (!forms.includes(form) || declines) {
        stopWaiting()
        return
      }
      // Before the guard against double submits, which would hold the second try.
      event.preventDefault()
      event.stopImmediatePropagation()
      begin(form)
    },
    true,
  )
  addEventListener('pagehide', stopWaiting)

  for (const form of forms) if (!form.dataset.autofill) challenge(form).catch(() => {})
  fill()

  // Said with every form of a conversation: only who can make a passkey is offered one.
  if (document.querySelector('form[action^="/interaction/"]') && Api.isUserVerifyingPlatformAuthenticatorAvailable) {
    Api.isUserVerifyingPlatformAuthenticatorAvailable()
      .then((can) => {
        if (!can) return
        for (const form of document.forms) {
          const input = document.createElement('input')
          Object.assign(input, { type: 'hidden', name: 'can', value: 'passkey' })
          form.append(input)
        }
      })
      .catch(() => {})
  }

  // What the person's password manager should know (Signal API): which passkeys are gone, which are good, and for whom.
  const signal = (method, details) => {
    if (Api[method]) Api[method](details).catch(() => {})
  }
  for (const { dataset } of document.querySelectorAll('[data-passkey-unknown]')) {
    signal('signalUnknownCredential', { rpId: location.hostname, credentialId: dataset.passkeyUnknown })
  }
  for (const { dataset } of document.querySelectorAll('[data-passkey-signals]')) {
    const { rpId, userId, allAcceptedCredentialIds, name, displayName } = JSON.parse(dataset.passkeySignals)
    if (allAcceptedCredentialIds) signal('signalAllAcceptedCredentials', { rpId, userId, allAcceptedCredentialIds })
    signal('signalCurrentUserDetails', { rpId, userId, name, displayName })
  }
})()
