// Solves the puzzle of a form while it is filled in: about a second of SHA-256. Without this file the form holds a ticket.
'use strict'

const proof = document.querySelector('[data-puzzle]')
if (proof && globalThis.crypto && crypto.subtle) {
  const { form } = proof
  const { puzzle, rounds, bits } = proof.dataset
  const status = document.getElementById('proof-status')
  const text = new TextEncoder()
  let done = false
  let waiting

  // Many at once: the hashes are made beside the page, which stays quick.
  const answer = async (round) => {
    for (let first = 0; ; first += 128) {
      const hashes = await Promise.all(
        Array.from({ length: 128 }, (_, i) =>
          crypto.subtle.digest('SHA-256', text.encode(`${puzzle}~${round}.${first + i}`)),
        ),
      )
      const found = hashes.findIndex((hash) => Math.clz32(new DataView(hash).getUint32(0)) >= bits)
      if (found >= 0) return first + found
    }
  }
  const solve = async () => {
    const answers = []
    for (let round = 0; round < rounds; round++) answers.push(await answer(round))
    proof.value = `${puzzle}~${answers.join('.')}`
  }

  // Whoever is quicker than the puzzle need not press the button again.
  form.addEventListener(
    'submit',
    (event) => {
      if (done) return
      event.preventDefault()
      event.stopImmediatePropagation()
      waiting = { by: event.submitter }
      status.textContent = status.dataset.working
    },
    true,
  )
  const go = () => {
    done = true
    status.textContent = ''
    if (waiting) form.requestSubmit(waiting.by)
  }
  solve().then(go, go)
}
