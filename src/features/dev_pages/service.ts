/** Finds fixtures and says where each of them is shown. */
import type { Fixture, Fixtures } from '../../platform/views.ts'
import type { GalleryQuery } from './schema.ts'

export interface GalleryDeps {
  readonly fixtures: (locale?: string) => Fixtures
  readonly locales: readonly string[]
}

export type Gallery = ReturnType<typeof createGallery>

export function createGallery({ fixtures, locales }: GalleryDeps) {
  const find = (list: readonly Fixture[], { template, state }: GalleryQuery) =>
    list.find((fixture) => fixture.template === template && fixture.state === state)

  return {
    /** The chosen locale when there are texts in it, else the one given. */
    locale: ({ locale }: GalleryQuery, otherwise: string) => (locales.includes(locale) ? locale : otherwise),
    page: (query: GalleryQuery, locale: string) => find(fixtures(locale).pages, query),
    mail: (query: GalleryQuery, locale: string) => find(fixtures(locale).mails, query),

    /** Everything that the overview shows, in the order of the fixtures. */
    overview(query: GalleryQuery, locale: string) {
      const address = (kind: string, { template, state }: Fixture, part: string) =>
        `/dev/pages/${kind}?${new URLSearchParams({ template, state, locale, part, theme: query.theme, brand: query.brand })}`
      const shown = (kind: string, fixture: Fixture, part: string, note = '') => ({
        title: `${fixture.template}${note}`,
        state: fixture.state,
        url: address(kind, fixture, part),
      })
      const { pages, mails } = fixtures(locale)
      return [
        ...pages.map((fixture) => shown('page', fixture, 'html')),
        ...mails.flatMap((fixture) => [
          shown('mail', fixture, 'html', ' (mail)'),
          shown('mail', fixture, 'text', ' (mail as text)'),
        ]),
      ]
    },
  }
}
