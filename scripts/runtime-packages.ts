/** The packages that the built program loads from node_modules, because they contain native code. */
export const RUNTIME_PACKAGES = ['sodium-native']
