import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { WorkerHostError } from "../worker-host/contract/errors.ts";
import { resolveSettings, SETTINGS } from "../worker-host/host/settings/settings.ts";
import { makeFolder } from "./harness/folder.ts";
import { configKey, configText, configValue } from "./harness/odd-configs.ts";

const SECRET = "s3cr3t-XYZ";

const url = fc.oneof(
  fc
    .tuple(
      fc.constantFrom("mqtt", "mqtts", "ws", "http", "x"),
      fc.constantFrom("h:1883", "[::1]", "", "h h", "h/%", "h\n"),
    )
    .map(([scheme, host]) => `${scheme}://user:${SECRET}@${host}`),
  fc.constantFrom(`u:${SECRET}\n@h`, `mqtt://u%:${SECRET}@h`, `mqtt://u\n:${SECRET}@`),
);
const text = fc.oneof(
  fc.string(),
  fc.constantFrom(..."1 on off 1883 70000 debug a,b , halloween a/# none.pem localhost [::1 mqtt://h:1".split(" ")),
);
const other = fc.constantFrom(...SETTINGS.filter(({ key }) => key !== "mqtt_password"));

const flags = fc.array(
  fc.oneof(
    fc.tuple(fc.constant("mqtt_url"), url),
    fc.tuple(
      other.map(({ key }) => key),
      fc.oneof(text, fc.boolean()),
    ),
  ),
  { maxLength: 3 },
);
const env = fc.array(
  fc.oneof(
    fc.tuple(fc.constantFrom("MQTT_URL"), url),
    fc.tuple(fc.constantFrom("MQTT_PASSWORD"), fc.constant(SECRET)),
    fc.tuple(
      other.map((one) => one.env),
      text,
    ),
  ),
  { maxLength: 3 },
);
const keys = fc.oneof(
  other.map(({ key }) => key),
  configKey,
);
const inFile = fc.dictionary(keys, fc.oneof(text, configValue, fc.constant({ toString: 1 }), fc.constant(["on"])), {
  maxKeys: 4,
});
const file = fc.oneof(
  inFile.map((all) => stringify(all)),
  inFile.map((all) => JSON.stringify(all)),
  configText,
  fc.constantFrom(`mqtt_password: ${SECRET}\n`, `mqtt_password: [${SECRET}]\n`, "mqtt_password: 5\n"),
);

test("whatever is given, there are settings, or all that is wrong in words, and never a password", () => {
  const folder = makeFolder();
  fc.assert(
    fc.property(flags, env, file, (fromFlags, fromEnv, yaml) => {
      writeFileSync(join(folder, "worker-host.yaml"), yaml);
      const sources = {
        flags: new Map(fromFlags),
        env: Object.fromEntries(fromEnv),
        cwd: folder,
        shippedBuiltins: "/b",
      };
      try {
        const settings = resolveSettings(sources);
        for (const path of [settings.props, ...settings.builtins, settings.data]) expect(path).toMatch(/^\//);
        expect(Number.isInteger(settings.embedded.port)).toBe(true);
        expect(typeof settings.embedded.lan).toBe("boolean");
        expect(settings.external?.url ?? "mqtt://").not.toContain(SECRET);
        for (const { allow, disable } of [settings.selectBuiltins, settings.selectProps]) {
          for (const name of [...allow, ...disable]) expect(name).toMatch(/\S/);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(WorkerHostError);
        const { code, message } = error as WorkerHostError;
        expect(code).toBe("invalid_settings");
        expect(message).toMatch(/\S/);
        expect(message).not.toContain(SECRET);
      }
    }),
    { numRuns: 200 },
  );
});
