import childProcess from "node:child_process";
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";

/** Functions that hold up a whole process where nobody can look into it. */
const BLOCKING: readonly [holder: object, names: readonly string[]][] = [
  [childProcess, ["execSync", "execFileSync", "spawnSync"]],
  [crypto, ["pbkdf2Sync", "scryptSync", "generateKeyPairSync", "generatePrimeSync", "checkPrimeSync"]],
  [Atomics, ["wait"]],
];

/** Has `note` called with its name before each such function runs, however it was imported. */
export function noteBlockingCalls(note: (name: string) => void): void {
  for (const [holder, names] of BLOCKING) {
    for (const name of names) {
      const original = Reflect.get(holder, name) as (...args: unknown[]) => unknown;
      Reflect.set(holder, name, function (this: unknown, ...args: unknown[]) {
        note(name);
        return Reflect.apply(original, this, args);
      });
    }
  }
  syncBuiltinESMExports();
}
