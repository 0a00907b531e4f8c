/** Certificates as they are mounted: read, and refused with a sentence when HAProxy could not serve with them. Pure. */
import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { ok, refuse, type Parsed } from "../../../../routing/grammar";
import type { Problem } from "../../../../routing/build";

export interface Certificate {
  /** Certificates first, then the key, without anything in between that is neither. */
  readonly pem: string;
  /** The host names that it is for. */
  readonly names: readonly string[];
  /** Milliseconds. */
  readonly expires: number;
}

/** How HTTPS is doing, for the admin port. */
export interface HttpsReport {
  /** By file. */
  readonly served: ReadonlyMap<string, Certificate>;
  readonly problems: readonly Problem[];
}

const fileName = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.pem$/;

/** Names go into HAProxy's list of certificates and into runtime commands. */
export const isCertificateName = (name: string): boolean => fileName.test(name);

/** The one that clients get who name no host, or one that no certificate is for. */
export const defaultCertificate = "default.pem";

/** The order of HAProxy's list, whose first certificate is the default one. */
export function inOrder(names: Iterable<string>): string[] {
  const sorted = [...names].sort();
  return sorted.includes(defaultCertificate)
    ? [defaultCertificate, ...sorted.filter((name) => name !== defaultCertificate)]
    : sorted;
}

/** One that expires while it is served goes on being served: clients take it worse when there is none. */
export function expired(served: ReadonlyMap<string, Certificate>, time: number): Problem[] {
  return [...served]
    .filter(([, { expires }]) => expires <= time)
    .map(([name, { expires }]) => ({
      level: "warning",
      subject: name,
      message: `certificate ${name} is served although it expired on ${day(expires)}: renew it.`,
    }));
}

const block = /-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g;

/** Without `now` its dates do not matter, as for one that is served already. */
export function readCertificate(text: string, now?: number): Parsed<Certificate> {
  const blocks = [...text.matchAll(block)].map(([pem, type]) => ({
    pem: pem.replace(/[\r\n]+/g, "\n"),
    type,
  }));
  const chain = blocks.filter(({ type }) => type === "CERTIFICATE");
  const keys = blocks.filter(({ type }) => type?.endsWith("PRIVATE KEY"));
  const [leaf] = chain;
  const [key] = keys;
  if (leaf === undefined)
    return refuse("has no certificate: put the certificate, its chain and its key into it");
  if (key === undefined) return refuse("has no private key: append the key to the certificates");
  if (keys.length > 1) return refuse("has more than one private key: keep the one of its first certificate");
  if (key.type === "ENCRYPTED PRIVATE KEY" || key.pem.includes("ENCRYPTED"))
    return refuse("has a private key with a passphrase: write it without, as with openssl pkey");

  let certificates: X509Certificate[];
  let privateKey: KeyObject;
  try {
    certificates = chain.map(({ pem }) => new X509Certificate(pem));
  } catch (error) {
    return refuse(`has a certificate that cannot be read (${reason(error)})`);
  }
  try {
    privateKey = createPrivateKey(key.pem);
  } catch (error) {
    return refuse(`has a private key that cannot be read (${reason(error)})`);
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

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const day = (time: number): string => new Date(time).toISOString().slice(0, 10);

function hostNames(certificate: X509Certificate): string[] {
  const alternatives = (certificate.subjectAltName ?? "").split(", ").flatMap((each) => {
    const match = /^(?:DNS|IP Address):(.+)$/.exec(each);
    return match?.[1] === undefined ? [] : [match[1]];
  });
  return alternatives.length > 0 ? alternatives : [certificate.subject.replaceAll("\n", ", ")];
}
