// What the browser suite asks a page about itself. Added to every document as `checks` before its own scripts run.

globalThis.checks = {
  /** What is wider than the window; empty when nothing makes the page scroll sideways. */
  sideways() {
    if (document.documentElement.scrollWidth <= innerWidth) return []
    return [...document.querySelectorAll('*')]
      .filter((each) => each.getBoundingClientRect().right > innerWidth + 1 || each.getBoundingClientRect().left < -1)
      .map((each) => each.outerHTML.slice(0, 120))
  },

  /** Controls smaller than 24 px (WCAG 2.5.8), but for links within a line of text, which the rule excepts. */
  smallTargets() {
    return [...document.querySelectorAll('button, input:not([type=hidden]), select, summary, a')]
      .filter((each) => each.checkVisibility() && !each.classList.contains('visually-hidden'))
      .filter((each) => each.tagName !== 'A' || getComputedStyle(each).display !== 'inline')
      .filter((each) => Math.min(each.getBoundingClientRect().width, each.getBoundingClientRect().height) < 24)
      .map((each) => each.outerHTML.slice(0, 120))
  },

  /** Numbers every control that the keyboard must reach, puts the focus before the first, and returns how many there are. */
  startWalk() {
    const focusable = 'a[href], button:not([disabled]), input:not([type=hidden]):not([tabindex="-1"]), select, summary'
    const all = [...document.querySelectorAll(focusable)].filter((each) => each.checkVisibility())
    for (const [index, each] of all.entries()) each.dataset.walk = String(index)
    document.body.tabIndex = -1
    document.body.focus()
    document.body.removeAttribute('tabindex')
    return all.length
  },

  /** Which control has the focus, whether that is to be seen, and whether it is within the window. */
  focused() {
    const active = document.activeElement
    const { outlineStyle, outlineWidth } = getComputedStyle(active)
    const { top, bottom } = active.getBoundingClientRect()
    return {
      walk: active.dataset.walk ?? active.outerHTML.slice(0, 80),
      outlined: outlineStyle !== 'none' && Number.parseFloat(outlineWidth) >= 2,
      inside: bottom > 0 && top < innerHeight,
    }
  },
}
