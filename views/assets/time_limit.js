// Says two minutes before a page's time is over that it is, and asks for more when a person wants to stay (WCAG 2.2.1).
'use strict'

const region = document.querySelector('.time-limit')
if (region) {
  const { stay } = region.dataset
  const [near, over] = region.querySelectorAll('template')
  const WARNING_MS = 120_000
  let end
  let shown
  let timer

  const say = (template) => {
    if (shown) shown.remove()
    shown = template ? template.content.cloneNode(true).firstElementChild : undefined
    if (shown) region.append(shown)
  }
  // By the clock, not by a timer of an hour: a computer that slept must hear of it when it wakes.
  const look = () => {
    const left = end - Date.now()
    if (left <= 0) {
      say(over)
      clearInterval(timer)
    } else if (left <= WARNING_MS && !shown) {
      say(near)
      shown.querySelector('button').addEventListener('click', ask)
    }
  }
  const begin = (seconds) => {
    end = Date.now() + seconds * 1000
    say()
    clearInterval(timer)
    timer = setInterval(look, 1000)
  }
  const ask = async () => {
    // Every page has a form: the one that chooses a language.
    const csrf = document.querySelector('input[name=csrf]').value
    const answer = await fetch(stay, { method: 'POST', body: new URLSearchParams({ csrf }), redirect: 'error' }).catch(() => {})
    if (answer && answer.ok) return begin((await answer.json()).seconds)
    clearInterval(timer)
    say(over)
  }
  begin(Number(region.dataset.seconds))
}
