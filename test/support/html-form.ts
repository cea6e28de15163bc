export type HtmlForm = {
  method: 'GET' | 'POST'
  action: string
  /** The fields that the form sends with any button. */
  fields: [name: string, value: string][]
  buttons: { name: string; value: string; text: string }[]
}

const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

export const unescapeHtml = (html: string): string =>
  html.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal?: string, hex?: string, name?: string) => {
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal))
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
    return named[name ?? ''] ?? whole
  })

const attribute = (tag: string, name: string): string | null => {
  const match = new RegExp(`\\s${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s"'>]+))`, 'i').exec(tag)
  const value = match?.[1] ?? match?.[2] ?? match?.[3]
  return value === undefined ? null : unescapeHtml(value)
}

const tags = (html: string, name: string): string[] => html.match(new RegExp(`<${name}\\b[^>]*>`, 'gi')) ?? []

const belongs = (tag: string, id: string | null, inside: string): boolean => {
  const owner = attribute(tag, 'form')
  return owner === null ? inside.includes(tag) : owner === id
}

/** Returns the forms of a page in order, with the fields and buttons inside them or assigned to them by `form="id"`. */
export const htmlForms = (html: string): HtmlForm[] =>
  [...html.matchAll(/(<form\b[^>]*>)(.*?)<\/form>/gis)].map(([, open = '', inside = '']) => {
    const id = attribute(open, 'id')
    const buttons = [...html.matchAll(/(<button\b[^>]*>)(.*?)<\/button>/gis)]
    return {
      method: attribute(open, 'method')?.toUpperCase() === 'POST' ? 'POST' : 'GET',
      action: attribute(open, 'action') ?? '',
      fields: [...tags(html, 'input'), ...tags(html, 'textarea')]
        .filter((tag) => belongs(tag, id, inside) && !/\stype="?(?:submit|button)/i.test(tag))
        .map((tag) => [attribute(tag, 'name') ?? '', attribute(tag, 'value') ?? '']),
      buttons: buttons
        .filter(([, tag = '']) => belongs(tag, id, inside))
        .map(([, tag = '', text = '']) => ({
          name: attribute(tag, 'name') ?? '',
          value: attribute(tag, 'value') ?? '',
          text: unescapeHtml(text.trim()),
        })),
    }
  })

export const htmlLink = (html: string, id: string): string | null => {
  const link = tags(html, 'a').find((tag) => attribute(tag, 'id') === id)
  return link === undefined ? null : attribute(link, 'href')
}

export const htmlFrames = (html: string): string[] =>
  tags(html, 'iframe')
    .map((tag) => attribute(tag, 'src'))
    .filter((src) => src !== null)
