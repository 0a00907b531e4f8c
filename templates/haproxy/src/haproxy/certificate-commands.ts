/** Certificates as HAProxy's runtime commands. Pure. */
import { certificateList, type CertificateChange } from "../config/certificates";

/** One command after another: a payload ends what it is sent with. */
export function certificateCommands({ kind, file, pem }: CertificateChange, dir: string): string[] {
  const fill = [`set ssl cert ${file} <<\n${pem}`, `commit ssl cert ${file}`];
  const list = certificateList(dir);
  switch (kind) {
    case "new":
      return [`new ssl cert ${file}`, ...fill, `add ssl crt-list ${list} ${file}`];
    case "replace":
      return fill;
    case "remove":
      return [`del ssl crt-list ${list} ${file}`, `del ssl cert ${file}`];
  }
}
