/** The files of certificates that HAProxy reads, and changes to them. */

/** HAProxy's list of certificates. */
export const certificateList = (dir: string): string => `${dir}/certificates.list`;

/** A certificate to put into the worker, replace or remove. */
export interface CertificateChange {
  readonly kind: "new" | "replace" | "remove";
  /** The path of our copy. */
  readonly file: string;
  readonly pem: string;
}
