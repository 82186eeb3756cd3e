import { webcrypto } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { writeDurably } from "../../base/durable-file.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
/** A board has the authority's certificate in its flash: it outlives the board. */
const CA_DAYS = 20 * 365;
/** A season, and the next one. */
const SERVER_DAYS = 800;

export interface CertificateOptions {
  /** For the authority, whose key stays here. */
  folder: string;
  /** For what mosquitto reads. */
  broker: string;
  /** Names and addresses by which clients reach the broker. */
  names: string[];
  now: number;
  serialNumber: () => string;
}

type KeyPair = webcrypto.CryptoKeyPair;

/** Makes a certificate for the broker, and the authority that signs it where there is none yet. Gives its last day. */
export async function makeCertificates(options: CertificateOptions): Promise<Date> {
  const { folder, broker, names, now, serialNumber } = options;
  await mkdir(broker, { recursive: true });
  await chmod(folder, 0o700);
  const { certificate: ca, key: signingKey } = await authority(options);
  const keys = await generate();
  const notAfter = new Date(now + SERVER_DAYS * DAY_MS);
  const server = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: `CN=${names[0] ?? "broker"}`,
    issuer: ca.subject,
    notBefore: new Date(now - DAY_MS),
    notAfter,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) ? ("ip" as const) : ("dns" as const), value })),
      ),
      await x509.AuthorityKeyIdentifierExtension.create(ca),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await write(join(broker, "server.key"), await pemOf(keys), 0o644);
  await write(join(broker, "server.crt"), server.toString("pem"), 0o644);
  await write(join(broker, "ca.crt"), ca.toString("pem"), 0o644);
  return notAfter;
}

/** The one that is kept, so that what trusts it goes on trusting, or a new one. */
async function authority({ folder, now, serialNumber }: CertificateOptions): Promise<{
  certificate: x509.X509Certificate;
  key: webcrypto.CryptoKey;
}> {
  const [keyFile, certificateFile] = [join(folder, "ca.key"), join(folder, "ca.crt")];
  if (existsSync(keyFile) && existsSync(certificateFile)) {
    const pem = x509.PemConverter.decodeFirst(await readFile(keyFile, "utf8"));
    const key = await webcrypto.subtle.importKey("pkcs8", pem, ALGORITHM, false, ["sign"]);
    return { certificate: new x509.X509Certificate(await readFile(certificateFile, "utf8")), key };
  }
  const keys = await generate();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: "CN=worker-host haunt authority",
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + CA_DAYS * DAY_MS),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await write(keyFile, await pemOf(keys), 0o600);
  await write(certificateFile, certificate.toString("pem"), 0o644);
  return { certificate, key: keys.privateKey };
}

function generate(): Promise<KeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

async function pemOf({ privateKey }: KeyPair): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", privateKey), "PRIVATE KEY");
}

async function write(file: string, pem: string, mode: number): Promise<void> {
  await writeDurably(file, `${pem.trim()}\n`, (handle) => handle.chmod(mode));
}
