/**
 * A mistake that the user can correct. Its message is the whole report: what is wrong, where, and the cure. Every entry
 * point prints it without a stack trace, and so does Pulumi.
 */
export class UserError extends Error {
  override readonly name: string = "UserError";
  /** By this property Pulumi recognises an error that needs no stack trace (`RunError.isInstance`). */
  readonly __pulumiRunError = true;
}

/** The message of whatever was thrown. Some system errors, such as a failed connection, have a code and no message. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message.trim() || ("code" in error ? String(error.code) : error.name);
}

/** What an entry point prints for an error: the message of a user's mistake, the stack trace of a fault. */
export function reportOf(error: unknown): string {
  // By Pulumi's marks, not by class: a program may bring its own copy of a module.
  const { __pulumiRunError, hideStack } = (error ?? {}) as Record<string, unknown>;
  const isUsers = __pulumiRunError === true || hideStack === true;
  return `error: ${!isUsers && error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}`;
}
