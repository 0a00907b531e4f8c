/** Reads mounted certificates, and rejects with a reason what HAProxy could not serve. Pure. */
import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { messageOf } from "../../../../lib/errors";
import type { Problem } from "../../../../routing/types";
import { ok, parsePemName, refuse, type Parsed } from "../../../../routing/grammar";

export interface Certificate {
  /** The certificates, then the key, and nothing else. */
  readonly pem: string;
  /** The host names that it is valid for. */
  readonly names: readonly string[];
  /** Milliseconds since 1970. */
  readonly expires: number;
}

/** The state of HTTPS, for the admin port. */
export interface HttpsReport {
  /** By file name. */
  readonly served: ReadonlyMap<string, Certificate>;
  readonly problems: readonly Problem[];
}

export const isCertificateName = (name: string): boolean => parsePemName(name).ok;

/** What clients get that name no host, or a host without a certificate. */
export const defaultCertificate = "default.pem";

/** In the order of HAProxy's list, in which the first certificate is the default. */
export function inOrder(names: Iterable<string>): string[] {
  const sorted = [...names].sort();
  return sorted.includes(defaultCertificate)
    ? [defaultCertificate, ...sorted.filter((name) => name !== defaultCertificate)]
    : sorted;
}

/** Warnings about served certificates that have expired. They stay, because clients cope even less without one. */
export function expired(served: ReadonlyMap<string, Certificate>, time: number): Problem[] {
  return [...served]
    .filter(([, { expires }]) => expires <= time)
    .map(([name, { expires }]) => ({
      level: "warning",
      subject: name,
      message: `certificate ${name} expired on ${day(expires)} and is still served: renew it.`,
    }));
}

const block = /-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g;

const pemBlocks = (text: string) =>
  [...text.matchAll(block)].map(([pem, type]) => ({ pem: pem.replace(/[\r\n]+/g, "\n"), type }));

/** Reads a file of authorities: returns its certificates, and nothing else that it has. */
export function readAuthorities(text: string): Parsed<string> {
  const certificates = pemBlocks(text).filter(({ type }) => type === "CERTIFICATE");
  if (certificates.length === 0)
    return refuse("has no certificate: the file needs those of one or more authorities, as PEM");
  try {
    for (const { pem } of certificates) new X509Certificate(pem);
  } catch (error) {
    return refuse(`has a certificate that cannot be read (${messageOf(error)})`);
  }
  return ok(certificates.map(({ pem }) => `${pem}\n`).join(""));
}

/**
 * Reads the text of a file, in any order of certificates and key. `now` is in milliseconds since 1970; without it, validity
 * dates are ignored, as for a certificate that is already served.
 */
export function readCertificate(text: string, now?: number): Parsed<Certificate> {
  const blocks = pemBlocks(text);
  const chain = blocks.filter(({ type }) => type === "CERTIFICATE");
  const keys = blocks.filter(({ type }) => type?.endsWith("PRIVATE KEY"));
  const [leaf] = chain;
  const [key] = keys;
  if (leaf === undefined)
    return refuse("has no certificate: the file needs the certificate, its chain and its key");
  if (key === undefined) return refuse("has no private key: append it to the certificates");
  if (keys.length > 1) return refuse("has more than one private key: keep the key of its first certificate");
  if (key.type === "ENCRYPTED PRIVATE KEY" || key.pem.includes("ENCRYPTED"))
    return refuse(
      "has a private key with a passphrase: remove the passphrase, for example with openssl pkey",
    );

  let certificates: X509Certificate[];
  let privateKey: KeyObject;
  try {
    certificates = chain.map(({ pem }) => new X509Certificate(pem));
  } catch (error) {
    return refuse(`has a certificate that cannot be read (${messageOf(error)})`);
  }
  try {
    privateKey = createPrivateKey(key.pem);
  } catch (error) {
    return refuse(`has a private key that cannot be read (${messageOf(error)})`);
  }
  const [first] = certificates;
  if (first === undefined || !first.checkPrivateKey(privateKey))
    return refuse("has a private key that does not belong to its first certificate");
  const [from, until] = [Date.parse(first.validFrom), Date.parse(first.validTo)];
  if (now !== undefined && until <= now) return refuse(`expired on ${day(until)}: renew it`);
  if (now !== undefined && from > now)
    return refuse(`is not valid before ${day(from)}: check the clock of this machine`);
  return ok({
    pem: [...chain, key].map(({ pem }) => `${pem}\n`).join(""),
    names: hostNames(first),
    expires: until,
  });
}

/** The date of a time in milliseconds since 1970, in UTC. */
export const day = (time: number): string => new Date(time).toISOString().slice(0, 10);

function hostNames(certificate: X509Certificate): string[] {
  const alternatives = (certificate.subjectAltName ?? "").split(", ").flatMap((each) => {
    const match = /^(?:DNS|IP Address):(.+)$/.exec(each);
    return match?.[1] === undefined ? [] : [match[1]];
  });
  return alternatives.length > 0 ? alternatives : [certificate.subject.replaceAll("\n", ", ")];
}
