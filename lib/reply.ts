/** An answer to an HTTP request. */
export interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export const jsonReply = (status: number, value: unknown): Reply => ({
  status,
  type: "application/json",
  body: `${JSON.stringify(value, null, 2)}\n`,
});
