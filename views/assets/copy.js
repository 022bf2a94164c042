// Copies and prints what is to be kept. A page is complete without this file: what it shows can be read and typed.
'use strict'

// The clipboard is there on secure origins only.
for (const button of document.querySelectorAll('[data-copy]')) {
  const source = document.getElementById(button.dataset.copy)
  if (!source || !navigator.clipboard) continue
  button.hidden = false
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(source.innerText.trim())
    button.firstElementChild.textContent = button.dataset.copied
  })
}

for (const button of document.querySelectorAll('[data-print]')) {
  button.hidden = false
  button.addEventListener('click', () => print())
}
