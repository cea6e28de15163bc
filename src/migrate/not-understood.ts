/** A file that is no peer's configuration, or not a readable one. */
export class NotUnderstood extends Error {}
