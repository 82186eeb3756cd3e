import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { WorkerHostError } from "../../contract/errors.ts";
import type { Credentials } from "../broker/broker.ts";

const CREDENTIALS_FILE = "broker-credentials.json";

/** The credentials that an earlier start with `--lan` made and kept, if one did. */
export function readCredentials(dataDir: string): Credentials | undefined {
  try {
    const { username, password } = JSON.parse(
      readFileSync(join(dataDir, CREDENTIALS_FILE), "utf8"),
    ) as Partial<Credentials>;
    if (typeof username === "string" && typeof password === "string") return { username, password };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new WorkerHostError(
      "invalid_settings",
      `${join(dataDir, CREDENTIALS_FILE)}: ${(error as Error).message}; mend it, or delete it to have new ones made`,
      { cause: error },
    );
  }
  throw new WorkerHostError(
    "invalid_settings",
    `${join(dataDir, CREDENTIALS_FILE)}: expected {"username": …, "password": …}; mend it, or delete it to have new ones made`,
  );
}

/** The credentials to demand with `--lan`: those given, else those kept, else new ones, which are then kept. */
export function lanCredentials(dataDir: string, given: Partial<Credentials>): Credentials {
  const { username, password } = given;
  if (username !== undefined && password !== undefined) return { username, password };
  const kept = readCredentials(dataDir);
  const credentials: Credentials = {
    username: username ?? kept?.username ?? "haunt",
    password: password ?? kept?.password ?? randomBytes(12).toString("base64url"),
  };
  keep(dataDir, credentials);
  return credentials;
}

function keep(dataDir: string, credentials: Credentials): void {
  const file = join(dataDir, CREDENTIALS_FILE);
  try {
    mkdirSync(dataDir, { recursive: true });
    writeFileSync(file, `${JSON.stringify(credentials, null, 2)}\n`, { mode: 0o600 });
    // A file that was there keeps the mode that it had.
    chmodSync(file, 0o600);
  } catch (error) {
    throw new WorkerHostError(
      "invalid_settings",
      `${file}: the credentials can't be kept (${(error as Error).message}): choose another folder with --data, or give MQTT_USERNAME and MQTT_PASSWORD`,
      { cause: error },
    );
  }
}
