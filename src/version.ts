/** The version in package.json. `npm run generate` writes this file. */
export const VERSION = '0.1.0'
