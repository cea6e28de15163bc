/**
 * A variable in a value of the old configuration. Its token has only characters that a host, a path and an address may
 * have, so the value can still be parsed. `withVariables` replaces the token in the output.
 */
export function variableToken(name: string): string {
  return `${START}${Buffer.from(name).toString('hex')}z`
}

const START = 'gatehousevariable'
const TOKEN = /gatehousevariable((?:[0-9a-f]{2})+)z/g

/** Replaces each token in a text with `${NAME}`. */
export function withVariables(text: string): string {
  return text.replace(TOKEN, (_, hex: string) => `\${${nameOf(hex)}}`)
}

/** Returns the names of the variables in a text. */
export function variablesIn(text: string): string[] {
  return [...new Set([...text.matchAll(TOKEN)].map(([, hex = '']) => nameOf(hex)))]
}

/** Returns the name of the variable if the text consists of one variable; otherwise `null`. */
export function onlyVariable(text: string): string | null {
  const [, hex] = /^gatehousevariable((?:[0-9a-f]{2})+)z$/.exec(text.trim()) ?? []
  return hex === undefined ? null : nameOf(hex)
}

function nameOf(hex: string): string {
  return Buffer.from(hex, 'hex').toString()
}
