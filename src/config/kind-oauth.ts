import { text } from './kind-scalar.ts'

/** One scope token (RFC 6749 section 3.3). */
export const scope = text({
  name: 'scope',
  pattern: /^[!#-[\]-~]+$/,
  expected: 'one scope without spaces',
})

/** One authentication context class reference; `acr_values` separates them by spaces (OpenID Connect Core 3.1.2.1). */
export const acrValue = text({ name: 'acr value', pattern: /^\S+$/, expected: 'one acr value without spaces' })
