/** A mistake that the user can mend: its message is the whole report, without a stack trace. */
export class UserError extends Error {
  override readonly name = "UserError";
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The status code of an answer of the Docker Engine, undefined for any other error. */
export function statusOf(error: unknown): number | undefined {
  const code = (error as { statusCode?: unknown } | undefined)?.statusCode;
  return typeof code === "number" ? code : undefined;
}
