/** Makes X.509 certificates. */
import { createPrivateKey, KeyObject, webcrypto } from "node:crypto";
import { createRequire } from "node:module";
import type { X509Certificate } from "@peculiar/x509";

/** A certificate and its private key, in PEM. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
  /** Its validity, in milliseconds since 1970. */
  readonly from: number;
  readonly until: number;
}

type Validity = Pick<Certificate, "from" | "until">;

/** Loaded when it is needed, because that takes 100 ms. */
function library(): typeof import("@peculiar/x509") {
  const load = createRequire(__filename);
  load("reflect-metadata");
  return load("@peculiar/x509") as typeof import("@peculiar/x509");
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

const makeKeys = () => webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);

const dates = ({ from, until }: Validity) => ({ notBefore: new Date(from), notAfter: new Date(until) });

function inPem(made: X509Certificate, privateKey: webcrypto.CryptoKey, validity: Validity): Certificate {
  return {
    certificate: `${made.toString("pem")}\n`,
    key: KeyObject.from(privateKey).export({ type: "pkcs8", format: "pem" }).toString(),
    from: validity.from,
    until: validity.until,
  };
}

/** Makes a certificate that signs others. */
export async function makeAuthority(name: string, validity: Validity): Promise<Certificate> {
  const x509 = library();
  const keys = await makeKeys();
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [name] }],
    ...dates(validity),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return inPem(made, keys.privateKey, validity);
}

/** Makes a certificate for both ends of a TLS connection. It ends no later than that of the authority. */
export async function makeCertificate(
  name: string,
  authority: Certificate,
  { from, until }: Validity,
): Promise<Certificate> {
  const x509 = library();
  const validity = { from, until: Math.min(until, authority.until) };
  const issuer = new x509.X509Certificate(authority.certificate);
  const signingKey = await webcrypto.subtle.importKey(
    "pkcs8",
    createPrivateKey(authority.key).export({ type: "pkcs8", format: "der" }),
    algorithm,
    false,
    ["sign"],
  );
  const keys = await makeKeys();
  const { clientAuth, serverAuth } = x509.ExtendedKeyUsage;
  const made = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [name] }],
    issuer: issuer.subjectName,
    ...dates(validity),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([serverAuth, clientAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: "dns", value: name }]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return inPem(made, keys.privateKey, validity);
}
