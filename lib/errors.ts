/**
 * A mistake that the user can correct. Its message is the whole report: what is wrong, where, and the cure. Every entry
 * point prints it without a stack trace, and so does Pulumi.
 */
export class UserError extends Error {
  override readonly name: string = "UserError";
  /** By this property Pulumi recognises an error that needs no stack trace (`RunError.isInstance`). */
  readonly __pulumiRunError = true;
}

/** What an error says, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.trim() : String(error);
}
