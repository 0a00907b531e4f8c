/**
 * A mistake that the user can correct. Its message says what is wrong, where, and how to fix it. Every entry point, and
 * Pulumi, prints it without a stack trace.
 */
export class UserError extends Error {
  override readonly name: string = "UserError";
  /** Tells Pulumi to print the error without a stack trace (`RunError.isInstance`). */
  readonly __pulumiRunError = true;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    // Nobody reads it, but Pulumi formats it with colours, which takes 16 s and 3 GB for some frames of its own (Node.js 20).
    delete this.stack;
  }
}

/** An error that trying again does not help. */
export class FinalError extends Error {}

/** A machine that the program created cannot be asked: it does not answer, or could not set itself up. */
export class MachineError extends FinalError {}

/** The message of a thrown value. Some system errors, such as failed connections, have a code but no message. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message.trim() || ("code" in error ? String(error.code) : error.name);
}

/** What an entry point prints for an error: the message for a user's mistake, the stack trace for a bug. */
export function reportOf(error: unknown): string {
  // Check Pulumi's marks instead of the class, because a program may have its own copy of a module.
  const { __pulumiRunError, hideStack } = (error ?? {}) as Record<string, unknown>;
  const isUsers = __pulumiRunError === true || hideStack === true;
  return `error: ${!isUsers && error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}`;
}
